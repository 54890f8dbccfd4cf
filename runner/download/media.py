"""What a file is, by its bytes: type, size in pixels, and whether it is whole. The header of the answer is a hint.

A picture that is cut short opens in most viewers, so every format is read to its end: PNG chunk by chunk with its
checksums and all its rows, others by decoding them. Pixels are counted from the header before anything decodes.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from runner.errors import RunnerError

MAX_PIXELS = 89_000_000
"""Above 9,000 x 9,000 a picture is taken for a bomb, as Pillow does."""
_BLOCK = 1 << 20
_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PILLOW = {
    "JPEG": ("image/jpeg", "jpg"),
    "WEBP": ("image/webp", "webp"),
    "GIF": ("image/gif", "gif"),
    "AVIF": ("image/avif", "avif"),
    "TIFF": ("image/tiff", "tiff"),
    "BMP": ("image/bmp", "bmp"),
}


class BadMedia(RunnerError):
    """The bytes are no picture or video, or not a whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
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
        head = file.read(64)
        digest = hash_file(path)
        size = path.stat().st_size
        file.seek(0)
        if head.startswith(_PNG):
            width, height = _read_png(file, size)
            return Media(
                media_type="image/png", extension="png", bytes=size, sha256=digest, width=width, height=height
            )
        if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis"):
            return _video(file, size, digest, head)
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return Media(media_type="video/webm", extension="webm", bytes=size, sha256=digest)
        return _decoded(file, size, digest, head)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_png(file: BinaryIO, size: int) -> tuple[int, int]:
    """Width and height of a PNG whose chunks are all there with good checksums and hold every row."""
    file.seek(len(_PNG))
    rows = _Rows()
    while True:
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        if length > size:
            raise BadMedia(f"the PNG is cut short: a chunk of {length:,} bytes in a file of {size:,}")
        _read_chunk(file, kind, length, rows)
        if kind == b"IEND":
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
        raise BadMedia(f"the PNG is damaged: wrong checksum in its {kind.decode('latin-1')} chunk")


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise BadMedia("the PNG is cut short")
    return data


class _Rows:
    """Counts the bytes that a PNG's compressed data unpack to, without keeping them."""

    def __init__(self) -> None:
        self.width = self.height = self._expected = self._seen = 0
        self._unpack = zlib.decompressobj()

    def begin(self, header: bytes) -> None:
        if len(header) != 13:
            raise BadMedia("the PNG's header has the wrong length")
        self.width, self.height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        if colour not in _CHANNELS or not 0 < self.width * self.height <= MAX_PIXELS:
            raise BadMedia(
                f"a PNG of {self.width}x{self.height} pixels, colour type {colour}, is not accepted"
            )
        row = 1 + (self.width * depth * _CHANNELS[colour] + 7) // 8
        self._expected = 0 if interlaced else row * self.height

    def feed(self, body: bytes) -> None:
        """Unpack a chunk in small steps, and never more than a little past what the header promises."""
        try:
            while body and self._seen <= (self._expected or 10 * MAX_PIXELS):
                self._seen += len(self._unpack.decompress(body, _BLOCK))
                body = self._unpack.unconsumed_tail
        except zlib.error as error:
            raise BadMedia(f"the PNG is damaged: {error}") from None

    def end(self) -> tuple[int, int]:
        if not self.width or self._seen == 0 or (self._expected and self._seen != self._expected):
            raise BadMedia("the PNG is damaged: rows are missing or too many")
        return self.width, self.height


def _decoded(file: BinaryIO, size: int, digest: str, head: bytes) -> Media:
    """Any other picture, decoded whole by Pillow."""
    try:
        Image.init()
        with Image.open(file, formats=[name for name in _PILLOW if name in Image.OPEN]) as image:
            width, height, kind = image.width, image.height, image.format or ""
            if width * height > MAX_PIXELS:
                raise BadMedia(f"a picture of {width}x{height} pixels is not accepted")
            image.load()
    except BadMedia:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise anything on bytes they do not expect
        raise BadMedia(_what_else(head, error)) from None
    if kind == "JPEG":
        _check_jpeg_end(file)
    media_type, extension = _PILLOW[kind]
    return Media(
        media_type=media_type, extension=extension, bytes=size, sha256=digest, width=width, height=height
    )


def _check_jpeg_end(file: BinaryIO) -> None:
    """Decoders may forgive a missing end marker; some writers pad after it."""
    file.seek(-min(64, file.seek(0, 2)), 2)
    if b"\xff\xd9" not in file.read():
        raise BadMedia("the JPEG is cut short: its end marker is missing")


def _what_else(head: bytes, error: Exception) -> str:
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "an error page or message came instead of a picture"
    if not head:
        return "the file is empty"
    return f"no whole picture or video: {error}"


def _video(file: BinaryIO, size: int, digest: str, head: bytes) -> Media:
    """An MP4 or QuickTime file whose boxes fill it exactly."""
    position, kinds = 0, set()
    while position < size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        if length == 1:
            length = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0]
        length = length or size - position
        kinds.add(kind)
        position += max(length, 8)
    if position != size or b"moov" not in kinds:
        raise BadMedia("the video is cut short: its boxes do not fill the file")
    quicktime = head[8:12] == b"qt  "
    return Media(
        media_type="video/quicktime" if quicktime else "video/mp4",
        extension="mov" if quicktime else "mp4",
        bytes=size,
        sha256=digest,
    )
