"""Stop of a run: the reason why buying has ended, if it has."""

from __future__ import annotations

from collections.abc import Iterable

from anyio import CancelScope, Event, create_task_group, move_on_after, sleep

from runner.core.clock import epoch
from runner.core.models import Record
from runner.engine.summary import Stopped, most_serious

GRACE_SECONDS = 20.0
"""Grace period after an interruption, in which requests in flight are still polled and downloaded."""


class Stop:
    """The stop of one run. The first reason sets it; a more serious reason may replace the first.

    To end a run gently, pass a ``Stop`` to ``runner.run`` and call ``interrupt``, for example from a signal handler of
    the event loop. ``interrupt`` is not safe to call from another thread.
    """

    def __init__(self) -> None:
        self.why: Stopped | None = None
        self.interrupted = Event()
        """Set when a user or the system asks the run to end. Requests in flight then have a grace period."""
        self._event = Event()

    @property
    def stopped(self) -> bool:
        """Return whether nothing more may be bought."""
        return self.why is not None

    def buying(self, reason: str, exit_code: int = 75, remedy: str = "") -> None:
        """Stop buying. Of several reasons, the one whose exit code takes precedence is kept, then the earliest.

        ``remedy``: what to do before or with the next run; see ``Stopped``.
        """
        stopped = Stopped(reason=reason, exit_code=exit_code, remedy=remedy)
        self.why = most_serious([*filter(None, [self.why]), stopped])
        self._event.set()

    def interrupt(self, reason: str, exit_code: int = 75) -> None:
        """End the run soon: stop buying, and download what is in flight within the grace period."""
        self.buying(reason, exit_code)
        self.interrupted.set()

    async def end_grace(self, scope: CancelScope, extra: float = 0.0) -> None:
        """Cancel ``scope`` when the grace period of an interruption and ``extra`` seconds are over."""
        await self.interrupted.wait()
        await sleep(GRACE_SECONDS + extra)
        scope.cancel()

    async def wait(self, seconds: float | None = None) -> bool:
        """Sleep for ``seconds`` (None: without limit) or until buying stops. Return whether buying has stopped."""
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


OLD_SECONDS = 24 * 3600.0
"""Age in seconds from which an owed result stops buying until the result is downloaded."""


def most_waiting(concurrency: int | None) -> int:
    """Return how many paid results may wait before buying stops. ``concurrency`` of None stands for ``auto``."""
    return max(100, 4 * (concurrency or 0))


def too_much_waits(owed: Iterable[Record], *, most: int, now: float) -> str:
    """Return why buying waits for the delivery of ``owed``; empty: buying may continue meanwhile.

    A purchase with a problem of its own, such as a file in its place, never stops other purchases, however old it is.
    """
    waiting = [record for record in owed if not record.stuck and not record.rebuy]
    if len(waiting) > most:
        return f"{len(waiting):,} paid results of earlier runs wait for their download; they are downloaded first"
    old = next((record for record in waiting if _is_old(record, now) and not record.has_own_trouble), None)
    if old is not None:
        why = "a paid result has waited for more than a day; paid results are downloaded first"
        close = f". If it stays unavailable, `runner reconcile --accept {old.id}` closes it and buys nothing"
        return why + (close if old.error else "")
    return ""


def _is_old(record: Record, now: float) -> bool:
    try:
        return now - epoch(record.submitted_at or record.at) > OLD_SECONDS
    except ValueError:
        return False
