"""Escaping: text from a batch as data of the page, never as a part of it."""

from __future__ import annotations

import base64
import hashlib
import os
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from runner.report.cards import Card

_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
"""In JSON these stand inside strings only, so they can be written otherwise everywhere."""


class Thumbs(StrEnum):
    """Where the thumbnails of a page are."""

    EMBED = "embed"
    BESIDE = "beside"
    """In ``.runner/thumbnails`` of the output folder, each its own file."""


def data_block(value: object) -> Markup:
    """``value`` as JSON that can stand in a ``<script>`` block and does not end it."""
    text = msgspec.json.encode(value).decode().translate(_ESCAPES)
    return Markup(text)  # noqa: S704 - holds no letter that means anything to HTML


def content_policy(css: str, js: str) -> str:
    """What the page may do: run and style itself by these very texts, and show files. Nothing else, from nowhere."""
    return (
        f"default-src 'none'; script-src {_source_hash(js)}; style-src {_source_hash(css)}; "
        "img-src data: file: 'self'; media-src file: 'self'; base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def link(root: Path, here: Path, path: str) -> str:
    """The address of ``path`` in the folder ``root``, from a page in ``here``. Never one with a scheme of its own."""
    target = root / path
    try:
        relative = os.path.relpath(target, here)
    except ValueError:  # another drive of Windows
        return target.absolute().as_uri()
    return "./" + quote(os.fsencode(relative.replace(os.sep, "/")))


def source(card: Card, root: Path, here: Path, thumbs: Thumbs) -> str:
    """Where the page has a card's thumbnail from."""
    look = card.look
    if thumbs is Thumbs.BESIDE and look.cached is not None:
        return link(root, here, look.cached)
    return "data:image/webp;base64," + base64.b64encode(look.thumbnail or b"").decode()
