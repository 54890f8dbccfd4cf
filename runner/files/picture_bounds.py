"""Maximum bytes of a picture, by the pixels that its first bytes announce.

The limit ``max_file`` suits videos and archives. A picture with endless bytes after its end would fill the disk up to
``max_file``, and would be downloaded again in each run.
"""

from __future__ import annotations

import struct

from runner.files.containers import SIGNATURE

METADATA = 16 * 2**20
"""Bytes allowed for everything but pixels: profiles, previews, the workflow that made the picture."""
BYTES_PER_PIXEL = 10
"""Bytes allowed for each pixel: four uncompressed channels of 16 bits, and a margin."""
_WITHOUT_SIZE = frozenset({0x01, 0xFF, *range(0xD0, 0xD9)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def most_picture_bytes(head: bytes) -> int | None:
    """Return the maximum bytes of a file that begins with ``head``; None: not a single picture of a known size."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return 8 + int.from_bytes(head[4:8], "little") + METADATA  # with all frames of an animation
    pixels = _png_pixels(head) if head.startswith(SIGNATURE) else _jpeg_pixels(head)
    return None if pixels is None else METADATA + BYTES_PER_PIXEL * pixels


def _png_pixels(head: bytes) -> int | None:
    if head[12:16] != b"IHDR" or len(head) < 24 or b"acTL" in head:  # in an animation acTL comes before the pixels
        return None
    width, height = struct.unpack_from(">2I", head, 16)
    return int(width) * int(height)


def _jpeg_pixels(head: bytes) -> int | None:
    """Return the pixels by the frame header, which follows profiles and thumbnails; None: no frame header found."""
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
