"""Cancellation of what is owed: ask for it, then record only what the API says became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import anyio
import msgspec

from runner.api.responses import Again, Cancelling, Denied, Gone, NotYet, Progress, Unfinished
from runner.core.clock import timestamp
from runner.core.errors import RunnerError
from runner.core.models import Record, State
from runner.engine.context import RunContext
from runner.engine.other_addresses import owed_elsewhere
from runner.engine.steps.internal_faults import internal_fault
from runner.engine.steps.poll import after_end

CONCURRENCY = 16
WAITS = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each question: a service that agreed may take a moment, and a question may fail."""


class CancelResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, in requests."""

    cancelled: int = 0
    """The API says so."""
    failed: int = 0
    """Found failed meanwhile."""
    owed: int = 0
    """Still to be collected: finished meanwhile, not to be called off, or not heard of."""
    stuck: int = 0
    """Owed, and waiting for the user's word."""
    unanswered: int = 0
    """Asked, when an interruption's grace period ended before anything was heard: perhaps called off, still owed."""
    trouble: str = ""
    """What went wrong with one of them, if anything did."""
    elsewhere: tuple[str, ...] = ()
    """What was bought at another address of the API, which was not asked, in words."""

    @property
    def exit_code(self) -> int:
        if self.elsewhere:
            return 65
        return 75 if self.owed or self.unanswered else 2 if self.stuck else 0


async def cancel_owed(context: RunContext) -> CancelResult:
    """Ask for every submitted request to be called off; several at once, oldest first.

    After an interruption no other is asked, and those that were have a grace period to answer.
    """
    api = context.api.base.name
    cancelling = _Cancelling(
        context, [record for record in context.ledger.owed(api) if record.state is State.SUBMITTED]
    )
    async with anyio.create_task_group() as group:
        group.start_soon(context.stop.end_grace, group.cancel_scope)
        async with anyio.create_task_group() as workers:
            for _ in range(CONCURRENCY):
                workers.start_soon(cancelling.work)
        group.cancel_scope.cancel()
    left = [record for record in context.ledger.owed(api) if not record.rebuy]
    stuck = sum(record.stuck for record in left)
    return CancelResult(
        cancelled=cancelling.states[State.CANCELLED],
        failed=cancelling.states[State.FAILED],
        owed=len(left) - stuck,
        stuck=stuck,
        unanswered=cancelling.asked - cancelling.states.total(),
        trouble=next(iter(cancelling.trouble), ""),
        elsewhere=tuple(owed_elsewhere(api, context.ledger)),
    )


class _Cancelling:
    """Requests on their way to be called off."""

    def __init__(self, context: RunContext, records: Iterable[Record]) -> None:
        self.asked = 0
        self.states: Counter[State] = Counter()
        """Of those that were asked: how each stands by what the API said, if anything."""
        self.trouble: list[str] = []
        self._context = context
        self._waiting = iter(records)

    async def work(self) -> None:
        """Call off one request after the other."""
        for record in self._waiting:
            if self._context.stop.stopped:
                return
            self.asked += 1
            try:
                following = await self._call_off(record)
            except RunnerError:
                raise
            except Exception as error:  # noqa: BLE001 - one request's trouble is one request's; it stays owed
                following = None
                self.trouble.append(f"{record.id}: {internal_fault(record.id, error).message}")
            with anyio.CancelScope(shield=True):  # what is recorded is counted as well
                after = record if following is None else await self._context.ledger.append(following)
                self.states[after.state] += 1

    async def _call_off(self, record: Record) -> Record | None:
        """``record`` as the API says that it ended; None: it stays as it was, owed."""
        request_id = record.request_id or ""
        answer = await self._context.api.cancel(request_id)
        if isinstance(answer, Again):
            self.trouble.append(f"{record.id}: {answer.fault.message}")
        agreed = isinstance(answer, Cancelling) and answer.agreed
        for seconds in WAITS:
            await anyio.sleep(seconds)
            progress = await _ask(self._context, request_id)
            following = after_end(record, progress, timestamp(self._context.clock.now()))
            if following is not None:
                return following
            if isinstance(progress, Gone | Denied | Again):
                self.trouble.append(f"{record.id}: {progress.fault.message}")
            if isinstance(progress, Gone | Denied) or (isinstance(progress, Unfinished) and not agreed):
                break
        return None


async def _ask(context: RunContext, request_id: str) -> Progress:
    """How it stands; some services answer 4xx for the result of what is unfinished."""
    progress = await context.api.result(request_id)
    return await context.api.status(request_id) if isinstance(progress, NotYet | Gone) else progress
