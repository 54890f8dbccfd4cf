"""Pictures that Pillow decodes: every format but PNG, which ``containers`` reads.

Most viewers open an incomplete picture, so each is decoded to its last pixel. The pixels are counted from the header
before anything is decoded.
"""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from runner.core.media_formats import MAX_PIXELS, PICTURES, PNG, Format
from runner.files.containers import BLOCK, BadMedia, check_pixels, count_parts, exactly

if TYPE_CHECKING:
    from PIL import Image

_STRONG = (b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
"""Beginnings that only pictures have: such a file is damaged if it cannot be decoded."""
MAX_DECODED = 1 << 29
"""Maximum bytes of a picture that is decoded in memory. PNGs and videos are read in parts, without this limit."""
_LARGE = 5_000_000
"""Pixels above which only one picture is decoded at a time, since each takes four bytes a pixel or more."""
MAX_SCANS = 20
"""Maximum scans of a JPEG of ``MAX_PIXELS``; a smaller JPEG may have proportionally more."""
_PILLOW = [name for name, kind in PICTURES.items() if kind is not PNG]
_ALSO = {"MPO": "JPEG"}
"""Formats that Pillow reports for files opened as another format: MPO for a JPEG with an MPF segment."""

_turn = Lock()
"""Lock that is held during the decoding of a large picture."""


def begins_picture(head: bytes) -> bool:
    """Tell whether ``head`` can only be the beginning of a picture that Pillow decodes."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4)
    return head.startswith(_STRONG) or webp or bitmap or (head[4:8] == b"ftyp" and is_avif(head))


def is_avif(head: bytes) -> bool:
    brands = head[8:12] + head[16 : min(int.from_bytes(head[:4]), 256)]
    return any(brands[at : at + 4] in (b"avif", b"avis") for at in range(0, len(brands), 4))


def decode_picture(file: BinaryIO, size: int, head: bytes, max_pixels: int) -> tuple[int, int, Format]:
    """Decode a picture to its last pixel, and return its width, height and format. Raises ``BadMedia``."""
    if size > MAX_DECODED:
        raise BadMedia(f"a picture of this format may not have {size:,} bytes")
    _check_webp_size(head, max_pixels)  # Pillow allocates the canvas when it opens the file
    try:
        width, height, kind = _decode(file, max_pixels)
    except BadMedia:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise any exception on unexpected bytes
        raise BadMedia(_what_else(head, error)) from None
    if kind not in PICTURES:
        raise BadMedia(f"a picture format that is not accepted: {kind or 'unnamed'}")
    if kind in _CHECK_END:
        _CHECK_END[kind](file, size)
    return width, height, PICTURES[kind]


def _decode(file: BinaryIO, max_pixels: int) -> tuple[int, int, str]:
    """Decode a picture to its last pixel, and return its width, height and format."""
    with _opened(file) as image:
        width, height, kind = image.width, image.height, _ALSO.get(image.format or "", image.format or "")
        check_pixels(width, height, max_pixels)
        if kind == "JPEG":
            _check_scans(file, width * height, max_pixels)
        if width * height <= _LARGE:
            image.load()
            return width, height, kind
    with _turn, ThreadPoolExecutor(1) as alone:  # the next thread reuses the memory of this one
        alone.submit(_load, file).result()
    return width, height, kind


def _opened(file: BinaryIO) -> Image.Image:
    """Open ``file`` in one of the accepted formats, without decoding more than the header."""
    from PIL import Image  # noqa: PLC0415 - not needed for PNGs and videos

    Image.init()
    Image.MAX_IMAGE_PIXELS = None  # callers check the size before anything is decoded
    return Image.open(file, formats=[name for name in _PILLOW if name in Image.OPEN])


def _load(file: BinaryIO) -> None:
    """Decode the whole picture without keeping it."""
    file.seek(0)
    with _opened(file) as image:
        image.load()


def _check_scans(file: BinaryIO, pixels: int, max_pixels: int) -> None:
    """Limit the scans of a JPEG: each scan of a hundred bytes may decode all pixels again. Raises ``BadMedia``."""
    file.seek(0)
    scans, before = 0, b""
    while block := file.read(BLOCK):
        scans += (before + block).count(b"\xff\xda")
        before = block[-1:]
    if scans * pixels > MAX_SCANS * max(MAX_PIXELS, max_pixels):
        raise BadMedia(f"a JPEG of {scans:,} scans over {pixels:,} pixels is not accepted")


def _check_webp_size(head: bytes, max_pixels: int) -> None:
    """Check the canvas size in the header of a WebP, in any of the three forms. Raises ``TooManyPixels``."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return
    match head[12:16]:
        case b"VP8X":
            width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        case b"VP8 ":
            width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            width, height = (1 + (bits >> shift & 0x3FFF) for shift in (0, 14))
        case _:
            return
    check_pixels(width, height, max_pixels)


def _check_jpeg_end(file: BinaryIO, _size: int) -> None:
    """Check that a JPEG has an end marker, which decoders may not require.

    Some writers add bytes after the marker. Its two bytes do not occur within the pixel data.
    """
    file.seek(2)
    for _ in count_parts("JPEG"):
        kind, length = struct.unpack(">2sH", exactly(file, 4, "JPEG"))
        if kind == b"\xff\xda":  # a thumbnail before the pixels may have its own end marker
            break
        file.seek(max(length - 2, 0) if kind != b"\xff\xff" else -3, 1)  # any number of fill bytes 0xff
    before = b""
    while block := file.read(BLOCK):
        if b"\xff\xd9" in before + block:
            return
        before = block[-1:]
    raise BadMedia("the JPEG is cut short: its end marker is missing")


def _check_gif_end(file: BinaryIO, _size: int) -> None:
    """Walk the blocks of a GIF to the trailer, since only the first frame of an animation was decoded."""
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
    from PIL import UnidentifiedImageError  # noqa: PLC0415 - not needed for PNGs and videos

    if isinstance(error, UnidentifiedImageError):
        return "not a complete picture or video of a known format"
    return f"not a complete picture or video: {error}"
