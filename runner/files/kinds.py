"""Files of formats that are not checked: plausibility as a result, and file extension.

The bytes decide, then the type that the storage gives, then the address. A page or a message in place of a picture is
an error of the storage. A JSON file is a valid result if its address or type says so.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from functools import lru_cache
from mimetypes import MimeTypes
from urllib.parse import unquote, urlsplit

import msgspec

from runner.core.media_formats import EXTENSIONS, FORMATS

HEAD = 8192
"""Bytes at the beginning of a file by which its format is recognised."""
_ENDING = re.compile(r"\.([a-z0-9]{1,12})\Z")
_SCRIPTS = frozenset({"php", "asp", "aspx", "jsp", "cgi", "do"})
"""Extensions of server programs that send files; they say nothing about the files."""
_PROGRAMS = frozenset({"application/x-executable", "application/x-msdownload"})
"""Types that no model produces."""
_PAGES = frozenset({"html", "htm", "xhtml"})
_VAGUE = frozenset(
    {
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/zip",
        "application/json",
        "application/xml",
        "text/xml",
        "text/plain",
    }
)
"""Types that many formats share; an extension in the address is more specific."""
_BY_TYPE = {kind.media_type: kind.extension for kind in FORMATS} | {
    "text/plain": "txt",
    "application/x-subrip": "srt",
    "text/vtt": "vtt",
    "model/obj": "obj",
    "model/stl": "stl",
    "model/vnd.usdz+zip": "usdz",
    "model/gltf+json": "gltf",
}


class Expected(msgspec.Struct, frozen=True):
    """Expectations of a file before its bytes are known: its address, and the type that the storage gives."""

    address: str = ""
    content_type: str = ""
    inside: bool = False
    """True if the file is part of the API's response, where no error page can replace it."""

    @property
    def ending(self) -> str:
        """Return the extension of the address in lower case without a dot; empty: none, or one of a server program."""
        try:
            name = unquote(urlsplit(self.address).path).rpartition("/")[2].lower()
        except ValueError:
            return ""
        found = _ENDING.search(name)
        return found[1] if found and found.start() and found[1] not in _SCRIPTS else ""

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def is_document(self) -> bool:
        """Return True for a text or JSON result, which may begin with any bytes."""
        return self.inside and self.media_type in ("text/plain", "application/json")

    @property
    def is_media(self) -> bool:
        """Return True if the file should be a picture, a video or another file that can be checked."""
        if self.ending:
            return self.ending in EXTENSIONS
        return self.media_type.startswith(("image/", "video/")) or self.media_type in _CHECKED


_CHECKED = frozenset(kind.media_type for kind in FORMATS)


def what_instead(head: bytes, expected: Expected) -> str | None:
    """Return the reason why an unchecked file that begins with ``head`` cannot be the result; None: it can be."""
    if not head:
        return "the file is empty"
    if (guessed := _guess(head)) is not None and guessed[0] in _PROGRAMS:
        return "a program came instead of the file"
    text = _text_kind(head)
    if text and not expected.inside and not _is_due(text, expected):
        return "an error page or message came instead of the file"
    if expected.is_media and guessed is None:
        return "not a complete picture, video or other file of a known format"
    return None


def name_kind(head: bytes, expected: Expected) -> tuple[str, str]:
    """Return the media type and the extension of an unchecked file that begins with ``head``."""
    ending = "" if expected.ending in EXTENSIONS else expected.ending
    guessed = _guess(head) if not expected.is_document else None
    if guessed is not None:
        media_type, extension = guessed
        return media_type, ending if extension == "zip" and ending else extension  # many formats are zip archives
    media_type = expected.media_type if re.fullmatch(r"[\w.+-]+/[\w.+-]+", expected.media_type, re.ASCII) else ""
    by_type = _BY_TYPE.get(media_type) or (_types().guess_extension(media_type) or "").removeprefix(".")
    if by_type in EXTENSIONS or expected.is_media:
        by_type = ""
    if ending and (media_type in _VAGUE or not by_type):
        return media_type or "application/octet-stream", ending
    by_type = "" if by_type == "bin" else by_type
    return media_type or "application/octet-stream", by_type or ("txt" if _is_text(head) else "bin")


@lru_cache(maxsize=1)
def _types() -> MimeTypes:
    """Return the media types built into Python, without those of this machine; created at first use."""
    return MimeTypes()


def _guess(head: bytes) -> tuple[str, str] | None:
    from filetype import guess  # noqa: PLC0415 - not needed for pictures and videos

    found = guess(head)
    return (found.mime, found.extension) if found is not None else None


def _text_kind(head: bytes) -> str:
    """Return ``html``, ``xml`` or ``json`` if ``head`` begins like such a file; otherwise an empty string."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:15].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "html"
    if start.startswith((b"<?xml", b"<!doctype", b"<error")):
        return "xml"
    return "json" if start.startswith((b"{", b"[")) else ""


def _is_due(text: str, expected: Expected) -> bool:
    """Tell whether a text of this kind may be the result. An HTML page is a result only with a matching extension."""
    if text == "html":
        return expected.ending in _PAGES
    if expected.ending:
        return expected.ending not in EXTENSIONS
    return text in expected.media_type or (text == "json" and expected.media_type == "text/plain")


def _is_text(head: bytes) -> bool:
    try:
        text = getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError:
        return False
    return "\0" not in text
