"""Videos: whether the boxes of an MP4 or QuickTime file, or the segment of a WebM, fill it."""

from __future__ import annotations

import struct
from typing import BinaryIO

from runner.files.parts import BadMedia, exactly

EBML = b"\x1a\x45\xdf\xa3"
_MAX_BOXES = 100_000


def check_boxes(file: BinaryIO, size: int) -> None:
    """Of an MP4 or QuickTime file: they fill it exactly."""
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
    if position != size or not {b"moov", b"mdat"} <= kinds:
        raise BadMedia("the video is cut short: its boxes do not fill the file")


def check_webm(file: BinaryIO, size: int) -> None:
    """A header and a segment that ends within the file, or says that its length was not known."""
    file.seek(len(EBML))
    length, _ = _ebml_length(file)
    file.seek(length, 1)
    if exactly(file, 4, "video") != b"\x18\x53\x80\x67":
        raise BadMedia("the video is damaged: it has no segment")
    length, known = _ebml_length(file)
    if known and file.tell() + length > size:
        raise BadMedia("the video is cut short")


def _ebml_length(file: BinaryIO) -> tuple[int, bool]:
    """A length of one to eight bytes, and whether it is one: all bits set mean that it was not known."""
    first = exactly(file, 1, "video")
    more = 8 - first[0].bit_length()
    if more > 7:
        raise BadMedia("the video is damaged: a length of more than eight bytes")
    bits = 7 * (more + 1)
    value = int.from_bytes(first + exactly(file, more, "video")) & (1 << bits) - 1
    return value, value != (1 << bits) - 1
