"""What a file is, by its bytes: type, size in pixels, and whether it is whole. The header of the answer is a hint.

A picture that is cut short opens in most viewers, so every format is read to its end: PNG chunk by chunk with its
checksums and all its rows, others by decoding them. Pixels are counted from the header before anything decodes.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from runner.disk import hash_file
from runner.errors import RunnerError
from runner.formats import MAX_PIXELS, MP4, PICTURES, PNG, QUICKTIME, WEBM, Format

if TYPE_CHECKING:
    from PIL import Image

MAX_DECODED = 1 << 29
"""Bytes of a picture that decoders want in memory as a whole. A PNG or a video is read piece by piece."""
_LARGE = 5_000_000
"""Pixels: of pictures beyond that one is decoded at a time, since each takes four bytes a pixel or more."""
_BLOCK = 1 << 20
_EBML = b"\x1a\x45\xdf\xa3"
_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The seven passes of an interlaced PNG: first column and row, steps across and down."""
MAX_PARTS = 1_000_000
"""Chunks of a PNG, segments of a JPEG, blocks of a GIF: some seconds of work."""
MAX_SCANS = 20
"""Of a JPEG of ``MAX_PIXELS``; of a smaller one so many more."""
_MAX_BOXES = 100_000
_PILLOW = [name for name, kind in PICTURES.items() if kind is not PNG]

_turn = Lock()
"""Held by whoever decodes a large picture."""


class BadMedia(RunnerError):
    """The bytes are no picture or video, or not a whole one."""


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
    if head.startswith(_PNG):
        width, height = _read_png(file, size)
        return _media(PNG, size, digest, width, height)
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis"):
        _check_boxes(file, size)
        return _media(QUICKTIME if head[8:12] == b"qt  " else MP4, size, digest)
    if head.startswith(_EBML):
        _check_webm(file, size)
        return _media(WEBM, size, digest)
    return _decoded(file, size, digest, head)


def _media(kind: Format, size: int, digest: str, width: int | None = None, height: int | None = None) -> Media:
    return Media(
        media_type=kind.media_type, extension=kind.extension, bytes=size, sha256=digest, width=width, height=height
    )


def _read_png(file: BinaryIO, size: int) -> tuple[int, int]:
    """Width and height of a PNG whose chunks are all there with good checksums and hold every row."""
    file.seek(len(_PNG))
    rows = _Rows()
    for number in _parts("PNG"):
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        if length > size:
            raise BadMedia(f"the PNG is cut short: a chunk of {length:,} bytes in a file of {size:,}")
        if (kind == b"IHDR") != (number == 0):
            raise BadMedia("the PNG is damaged: its header is not where it should be")
        _read_chunk(file, kind, length, rows)
        if kind == b"IEND":
            break
    return rows.end()


def _read_chunk(file: BinaryIO, kind: bytes, length: int, rows: _Rows) -> None:
    """Read one chunk in blocks, so that a long one does not fill the memory, and compare its checksum."""
    checksum = zlib.crc32(kind)
    while length:
        block = _exactly(file, min(length, _BLOCK))
        length -= len(block)
        checksum = zlib.crc32(block, checksum)
        if kind == b"IHDR":
            rows.begin(block)
        elif kind == b"IDAT":
            rows.feed(block)
    if struct.unpack(">I", _exactly(file, 4))[0] != checksum:
        raise BadMedia(f"the PNG is damaged: wrong checksum in its {kind!r} chunk")


def _exactly(file: BinaryIO, length: int, what: str = "PNG") -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise BadMedia(f"the {what} is cut short")
    return data


def _parts(what: str) -> Iterator[int]:
    """Count the parts of a file, each of which takes time however short it is. Raises ``BadMedia`` for too many."""
    yield from range(MAX_PARTS)
    raise BadMedia(f"the {what} is in more than {MAX_PARTS:,} pieces")


class _Rows:
    """Counts the bytes that a PNG's compressed data unpack to, without keeping them."""

    def __init__(self) -> None:
        self.width = self.height = self._expected = self._seen = 0
        self._unpack = zlib.decompressobj()

    def begin(self, header: bytes) -> None:
        if len(header) != 13:
            raise BadMedia("the PNG's header has the wrong length")
        self.width, self.height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        if depth not in _DEPTHS.get(colour, ()) or not 0 < self.width * self.height <= MAX_PIXELS:
            raise BadMedia(
                f"a PNG of {self.width}x{self.height} pixels, colour type {colour}, depth {depth}, is not accepted"
            )
        bits = depth * _CHANNELS[colour]
        passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
        self._expected = sum(_pass_bytes(self.width, self.height, bits, *step) for step in passes)

    def feed(self, body: bytes) -> None:
        """Unpack a chunk in small steps, and never more than a little past what the header promises."""
        try:
            while body and self._seen <= self._expected:
                self._seen += len(self._unpack.decompress(body, _BLOCK))
                body = self._unpack.unconsumed_tail
        except zlib.error as error:
            raise BadMedia(f"the PNG is damaged: {error}") from None

    def end(self) -> tuple[int, int]:
        if self._seen != self._expected:
            raise BadMedia("the PNG is damaged: rows are missing or too many")
        return self.width, self.height


