"""Media type, size in pixels and completeness of a file, by its bytes. The header is a hint.

A picture that is cut short opens in most viewers, so every format is read to its end: PNG chunk by chunk with its
checksums and all its rows, others by decoding them. Pixels are counted from the header before anything decodes.
"""

from __future__ import annotations

import hashlib
import struct
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from runner.core.disk import hash_file
from runner.core.media_formats import MAX_PIXELS, MP4, PICTURES, PNG, QUICKTIME, WEBM, Format
from runner.files.containers import (
    BLOCK,
    EBML,
    SIGNATURE,
    BadMedia,
    check_boxes,
    check_webm,
    count_parts,
    exactly,
    read_png,
)

if TYPE_CHECKING:
    from PIL import Image

MAX_DECODED = 1 << 29
"""Bytes of a picture that decoders want in memory as a whole. A PNG or a video is read piece by piece."""
_LARGE = 5_000_000
"""Pixels: of pictures beyond that one is decoded at a time, since each takes four bytes a pixel or more."""
MAX_SCANS = 20
"""Of a JPEG of ``MAX_PIXELS``; of a smaller one so many more."""
_PILLOW = [name for name, kind in PICTURES.items() if kind is not PNG]
_ALSO = {"MPO": "JPEG"}
"""Names that Pillow gives to files which it was asked to open as another format: a JPEG with an MPF segment."""

_turn = Lock()
"""Held by whoever decodes a large picture."""


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a file. Width and height are in pixels, and None for a video."""

    media_type: str
    extension: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None


def inspect(path: Path) -> Media:
    """Read ``path`` to its end. Raises ``BadMedia`` saying what it is instead, or ``OSError``."""
    with path.open("rb") as file:
        digest = hash_file(path)
        return _inspect(file, path.stat().st_size, digest)


def inspect_bytes(body: bytes) -> Media:
    """The same of a file that is in memory."""
    return _inspect(BytesIO(body), len(body), hashlib.sha256(body).hexdigest())


def _inspect(file: BinaryIO, size: int, digest: str) -> Media:
    head = file.read(64)
    file.seek(0)
    if head.startswith(SIGNATURE):
        width, height = read_png(file, size)
        return _media(PNG, size, digest, width, height)
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis"):
        check_boxes(file, size)
        return _media(QUICKTIME if head[8:12] == b"qt  " else MP4, size, digest)
    if head.startswith(EBML):
        check_webm(file, size)
        return _media(WEBM, size, digest)
    return _decoded(file, size, digest, head)


def _media(kind: Format, size: int, digest: str, width: int | None = None, height: int | None = None) -> Media:
    return Media(
        media_type=kind.media_type, extension=kind.extension, bytes=size, sha256=digest, width=width, height=height
    )


def _decoded(file: BinaryIO, size: int, digest: str, head: bytes) -> Media:
    """Any other picture, decoded whole by Pillow."""
    if size > MAX_DECODED:
        raise BadMedia(f"no picture of a kind that may have {size:,} bytes")
    _check_webp_size(head)  # its canvas is made when it is opened
    try:
        width, height, kind = _decode(file)
    except BadMedia:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise anything on bytes they do not expect
        raise BadMedia(_what_else(head, error)) from None
    if kind not in PICTURES:
        raise BadMedia(f"a picture of a kind that is not accepted: {kind or 'one without a name'}")
    _CHECK_END.get(kind, lambda _file, _size: None)(file, size)
    return _media(PICTURES[kind], size, digest, width, height)


def _decode(file: BinaryIO) -> tuple[int, int, str]:
    """Width, height and format of a picture that decodes to its last pixel."""
    with _opened(file) as image:
        width, height, kind = image.width, image.height, _ALSO.get(image.format or "", image.format or "")
        _check_pixels(width, height)
        if kind == "JPEG":
            _check_scans(file, width * height)
        if width * height <= _LARGE:
            image.load()
            return width, height, kind
    with _turn, ThreadPoolExecutor(1) as alone:  # the memory that its thread leaves serves the next one's
        alone.submit(_load, file).result()
    return width, height, kind


def _opened(file: BinaryIO) -> Image.Image:
    """The picture in ``file`` as its header tells, in one of the formats that are accepted."""
    from PIL import Image  # noqa: PLC0415 - PNGs and videos are read without it

    Image.init()
    return Image.open(file, formats=[name for name in _PILLOW if name in Image.OPEN])


def _load(file: BinaryIO) -> None:
    """Decode it all, and keep nothing."""
    file.seek(0)
    with _opened(file) as image:
        image.load()


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadMedia(f"a picture of {width}x{height} pixels is not accepted")


def _check_scans(file: BinaryIO, pixels: int) -> None:
    """Of a JPEG, which may go over all its pixels again for a hundred bytes more."""
    file.seek(0)
    scans, before = 0, b""
    while block := file.read(BLOCK):
        scans += (before + block).count(b"\xff\xda")
        before = block[-1:]
    if scans * pixels > MAX_SCANS * MAX_PIXELS:
        raise BadMedia(f"a JPEG of {scans:,} scans over {pixels:,} pixels is not accepted")


def _check_webp_size(head: bytes) -> None:
    """Of the canvas that a WebP's header promises, in any of its three forms."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return
    match head[12:16]:
        case b"VP8X":
            _check_pixels(*(1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27)))
        case b"VP8 ":
            _check_pixels(*(int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28)))
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            _check_pixels(*(1 + (bits >> shift & 0x3FFF) for shift in (0, 14)))


