"""Most bytes that a picture may have, by the pixels that its first bytes promise.

``max_file`` is made for videos and archives. A picture that goes on and on behind its end would fill the disk up to it,
and be downloaded again in each run.
"""

from __future__ import annotations

import struct

from runner.files.containers import SIGNATURE

METADATA = 16 * 2**20
"""Bytes for all that is not pixels: profiles, previews, the workflow that made the picture."""
BYTES_PER_PIXEL = 10
"""Of four channels of 16 bits, not compressed, and some more."""
_WITHOUT_SIZE = frozenset({0x01, 0xFF, *range(0xD0, 0xD9)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def most_picture_bytes(head: bytes) -> int | None:
    """Return the most bytes of a file that begins with ``head``; None if it is no single picture of a known size."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return 8 + int.from_bytes(head[4:8], "little") + METADATA  # its own length, with all pictures of a moving one
    pixels = _png_pixels(head) if head.startswith(SIGNATURE) else _jpeg_pixels(head)
    return None if pixels is None else METADATA + BYTES_PER_PIXEL * pixels


def _png_pixels(head: bytes) -> int | None:
    if head[12:16] != b"IHDR" or len(head) < 24 or b"acTL" in head:  # that of a moving picture comes before its pixels
        return None
    width, height = struct.unpack_from(">2I", head, 16)
    return int(width) * int(height)


def _jpeg_pixels(head: bytes) -> int | None:
    """Return the pixels by the header of the frame, which stands behind profiles and thumbnails."""
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
