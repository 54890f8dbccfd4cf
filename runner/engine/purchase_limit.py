"""Limit on the number of purchases of a run: ``--buy``."""

from __future__ import annotations

import anyio

from runner.engine.stop import Stop

LOOK_SECONDS = 0.05
"""Seconds between two looks at whether a submission that held the last room was refused."""


class PurchaseLimit:
    """Limit that stops buying when as many purchases were made as a run may make. Refused submissions do not count."""

    def __init__(self, stop: Stop, most: int | None) -> None:
        """``most``: the number of purchases; None: any number."""
        self._stop = stop
        self._most = most
        self._made = 0
        self._under_way = 0
        self._turn = anyio.Lock(fast_acquire=True)
        """Lock for the one worker that looks for room: a thousand that look 20 times a second keep a core busy."""

    async def acquire(self) -> bool:
        """Wait for the room for one purchase, and hold it until ``release``. Return False if buying has stopped."""
        most = self._most
        async with self._turn:
            while most is not None and self._made + self._under_way >= most and not self._stop.stopped:
                if self._made >= most:
                    made = f"the {most:,} purchases that --buy allows in a run were made"
                    self._stop.buying(made, remedy="for as many more")
                else:
                    await self._stop.wait(LOOK_SECONDS)
            if self._stop.stopped:
                return False
            self._under_way += 1
            return True

    def release(self, *, made: bool) -> None:
        """Give the room back. ``made``: the purchase was made, or may have been."""
        self._under_way -= 1
        self._made += made
