"""Media type, size in pixels and completeness of a file, by its bytes. The content type header is only a hint.

Most viewers open an incomplete picture, so every picture is read to its end: a PNG chunk by chunk with its checksums
and all rows, other formats by decoding. The pixels are counted from the header before anything is decoded. Videos,
audio, GLB and SVG files have their structure checked. Other files are accepted without checks if their address or type
allows it, and marked as unchecked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import file_digest
from io import SEEK_END
from typing import BinaryIO

import msgspec

from runner.core.media_formats import (
    FLAC,
    GLB,
    HEIC,
    M4A,
    MAX_PIXELS,
    MP3,
    MP4,
    OGG,
    PNG,
    QUICKTIME,
    SVG,
    WAV,
    WEBM,
    Format,
)
from runner.files.audio import begins_mp3, check_flac, check_mp3, check_ogg, check_wav
from runner.files.containers import (
    EBML,
    SIGNATURE,
    BadMedia,
    check_boxes,
    check_webm,
    read_png,
)
from runner.files.drawings import begins_svg, check_glb, check_svg
from runner.files.kinds import HEAD, Expected, name_kind, what_instead
from runner.files.pictures import begins_picture, decode_picture, is_avif


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """Properties of a checked file. Width and height are in pixels; None: unknown, as for videos."""

    media_type: str
    extension: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    unchecked: bool = False
    """True if only the length of the file was checked, because its format has no further check."""


def inspect(file: BinaryIO, expected: Expected | None = None, *, max_pixels: int = MAX_PIXELS) -> Media:
    """Read ``file`` to its end and return its properties. Raises ``BadMedia`` for an invalid file, or ``OSError``.

    Without ``expected`` only formats that can be checked are accepted.
    """
    size = file.seek(0, SEEK_END)
    file.seek(0)
    digest = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed asks for more methods
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    if expected is not None and expected.is_document:
        return _unchecked(head, expected, size, digest)
    if head.startswith(SIGNATURE):
        width, height = read_png(file, size, max_pixels)
        return _media(PNG, size, digest, width, height)
    found = _structured(head)
    if found is not None:
        kind, check = found
        check(file, size)
        return _media(kind, size, digest)
    if begins_svg(head) and check_svg(file):
        return _media(SVG, size, digest)
    if expected is None or begins_picture(head):
        width, height, kind = decode_picture(file, size, head, max_pixels)
        return _media(kind, size, digest, width, height)
    return _unchecked(head, expected, size, digest)


def _unchecked(head: bytes, expected: Expected, size: int, digest: str) -> Media:
    """Return the properties of a file that is not checked. Raises ``BadMedia`` if it cannot be the result."""
    drawing = begins_svg(head)
    why = what_instead(head, expected)
    if why is not None and not drawing:
        raise BadMedia(why)
    media_type, extension = (SVG.media_type, SVG.extension) if drawing else name_kind(head, expected)
    return Media(media_type=media_type, extension=extension, bytes=size, sha256=digest, unchecked=True)


def _structured(head: bytes) -> tuple[Format, Callable[[BinaryIO, int], None]] | None:
    """Return the format of ``head`` and the check of its structure; None: another format."""
    if head[4:8] == b"ftyp":
        return None if is_avif(head) else _by_brand(head)
    if head.startswith(EBML):
        return WEBM, check_webm
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return WAV, check_wav
    if (head[:3] == b"ID3" and head[3:4] < b"\x10") or begins_mp3(head):
        return MP3, check_mp3
    return next((found for mark, found in _MARKS.items() if head.startswith(mark)), None)


_MARKS = {b"fLaC": (FLAC, check_flac), b"OggS": (OGG, check_ogg), b"glTF": (GLB, check_glb)}
_HEIF = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


def _by_brand(head: bytes) -> tuple[Format, Callable[[BinaryIO, int], None]]:
    """Return the format of a file of boxes by its main brand, and its check; most are videos."""
    brand = head[8:12]
    if brand in _HEIF:
        return HEIC, partial(check_boxes, index=frozenset({b"meta", b"moov"}))
    if brand in (b"M4A ", b"M4B "):
        return M4A, check_boxes
    return QUICKTIME if brand == b"qt  " else MP4, check_boxes


def _media(kind: Format, size: int, digest: str, width: int | None = None, height: int | None = None) -> Media:
    return Media(
        media_type=kind.media_type, extension=kind.extension, bytes=size, sha256=digest, width=width, height=height
    )