def _pass_bytes(width: int, height: int, bits: int, left: int, top: int, across: int, down: int) -> int:
    """Unpacked bytes of one pass: every ``across``-th pixel of every ``down``-th row, and a filter byte a row."""
    columns, rows = -(-(width - left) // across), -(-(height - top) // down)
    return rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0


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
    _CHECK_END.get(kind, lambda _file, _size: None)(file, size)
    return _media(PICTURES[kind], size, digest, width, height)


def _decode(file: BinaryIO) -> tuple[int, int, str]:
    """Width, height and format of a picture that decodes to its last pixel."""
    with _opened(file) as image:
        width, height, kind = image.width, image.height, image.format or ""
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
    while block := file.read(_BLOCK):
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
    for _ in _parts("JPEG"):
        kind, length = struct.unpack(">2sH", _exactly(file, 4, "JPEG"))
        if kind == b"\xff\xda":  # the thumbnail before the pixels may have an end of its own
            break
        file.seek(max(length - 2, 0) if kind != b"\xff\xff" else -3, 1)  # any number of 0xff may fill a gap
    before = b""
    while block := file.read(_BLOCK):
        if b"\xff\xd9" in before + block:
            return
        before = block[-1:]
    raise BadMedia("the JPEG is cut short: its end marker is missing")


def _check_gif_end(file: BinaryIO, _size: int) -> None:
    """Walk the blocks to the trailer: of a moving picture, only the first frame was decoded."""
    file.seek(10)
    parts = _parts("GIF")
    _skip_colours(file, _exactly(file, 3, "GIF")[0])
    while (kind := _exactly(file, 1, "GIF")) != b";":
        if kind == b"!":
            _exactly(file, 1, "GIF")
        elif kind == b",":
            _skip_colours(file, _exactly(file, 9, "GIF")[8])
            _exactly(file, 1, "GIF")
        else:
            raise BadMedia("the GIF is damaged: a block of no known kind")
        while length := _exactly(file, 1, "GIF")[0]:
            _exactly(file, length, "GIF")
            next(parts)
        next(parts)


def _skip_colours(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        _exactly(file, 3 << (flags & 7) + 1, "GIF")


def _check_webp_end(file: BinaryIO, size: int) -> None:
    file.seek(4)
    if struct.unpack("<I", _exactly(file, 4, "WebP"))[0] + 8 > size:
        raise BadMedia("the WebP is cut short")


_CHECK_END = {"JPEG": _check_jpeg_end, "GIF": _check_gif_end, "WEBP": _check_webp_end}


def _what_else(head: bytes, error: Exception) -> str:
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "an error page or message came instead of a picture"
    if not head:
        return "the file is empty"
    from PIL import UnidentifiedImageError  # noqa: PLC0415 - likewise

    if isinstance(error, UnidentifiedImageError):
        return "no whole picture or video of a known kind"
    return f"no whole picture or video: {error}"


def _check_boxes(file: BinaryIO, size: int) -> None:
    """Of an MP4 or QuickTime file: they fill it exactly."""
    position = 0
    kinds = set()
    for _ in range(_MAX_BOXES):
        file.seek(position)
        length, kind = struct.unpack(">I4s", _exactly(file, 8, "video"))
        if length == 1:
            length = struct.unpack(">Q", _exactly(file, 8, "video"))[0]
        kinds.add(kind)
        position = position + max(length, 8) if length else size
        if position >= size:
            break
    if position != size or not {b"moov", b"mdat"} <= kinds:
        raise BadMedia("the video is cut short: its boxes do not fill the file")


def _check_webm(file: BinaryIO, size: int) -> None:
    """A header and a segment that ends within the file, or says that its length was not known."""
    file.seek(len(_EBML))
    length, _ = _ebml_length(file)
    file.seek(length, 1)
    if _exactly(file, 4, "video") != b"\x18\x53\x80\x67":
        raise BadMedia("the video is damaged: it has no segment")
    length, known = _ebml_length(file)
    if known and file.tell() + length > size:
        raise BadMedia("the video is cut short")


def _ebml_length(file: BinaryIO) -> tuple[int, bool]:
    """A length of one to eight bytes, and whether it is one: all bits set mean that it was not known."""
    first = _exactly(file, 1, "video")
    more = 8 - first[0].bit_length()
    if more > 7:
        raise BadMedia("the video is damaged: a length of more than eight bytes")
    bits = 7 * (more + 1)
    value = int.from_bytes(first + _exactly(file, more, "video")) & (1 << bits) - 1
    return value, value != (1 << bits) - 1
