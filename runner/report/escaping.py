"""Escaping of untrusted text, data and paths of a batch for the page, and the page's content security policy."""

from __future__ import annotations

import base64
import hashlib
import os
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from runner.report.thumbnails import Look

_ESCAPES = {letter: f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
"""Escapes of characters that JSON has inside strings only, so that every occurrence can be escaped."""


class Thumbs(StrEnum):
    """Place of a page's thumbnails: in the page, or beside it."""

    EMBED = "embed"
    BESIDE = "beside"
    """One file each in ``.runner/thumbnails`` of the output folder."""


def data_block(value: object) -> Markup:
    """Return ``value`` as JSON that is safe in a ``<script>`` block: the JSON cannot end the block."""
    text = msgspec.json.encode(value).decode()
    for letter, escape in _ESCAPES.items():
        text = text.replace(letter, escape)
    return Markup(text)  # noqa: S704 - holds no character that has a meaning in HTML


def content_policy(css: str, js: str) -> str:
    """Return the content security policy of the page.

    The policy allows exactly this script and this style, by their hashes. It allows pictures and media from files and
    from the page's own origin, and pictures from ``data:`` addresses. Everything else is forbidden.
    """
    return (
        f"default-src 'none'; script-src {_source_hash(js)}; style-src {_source_hash(css)}; "
        "img-src data: file: 'self'; media-src file: 'self'; base-uri 'none'; form-action 'none'"
    )


def sheet_policy(css: str) -> str:
    """Return the policy of a page without a script: its style and embedded pictures, and nothing else."""
    return f"default-src 'none'; style-src {_source_hash(css)}; img-src data:; base-uri 'none'; form-action 'none'"


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def link(root: Path, here: Path, path: str) -> str:
    """Return the address of ``path`` in the folder ``root``, relative to a page in ``here``.

    The address is absolute if the two are on different drives of Windows. ``path`` cannot bring a scheme of its own
    into the address.
    """
    target = root / path
    try:
        relative = os.path.relpath(target, here)
    except ValueError:  # on another drive (Windows)
        return target.absolute().as_uri()
    return "./" + quote(os.fsencode(relative.replace(os.sep, "/")))


def source(look: Look, root: Path, here: Path, thumbs: Thumbs) -> str:
    """Return the address of a thumbnail: a file, or the embedded data; empty if there is no thumbnail."""
    if look.thumbnail is None:
        return ""
    if thumbs is Thumbs.BESIDE and look.cached is not None:
        return link(root, here, look.cached)
    return embedded(look.thumbnail)


def embedded(body: bytes) -> str:
    """Return a WebP as a ``data:`` address."""
    return "data:image/webp;base64," + base64.b64encode(body).decode()
