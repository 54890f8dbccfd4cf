"""Timeouts that count only the time in which this process was running.

A stopped process (Ctrl-Z, a suspended machine, a paused container) receives nothing. Data that arrived in the meantime
waits in its sockets, and is read before the timeout continues.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle, get_running_loop, timeout
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

STEP_SECONDS = 1.0
"""Length of the steps in which time is counted."""
LATE_SECONDS = 0.1
"""Delay from which a step is not counted: the loop did not run, and reads its sockets during the next step."""
MOST_LATE = 1000
"""Maximum number of late steps that are not counted; more mean that the machine is always too busy."""


@asynccontextmanager
async def running_timeout(seconds: float) -> AsyncIterator[Countdown]:
    """Raise ``TimeoutError`` if the block takes longer than ``seconds`` of the running time of this process.

    The time can be started anew.
    """
    loop = get_running_loop()
    async with timeout(None) as limit:
        countdown = Countdown(loop, seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield countdown
        finally:
            countdown.cancel()


class Countdown:
    """Timer that calls ``expired`` after ``seconds`` in which the loop was running."""

    def __init__(self, loop: AbstractEventLoop, seconds: float, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = self._left = seconds
        self._expired = expired
        self._late = 0
        self._handle = self._begin_step()

    def restart(self) -> None:
        """Count the whole time again, less a step at most."""
        self._left = self._seconds

    def cancel(self) -> None:
        self._handle.cancel()

    def _begin_step(self) -> TimerHandle:
        step = min(STEP_SECONDS, self._left)
        due = self._loop.time() + step
        return self._loop.call_at(due, self._end_step, step, due)

    def _end_step(self, step: float, due: float) -> None:
        if self._loop.time() - due > LATE_SECONDS and self._late < MOST_LATE:
            self._late += 1
        else:
            self._left -= step
        if self._left > 0:
            self._handle = self._begin_step()
        else:
            self._expired()
