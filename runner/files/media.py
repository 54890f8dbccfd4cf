"""Media type, size in pixels and completeness of a file, by its bytes. The content type header is only a hint.

Most viewers open an incomplete picture, so every picture is read to its end: a PNG chunk by chunk with its checksums
and all rows, other formats by decoding. The pixels are counted from the header before anything is decoded. Videos,
audio, GLB and SVG files have their structure checked. Other files are accepted without checks if their address or type
allows it, and marked as unchecked.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from runner.core.disk import hash_file
from runner.core.media_formats import (
    FLAC,
    GLB,
    HEIC,
    M4A,
    MAX_PIXELS,
    MP3,
    MP4,
    OGG,
    PICTURES,
    PNG,
    QUICKTIME,
    SVG,
    WAV,
    WEBM,
    Format,
)
from runner.files.audio import begins_mp3, check_flac, check_mp3, check_ogg, check_wav
from runner.files.containers import (
    BLOCK,
    EBML,
    SIGNATURE,
    BadMedia,
    check_boxes,
    check_pixels,
    check_webm,
    count_parts,
    exactly,
    read_png,
)
from runner.files.drawings import begins_svg, check_glb, check_svg
from runner.files.kinds import HEAD, Expected, name_kind, what_instead

if TYPE_CHECKING:
    from PIL import Image

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


def inspect(path: Path, expected: Expected | None = None, *, max_pixels: int = MAX_PIXELS) -> Media:
    """Read ``path`` to its end and return its properties. Raises ``BadMedia`` for an invalid file, or ``OSError``.

    Without ``expected`` only formats that can be checked are accepted.
    """
    with path.open("rb") as file:
        digest = hash_file(path)
        return _inspect(file, path.stat().st_size, digest, expected, max_pixels)


def inspect_bytes(body: bytes, expected: Expected | None = None, *, max_pixels: int = MAX_PIXELS) -> Media:
    """Return the properties of a file in memory; otherwise as ``inspect``."""
    return _inspect(BytesIO(body), len(body), hashlib.sha256(body).hexdigest(), expected, max_pixels)


def _inspect(file: BinaryIO, size: int, digest: str, expected: Expected | None, max_pixels: int) -> Media:
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
    if expected is None or _begins_picture(head):
        return _decoded(file, size, digest, head, max_pixels)
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
        return None if _is_avif(head) else _by_brand(head)
    if head.startswith(EBML):
        return WEBM, check_webm
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return WAV, check_wav
    if (head[:3] == b"ID3" and head[3:4] < b"\x10") or begins_mp3(head):
        return MP3, check_mp3
    return next((found for mark, found in _MARKS.items() if head.startswith(mark)), None)


_MARKS = {b"fLaC": (FLAC, check_flac), b"OggS": (OGG, check_ogg), b"glTF": (GLB, check_glb)}
_HEIF = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_STRONG = (b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
"""Beginnings that only pictures have: such a file is damaged if it cannot be decoded."""


def _is_avif(head: bytes) -> bool:
    brands = head[8:12] + head[16 : min(int.from_bytes(head[:4]), 256)]
    return any(brands[at : at + 4] in (b"avif", b"avis") for at in range(0, len(brands), 4))


def _by_brand(head: bytes) -> tuple[Format, Callable[[BinaryIO, int], None]]:
    """Return the format of a file of boxes by its main brand, and its check; most are videos."""
    brand = head[8:12]
    if brand in _HEIF:
        return HEIC, partial(check_boxes, index=frozenset({b"meta", b"moov"}))
    if brand in (b"M4A ", b"M4B "):
        return M4A, check_boxes
    return QUICKTIME if brand == b"qt  " else MP4, check_boxes


def _begins_picture(head: bytes) -> bool:
    """Tell whether ``head`` can only be the beginning of a picture that Pillow decodes."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4)
    return head.startswith(_STRONG) or webp or bitmap or (head[4:8] == b"ftyp" and _is_avif(head))


def _media(kind: Format, size: int, digest: str, width: int | None = None, height: int | None = None) -> Media:
    return Media(
        media_type=kind.media_type, extension=kind.extension, bytes=size, sha256=digest, width=width, height=height
    )


def _decoded(file: BinaryIO, size: int, digest: str, head: bytes, max_pixels: int) -> Media:
    """Decode any other picture whole with Pillow, and return its properties."""
    if size > MAX_DECODED:
        raise BadMedia(f"no picture of a kind that may have {size:,} bytes")
    _check_webp_size(head, max_pixels)  # Pillow allocates the canvas when it opens the file
    try:
        width, height, kind = _decode(file, max_pixels)
    except BadMedia:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise any exception on unexpected bytes
        raise BadMedia(_what_else(head, error)) from None
    if kind not in PICTURES:
        raise BadMedia(f"a picture of a kind that is not accepted: {kind or 'one without a name'}")
    _CHECK_END.get(kind, lambda _file, _size: None)(file, size)
    return _media(PICTURES[kind], size, digest, width, height)


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
        return "no whole picture or video of a known kind"
    return f"no whole picture or video: {error}"
