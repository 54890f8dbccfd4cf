"""Reading a file piece by piece: what is said of one that ends too early, or is in too many pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from runner.core.errors import RunnerError

BLOCK = 1 << 20
"""Bytes that are read at once."""
MAX_PARTS = 1_000_000
"""Chunks of a PNG, segments of a JPEG, blocks of a GIF: some seconds of work."""


class BadMedia(RunnerError):
    """The bytes are no picture or video, or not a whole one."""


def exactly(file: BinaryIO, length: int, what: str = "PNG") -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise BadMedia(f"the {what} is cut short")
    return data


def count_parts(what: str) -> Iterator[int]:
    """Count the parts of a file, each of which takes time however short it is. Raises ``BadMedia`` for too many."""
    yield from range(MAX_PARTS)
    raise BadMedia(f"the {what} is in more than {MAX_PARTS:,} pieces")
