"""The one place that says whether buying may go on, and why not."""

from __future__ import annotations

from anyio import CancelScope, Event, create_task_group, move_on_after, sleep

from runner.engine.summary import Stopped, most_serious

GRACE_SECONDS = 20.0
"""How long after an interruption what is in flight is brought home."""


class Stop:
    """Set once, by whoever finds the first reason; a more serious one may still replace it.

    Hand one to ``runner.run`` and call its ``interrupt`` from a signal handler, say, to end that run gently. A signal
    handler of the event loop, that is: not safe from another thread.
    """

    def __init__(self) -> None:
        self.why: Stopped | None = None
        self.interrupted = Event()
        """Set when a person or the system asks the run to end; what is in flight then has a grace period."""
        self._event = Event()

    @property
    def stopped(self) -> bool:
        """Whether nothing more may be bought."""
        return self.why is not None

    def buying(self, reason: str, exit_code: int = 75) -> None:
        """Buy nothing more. Of several reasons the one whose exit code comes first is kept, then the earliest."""
        self.why = most_serious([*filter(None, [self.why]), Stopped(reason=reason, exit_code=exit_code)])
        self._event.set()

    def interrupt(self, reason: str, exit_code: int = 75) -> None:
        """End the run soon: buy nothing more, bring home what is in flight."""
        self.buying(reason, exit_code)
        self.interrupted.set()

    async def end_grace(self, scope: CancelScope, extra: float = 0.0) -> None:
        """Cancel ``scope`` when the grace period of an interruption is over, and so many seconds more."""
        await self.interrupted.wait()
        await sleep(GRACE_SECONDS + extra)
        scope.cancel()

    async def wait(self, seconds: float | None = None) -> bool:
        """Sleep for ``seconds`` or until buying stops; whether it has."""
        with move_on_after(seconds):
            await self._event.wait()
        return self.stopped

    async def wait_for(self, event: Event) -> None:
        """Wait until ``event`` is set or buying stops."""
        async with create_task_group() as group:
            for awaited in (event, self._event):
                group.start_soon(_cancel_when, awaited, group.cancel_scope)


async def _cancel_when(event: Event, scope: CancelScope) -> None:
    await event.wait()
    scope.cancel()
