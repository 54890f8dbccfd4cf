"""Long bodies of requests, sent in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from mmap import mmap

PIECE_BYTES = 1 << 16


class Upload:
    """Body of one request. Each piece that the connection takes counts as progress."""

    def __init__(self, body: bytes | mmap, progress: Callable[[], None]) -> None:
        """Send ``body``, and call ``progress`` before each piece: all earlier ones are on their way then."""
        self.length = len(body)
        self.finished = False
        """True once the connection has taken the last piece."""
        self._body = memoryview(body)
        self._progress = progress

    def close(self) -> None:
        """Let go of the body, which objects of the HTTP library may refer to for a while. Nothing more is sent."""
        self._body.release()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body once, in order."""
        for start in range(0, self.length, PIECE_BYTES):
            self._progress()
            yield bytes(self._body[start : start + PIECE_BYTES])
        self._progress()
        self.finished = True
