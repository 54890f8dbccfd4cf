"""Cancellation of owed requests. Only what the API reports afterwards is recorded."""

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
"""Seconds before each poll: a service that has agreed may take a moment, and a poll may fail."""


class CancelResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a cancellation, in numbers of requests."""

    cancelled: int = 0
    """Cancelled, according to the API."""
    failed: int = 0
    """Failed meanwhile."""
    owed: int = 0
    """Still owed: finished meanwhile, impossible to cancel, or without an answer."""
    stuck: int = 0
    """Owed, and waiting for the user to resolve them."""
    unanswered: int = 0
    """Without an answer when the grace period of an interruption ended: still owed, perhaps cancelled."""
    trouble: str = ""
    """Error of one of the requests; empty: none."""
    elsewhere: tuple[str, ...] = ()
    """Messages about purchases at other addresses of the API, which were not contacted."""

    @property
    def exit_code(self) -> int:
        if self.elsewhere:
            return 65
        return 75 if self.owed or self.unanswered else 2 if self.stuck else 0


async def cancel_owed(context: RunContext) -> CancelResult:
    """Ask the API to cancel every submitted request, several at once, oldest first.

    After an interruption no further request is cancelled, and those in progress have a grace period.
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
    """Cancellation in progress."""

    def __init__(self, context: RunContext, records: Iterable[Record]) -> None:
        self.asked = 0
        self.states: Counter[State] = Counter()
        """Requests by their state after the answer of the API, if there was one."""
        self.trouble: list[str] = []
        self._context = context
        self._waiting = iter(records)

    async def work(self) -> None:
        """Cancel one request after the other."""
        for record in self._waiting:
            if self._context.stop.stopped:
                return
            self.asked += 1
            try:
                following = await self._call_off(record)
            except RunnerError:
                raise
            except Exception as error:  # noqa: BLE001 - an error of one request does not affect the others; it stays owed
                following = None
                self.trouble.append(f"{record.id}: {internal_fault(record.id, error).message}")
            with anyio.CancelScope(shield=True):  # record and count together
                after = record if following is None else await self._context.ledger.append(following)
                self.states[after.state] += 1

    async def _call_off(self, record: Record) -> Record | None:
        """Cancel a request, and return the record that follows from its end; None: the request stays owed."""
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
    """Return the progress of a request. Some services answer 4xx for the result of an unfinished request."""
    progress = await context.api.result(request_id)
    return await context.api.status(request_id) if isinstance(progress, NotYet | Gone) else progress
