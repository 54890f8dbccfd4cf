"""Time limit of a run: the time of ``--until``, and the duration of ``--for``."""

from __future__ import annotations

from runner.core.clock import Clock
from runner.engine.stop import Stop

LOOK_SECONDS = 30.0
"""Longest interval between two checks of the clocks, in seconds. They are also checked before each purchase.

The wall clock may be set, and the machine may be suspended."""


class TimeLimit:
    """Limit that stops buying when the time of a run is over."""

    def __init__(self, clock: Clock, stop: Stop, *, until: float | None, seconds: float | None) -> None:
        """Start the limit. ``until``: seconds since the epoch; ``seconds``: counted from now by the monotonic clock."""
        self._clock = clock
        self._stop = stop
        self._until = until
        self._end = None if seconds is None else clock.monotonic() + seconds

    def check(self) -> None:
        """Stop buying if the time of the run is over."""
        if self._until is not None and self._clock.now() >= self._until:
            self._stop.buying("the time of --until is reached", remedy="with a later --until, or without it")
        elif self._end is not None and self._clock.monotonic() >= self._end:
            self._stop.buying("the time of --for is over", remedy="for as long again")

    async def watch(self) -> None:
        """Check the time regularly, also while nothing is bought, until buying stops."""
        while not self._stop.stopped and (left := self._seconds_left()) is not None:
            await self._stop.wait(min(max(0.0, left), LOOK_SECONDS))
            self.check()

    def _seconds_left(self) -> float | None:
        until = None if self._until is None else self._until - self._clock.now()
        end = None if self._end is None else self._end - self._clock.monotonic()
        return min((left for left in (until, end) if left is not None), default=None)
