"""Length of pictures: the most bytes that one may have, by what its first bytes say.

A picture may go on for ever behind its end. For a few pixels that is found out long before ``max_file``, and late
enough for whatever a writer puts beside them: a paid picture is not refused for its metadata.
"""

from __future__ import annotations

import struct

from runner.files.containers import SIGNATURE

SLACK = 128 * 2**20
"""Bytes for all that is not pixels: profiles, workflows, source pictures, a video behind a telephone's photograph."""
BYTES_FOR_A_PIXEL = 10
"""Sixteen bits of four colours, not compressed, and some more."""
_WITHOUT_SIZE = frozenset({0x01, 0xFF, *range(0xD0, 0xD9)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def most_bytes(head: bytes) -> int | None:
    """The most that a file which begins so may have; None for what is no single picture of a known size."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return 8 + int.from_bytes(head[4:8], "little") + SLACK  # its own length, with all pictures of a moving one
    pixels = _png_pixels(head) if head.startswith(SIGNATURE) else _jpeg_pixels(head)
    return None if pixels is None else SLACK + BYTES_FOR_A_PIXEL * pixels


def _png_pixels(head: bytes) -> int | None:
    if head[12:16] != b"IHDR" or len(head) < 24 or b"acTL" in head:  # that of a moving picture comes before its pixels
        return None
    width, height = struct.unpack_from(">2I", head, 16)
    return int(width) * int(height)


def _jpeg_pixels(head: bytes) -> int | None:
    """Pixels by the header of the frame, which stands behind profiles and thumbnails."""
    if not head.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        kind, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4])
        if kind in _FRAMES:
            height, width = struct.unpack_from(">2H", head, at + 5)
            return int(width) * int(height) or None
        at += 1 if kind == 0xFF else 2 if kind in _WITHOUT_SIZE else 2 + length
    return None
