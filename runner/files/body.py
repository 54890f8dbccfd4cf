"""Body of a download, read in blocks, with limits of length and time."""

from __future__ import annotations

from asyncio import get_running_loop

import aiohttp

from runner.core.http import AnswerTimeout, ConnectionBroken, TooLarge, at_end

BLOCK = 1 << 20
"""Bytes of a block."""
WHOLE_SECONDS = 15 * 60.0
SUSTAINED = 256 * 1024
"""Bytes a second at which a download may take longer than ``WHOLE_SECONDS``."""
SLOW_SECONDS = 30.0
SLOWEST = 4096
"""Bytes a second that a download must reach over ``SLOW_SECONDS`` of waiting."""


def most_seconds(received: int) -> float:
    """Return the maximum seconds since the first request for a download with ``received`` bytes so far."""
    return WHOLE_SECONDS + received / SUSTAINED


class BodyReader:
    """Reader of one response with the rest of a file, of which ``there`` bytes were received since ``begun``."""

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
        """Maximum bytes of the whole file; callers may lower the limit once the beginning of the file is known."""
        self._begun = begun
        self._now = get_running_loop().time
        self._waited = 0.0
        """Seconds waited for the ``_received`` bytes."""
        self._received = 0

    async def block(self) -> bytes:
        """Return the next ``BLOCK`` bytes or slightly more; a shorter block is the last one.

        Raises ``TooLarge``, and ``ConnectionBroken`` if more bytes are missing and the download is too slow.
        """
        block = bytearray()
        while len(block) < BLOCK and not at_end(self._content):
            block += await self._chunk()
        return bytes(block)

    def check(self, length: int) -> None:
        """Raise ``TooLarge`` and close the response if a file of ``length`` bytes is longer than allowed."""
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
        """Return the received bytes; wait for more only if the body has not ended."""
        if self._content.is_eof():
            return await self._content.readany()
        return await self._answer_timeout.wait(self._content.readany())

    def _require_pace(self, seconds: float) -> None:
        """Raise ``ConnectionBroken`` if too few bytes were received in all ``seconds``, or recently."""
        if seconds > most_seconds(self._total):
            raise ConnectionBroken(
                "the download took too long: the limit is 15 minutes, plus a second for each 256 KiB received"
            )
        if self._waited >= SLOW_SECONDS and self._received < SLOWEST * self._waited:
            raise ConnectionBroken(f"the storage sends less than {SLOWEST:,} bytes a second")
