"""Timeouts that count only the time in which this process ran.

A process that stood still (Ctrl-Z, a suspended machine, a paused container) has heard nothing meanwhile. What came lies
in its sockets and is read before a timeout counts on.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle, get_running_loop, timeout
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

STEP_SECONDS = 1.0
"""Time is counted in steps of this length."""
LATE_SECONDS = 0.1
"""A step that ends so much too late is not counted: the loop did not run, and the next step lets it read."""
MOST_LATE = 1000
"""So many late steps are not counted; more are no standstill but a machine that is always too busy."""


@asynccontextmanager
async def running_timeout(seconds: float) -> AsyncIterator[None]:
    """Raise ``TimeoutError`` when the block takes longer than ``seconds`` of this process's running time."""
    loop = get_running_loop()
    async with timeout(None) as limit:
        countdown = _Countdown(loop, seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield
        finally:
            countdown.cancel()


class _Countdown:
    """Calls ``expired`` after so many seconds in which the loop ran."""

    def __init__(self, loop: AbstractEventLoop, seconds: float, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._left = seconds
        self._expired = expired
        self._late = 0
        self._handle = self._begin_step()

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
