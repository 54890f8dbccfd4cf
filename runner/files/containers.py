"""Structure checks of PNG, MP4 and WebM files, without decoding the picture or video.

A PNG is read chunk by chunk, with at most one block in memory. All checksums and the number of rows are checked. For
videos only the boxes or elements are checked, not the frames.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from runner.core.errors import RunnerError
from runner.core.media_formats import MAX_PIXELS

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The seven passes of an interlaced PNG: first column and row, steps across and down."""

BLOCK = 1 << 20
"""Bytes that are read at once."""

MAX_BEHIND = 1 << 20
"""Maximum bytes after the end of a PNG; some writers leave bytes there."""
MAX_PARTS = 1_000_000
"""Maximum parts of a file: chunks of a PNG, segments of a JPEG, blocks of a GIF. Takes some seconds."""

EBML = b"\x1a\x45\xdf\xa3"

_MAX_BOXES = 100_000


def read_png(file: BinaryIO, size: int, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the width and height of a PNG, after a check of all chunks, checksums and rows. Raises ``BadMedia``."""
    file.seek(len(SIGNATURE))
    rows = _Rows(max_pixels)
    for number in count_parts("PNG"):
        length, kind = struct.unpack(">I4s", exactly(file, 8))
        if length > size:
            raise BadMedia(f"the PNG is cut short: a chunk of {length:,} bytes in a file of {size:,}")
        if (kind == b"IHDR") != (number == 0):
            raise BadMedia("the PNG is damaged: its header is not at the beginning")
        _read_chunk(file, kind, length, rows)
        if kind == b"IEND":
            break
    behind = size - file.tell()
    if behind > MAX_BEHIND:
        raise BadMedia(f"{behind:,} bytes follow the end of the PNG; at most {MAX_BEHIND:,} are accepted")
    return rows.end()


def _read_chunk(file: BinaryIO, kind: bytes, length: int, rows: _Rows) -> None:
    """Read one chunk in blocks, to limit the memory, and compare its checksum."""
    checksum = zlib.crc32(kind)
    while length:
        block = exactly(file, min(length, BLOCK))
        length -= len(block)
        checksum = zlib.crc32(block, checksum)
        if kind == b"IHDR":
            rows.begin(block)
        elif kind == b"IDAT":
            rows.feed(block)
    if struct.unpack(">I", exactly(file, 4))[0] != checksum:
        raise BadMedia(f"the PNG is damaged: wrong checksum in its {kind!r} chunk")


class _Rows:
    """Counter of the decompressed bytes of a PNG, which are not kept."""

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self.width = self.height = self._expected = self._seen = 0
        self._unpack = zlib.decompressobj()

    def begin(self, header: bytes) -> None:
        if len(header) != 13:
            raise BadMedia("the PNG's header has the wrong length")
        self.width, self.height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        check_pixels(self.width, self.height, self._max_pixels)
        if depth not in _DEPTHS.get(colour, ()) or not self.width * self.height:
            raise BadMedia(
                f"a PNG of {self.width}x{self.height} pixels, colour type {colour}, depth {depth}, is not accepted"
            )
        bits = depth * _CHANNELS[colour]
        passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
        self._expected = sum(_pass_bytes(self.width, self.height, bits, *step) for step in passes)

    def feed(self, body: bytes) -> None:
        """Decompress a chunk in small steps, and stop soon after the size that the header gives."""
        try:
            while body and self._seen <= self._expected:
                self._seen += len(self._unpack.decompress(body, BLOCK))
                body = self._unpack.unconsumed_tail
        except zlib.error as error:
            raise BadMedia(f"the PNG is damaged: {error}") from None

    def end(self) -> tuple[int, int]:
        if self._seen != self._expected:
            raise BadMedia("the PNG is damaged: rows are missing or too many")
        return self.width, self.height


def _pass_bytes(width: int, height: int, bits: int, left: int, top: int, across: int, down: int) -> int:
    """Return the decompressed bytes of one pass.

    A pass has every ``across``-th pixel of every ``down``-th row, and a filter byte a row.
    """
    columns, rows = -(-(width - left) // across), -(-(height - top) // down)
    return rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0


class BadMedia(RunnerError):
    """File with unexpected or incomplete bytes."""


class TooManyPixels(BadMedia):
    """Picture larger than the manifest allows; another download has the same result."""


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise ``TooManyPixels`` if a picture is larger than allowed."""
    if width * height > max_pixels:
        raise TooManyPixels(
            f"a picture of {width}x{height} pixels; max_pixels allows {max_pixels:,}. If this size is intended, "
            "raise `max_pixels` in the manifest and run again (free)"
        )


def exactly(file: BinaryIO, length: int, what: str = "PNG") -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise BadMedia(f"the {what} is cut short")
    return data


def count_parts(what: str) -> Iterator[int]:
    """Count the parts of a file, each of which takes time even if short. Raises ``BadMedia`` for too many."""
    yield from range(MAX_PARTS)
    raise BadMedia(f"the {what} has more than {MAX_PARTS:,} parts")


def check_boxes(file: BinaryIO, size: int, index: frozenset[bytes] = frozenset({b"moov"})) -> None:
    """Check the boxes of an MP4, QuickTime or HEIC file: they fill the file exactly, and include one of ``index``."""
    position = 0
    kinds = set()
    for _ in range(_MAX_BOXES):
        file.seek(position)
        length, kind = struct.unpack(">I4s", exactly(file, 8, "video"))
        if length == 1:
            length = struct.unpack(">Q", exactly(file, 8, "video"))[0]
        kinds.add(kind)
        position = position + max(length, 8) if length else size
        if position >= size:
            break
    if position != size or not kinds & index or not kinds & {b"mdat", b"idat"}:
        raise BadMedia("the video is cut short: its boxes do not fill the file")


def check_webm(file: BinaryIO, size: int) -> None:
    """Check that a WebM has a header, and a segment that ends within the file or has an unknown length."""
    file.seek(len(EBML))
    length, _ = _ebml_length(file)
    file.seek(length, 1)
    if exactly(file, 4, "video") != b"\x18\x53\x80\x67":
        raise BadMedia("the video is damaged: it has no segment")
    length, known = _ebml_length(file)
    if known and file.tell() + length > size:
        raise BadMedia("the video is cut short")


def _ebml_length(file: BinaryIO) -> tuple[int, bool]:
    """Return a length of one to eight bytes, and False if all its bits are set, which marks an unknown length."""
    first = exactly(file, 1, "video")
    more = 8 - first[0].bit_length()
    if more > 7:
        raise BadMedia("the video is damaged: a length of more than eight bytes")
    bits = 7 * (more + 1)
    value = int.from_bytes(first + exactly(file, more, "video")) & (1 << bits) - 1
    return value, value != (1 << bits) - 1
