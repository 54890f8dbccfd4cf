"""Most bytes that a picture may have, by the pixels that its first bytes promise.

``max_file`` is made for videos and archives. A picture that goes on and on behind its end would fill the disk up to it,
and be downloaded again in each run.
"""

from __future__ import annotations

from io import BytesIO

from runner.files.containers import MAX_BEHIND, SIGNATURE

BYTES_PER_PIXEL = 8
"""Of an uncompressed picture with four channels of 16 bits."""
METADATA = 16 * MAX_BEHIND
"""Bytes for colour profiles, previews, and the workflow that made the picture."""


def most_picture_bytes(head: bytes) -> int | None:
    """Return how many bytes a PNG or JPEG that begins with ``head`` may have; None where its pixels do not tell.

    Moving pictures may have any number of frames.
    """
    pixels = _png_pixels(head) if head.startswith(SIGNATURE) else _jpeg_pixels(head)
    return None if pixels is None else pixels * BYTES_PER_PIXEL + METADATA


def _png_pixels(head: bytes) -> int | None:
    if len(head) < 24 or b"acTL" in head.partition(b"IDAT")[0]:
        return None
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    return width * height


def _jpeg_pixels(head: bytes) -> int | None:
    if not head.startswith(b"\xff\xd8\xff"):
        return None
    from PIL import Image  # noqa: PLC0415 - PNGs and videos are read without it

    try:
        with Image.open(BytesIO(head), formats=["JPEG"]) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 - the whole file is judged later; here only its header is of interest
        return None
