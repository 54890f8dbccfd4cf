"""Body of a download, block by block, bounded in length and in time."""

from __future__ import annotations

from asyncio import get_running_loop

import aiohttp

from runner.core.http import AnswerTimeout, ConnectionBroken, TooLarge, at_end

BLOCK = 1 << 20
"""Bytes that are handed on together."""
WHOLE_SECONDS = 15 * 60.0
SUSTAINED = 256 * 1024
"""Bytes a second: at such a pace a download may take longer than ``WHOLE_SECONDS``."""
SLOW_SECONDS = 30.0
SLOWEST = 4096
"""Bytes a second: less than that over ``SLOW_SECONDS`` of waiting is no download."""


def most_seconds(received: int) -> float:
    """How long after its first question a download of which so many bytes came may still go on."""
    return WHOLE_SECONDS + received / SUSTAINED


class BodyReader:
    """What one answer brings of a file of which ``there`` bytes have come since ``begun``."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        answer_timeout: AnswerTimeout,
        *,
        there: int,
        max_bytes: int,
        begun: float,
    ) -> None:
        self._response = response
        self._answer_timeout = answer_timeout
        self._content = response.content
        self._total = there
        self.max_bytes = max_bytes
        """Of the whole file; it may be lowered once its beginning is known."""
        self._begun = begun
        self._now = get_running_loop().time
        self._waited = 0.0
        """Seconds for what came last, and how many bytes that were."""
        self._received = 0

    async def block(self) -> bytes:
        """The next ``BLOCK`` bytes or a little more; fewer are the last ones, and none come after those.

        Raises ``TooLarge``, and ``ConnectionBroken`` where there is more to come and that would take for ever.
        """
        block = bytearray()
        while len(block) < BLOCK and not at_end(self._content):
            block += await self._chunk()
        return bytes(block)

    def check(self, length: int) -> None:
        """Raise ``TooLarge`` if a file of ``length`` bytes is longer than allowed; nothing more is received then."""
        if length > self.max_bytes:
            self._response.close()
            raise TooLarge(f"the file is longer than max_file or its pixels allow, {self.max_bytes:,} bytes")

    async def _chunk(self) -> bytes:
        asked = self._now()
        chunk = await self._piece()
        now = self._now()
        self._total += len(chunk)
        self.check(self._total)
        self._waited += now - asked
        self._received += len(chunk)
        if not self._content.at_eof():
            self._require_pace(now - self._begun)
        if self._waited >= SLOW_SECONDS:
            self._waited, self._received = 0.0, 0
        return chunk

    async def _piece(self) -> bytes:
        """What has come; nothing is waited for where that is all."""
        if self._content.is_eof():
            return await self._content.readany()
        return await self._answer_timeout.wait(self._content.readany())

    def _require_pace(self, seconds: float) -> None:
        """Raise ``ConnectionBroken`` where all that came in ``seconds``, or what came of late, is too little."""
        if seconds > most_seconds(self._total):
            raise ConnectionBroken(
                "the download took too long: it has 15 minutes, and a second for each 256 KiB that came"
            )
        if self._waited >= SLOW_SECONDS and self._received < SLOWEST * self._waited:
            raise ConnectionBroken(f"the storage sends less than {SLOWEST:,} bytes a second")
