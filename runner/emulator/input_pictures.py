"""Pictures in the inputs of a request, of which small copies are kept: whole ones would fill memory and journal."""

from __future__ import annotations

import asyncio
import io
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDE = 96
"""Longest side of a small copy, in pixels."""
MOST = 4
"""Maximum number of small copies of one request."""
_MOST_PIXELS = 40_000_000
_HEADS = tuple(f"data:image/{kind};base64," for kind in ("png", "jpeg", "webp"))


async def small_copies(given: Any) -> tuple[bytes, ...]:
    """Return a small JPEG of each picture that is in the inputs as a ``data:`` URI, in order; of the first few only."""
    found = list(_data_uris(given))[:MOST]
    if not found:
        return ()
    made = await asyncio.get_running_loop().run_in_executor(None, lambda: [_small_copy(uri) for uri in found])
    return tuple(copy for copy in made if copy is not None)


def _data_uris(value: Any) -> Iterator[str]:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, str) and item.startswith(_HEADS):
            yield item
        elif isinstance(item, list):
            yield from _data_uris(item)


def _small_copy(uri: str) -> bytes | None:
    """Return a small JPEG; None: the picture cannot be read."""
    try:
        with Image.open(io.BytesIO(b64decode(uri.partition(",")[2])), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            image.thumbnail((SIDE, SIDE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=85)
    except Exception:  # noqa: BLE001 - decoders raise any exception on unexpected bytes
        return None
    return buffer.getvalue()