def _check_jpeg_end(file: BinaryIO, _size: int) -> None:
    """Decoders may forgive a missing end marker; some writers put more after it. No pixels hold its two bytes."""
    file.seek(2)
    for _ in count_parts("JPEG"):
        kind, length = struct.unpack(">2sH", exactly(file, 4, "JPEG"))
        if kind == b"\xff\xda":  # the thumbnail before the pixels may have an end of its own
            break
        file.seek(max(length - 2, 0) if kind != b"\xff\xff" else -3, 1)  # any number of 0xff may fill a gap
    before = b""
    while block := file.read(BLOCK):
        if b"\xff\xd9" in before + block:
            return
        before = block[-1:]
    raise BadMedia("the JPEG is cut short: its end marker is missing")


def _check_gif_end(file: BinaryIO, _size: int) -> None:
    """Walk the blocks to the trailer: of a moving picture, only the first frame was decoded."""
    file.seek(10)
    parts = count_parts("GIF")
    _skip_colours(file, exactly(file, 3, "GIF")[0])
    while (kind := exactly(file, 1, "GIF")) != b";":
        if kind == b"!":
            exactly(file, 1, "GIF")
        elif kind == b",":
            _skip_colours(file, exactly(file, 9, "GIF")[8])
            exactly(file, 1, "GIF")
        else:
            raise BadMedia("the GIF is damaged: a block of no known kind")
        while length := exactly(file, 1, "GIF")[0]:
            exactly(file, length, "GIF")
            next(parts)
        next(parts)


def _skip_colours(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        exactly(file, 3 << (flags & 7) + 1, "GIF")


def _check_webp_end(file: BinaryIO, size: int) -> None:
    file.seek(4)
    if struct.unpack("<I", exactly(file, 4, "WebP"))[0] + 8 > size:
        raise BadMedia("the WebP is cut short")


_CHECK_END = {"JPEG": _check_jpeg_end, "GIF": _check_gif_end, "WEBP": _check_webp_end}


def _what_else(head: bytes, error: Exception) -> str:
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "an error page or message came instead of a picture"
    if not head:
        return "the file is empty"
    from PIL import UnidentifiedImageError  # noqa: PLC0415 - PNGs and videos are read without it

    if isinstance(error, UnidentifiedImageError):
        return "no whole picture or video of a known kind"
    return f"no whole picture or video: {error}"
