"""An event loop whose time passes only when nothing is left to do: a ten-minute timeout costs a test nothing.

Sockets and threads are real. The loop jumps to its next timer when no socket is ready and no thread call is under
way, so that no timeout can overtake an answer that is on its way.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

EPOCH = 1_800_000_000.0
SETTLE_SECONDS = 0.0005
"""Real time that loopback gets to bring what was sent."""
NEVER = 100_000.0
"""A timer so far away is no plan of anybody's: without another one the loop waits for the world."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """``asyncio``'s loop with a clock that stands still until the loop is idle."""

    def __init__(self) -> None:
        self._virtual = 1000.0
        self.threads = 0
        self.turns = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Wait for the threads. From Python 3.12 on that ends after 300 seconds, which would pass at once."""
        self.threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self.threads -= 1

    def _thread_done(self, _: object) -> None:
        self.threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.turns += 1
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        ready = super().select(SETTLE_SECONDS)
        if ready:
            return ready
        if timeout is None or timeout > NEVER or self._loop.threads:
            return super().select(0.05)
        self._loop.jump(timeout)
        return []


class LoopClock:
    """A ``Clock`` that reads the running loop's time."""

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
