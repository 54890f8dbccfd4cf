"""Time limit of a run: the moment of ``--until``, and the duration of ``--for``."""

from __future__ import annotations

from runner.core.clock import Clock
from runner.engine.stop import Stop

LOOK_SECONDS = 30.0
"""The clocks are looked at so often, and before each purchase: a clock may be set, a machine suspended."""


class TimeLimit:
    """Stops buying when the time of a run is over."""

    def __init__(self, clock: Clock, stop: Stop, *, until: float | None, seconds: float | None) -> None:
        """``until`` is in seconds since the epoch; ``seconds`` are counted from now, whatever the wall clock says."""
        self._clock = clock
        self._stop = stop
        self._until = until
        self._end = None if seconds is None else clock.monotonic() + seconds

    def check(self) -> None:
        """Stop buying if the time is over."""
        if self._until is not None and self._clock.now() >= self._until:
            self._stop.buying("the time given by --until has come")
        elif self._end is not None and self._clock.monotonic() >= self._end:
            self._stop.buying("the time given by --for is over")

    async def watch(self) -> None:
        """Stop buying when the time is over, also while nothing is bought."""
        while not self._stop.stopped and (left := self._seconds_left()) is not None:
            await self._stop.wait(min(max(0.0, left), LOOK_SECONDS))
            self.check()

    def _seconds_left(self) -> float | None:
        until = None if self._until is None else self._until - self._clock.now()
        end = None if self._end is None else self._end - self._clock.monotonic()
        return min((left for left in (until, end) if left is not None), default=None)
