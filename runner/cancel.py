"""Calling off what is owed: ask for it, then ask what became of it, and record only what that says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import anyio

from runner.clock import timestamp
from runner.crew import Site
from runner.job.collect import after_end
from runner.model import Record, State
from runner.wire import Again, Cancelling, Denied, Gone, NotYet, Progress, Unfinished

LANES = 16
WAITS = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each question: a service that agreed may take a moment, and a question may fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What came of it, in requests."""

    cancelled: int = 0
    """The API says so."""
    failed: int = 0
    """Found failed meanwhile."""
    owed: int = 0
    """Still to be collected: finished meanwhile, not to be called off, or not heard of."""
    stuck: int = 0
    """Owed, and waiting for the user's word."""
    trouble: str = ""
    """What went wrong with one of them, if anything did."""

    @property
    def exit_code(self) -> int:
        return 75 if self.owed else 2 if self.stuck else 0


async def cancel_owed(site: Site) -> Cancelled:
    """Ask for every submitted request to be called off; several at once, oldest first."""
    api = site.api.base.name
    waiting = iter([record for record in site.ledger.owed(api) if record.state is State.SUBMITTED])
    states: Counter[State] = Counter()
    trouble: list[str] = []
    async with anyio.create_task_group() as group:
        for _ in range(LANES):
            group.start_soon(_work, site, waiting, states, trouble)
    left = [record for record in site.ledger.owed(api) if not record.rebuy]
    stuck = sum(record.stuck for record in left)
    return Cancelled(
        cancelled=states[State.CANCELLED],
        failed=states[State.FAILED],
        owed=len(left) - stuck,
        stuck=stuck,
        trouble=next(iter(trouble), ""),
    )


async def _work(site: Site, waiting: Iterator[Record], states: Counter[State], trouble: list[str]) -> None:
    for record in waiting:
        if site.stop.stopped:
            return
        after = await _call_off(site, record, trouble)
        states[after.state] += 1


async def _call_off(site: Site, record: Record, trouble: list[str]) -> Record:
    """``record`` as the API says that it ended, recorded; or as it was, owed."""
    request_id = record.request_id or ""
    answer = await site.api.cancel(request_id)
    if isinstance(answer, Again):
        trouble.append(f"{record.id}: {answer.fault.message}")
    agreed = isinstance(answer, Cancelling) and answer.agreed
    for seconds in WAITS:
        await anyio.sleep(seconds)
        progress = await _ask(site, request_id)
        following = after_end(record, progress, timestamp(site.clock.now()))
        if following is not None:
            return await site.ledger.append(following)
        if isinstance(progress, Gone | Denied | Again):
            trouble.append(f"{record.id}: {progress.fault.message}")
        if isinstance(progress, Gone | Denied) or (isinstance(progress, Unfinished) and not agreed):
            break
    return record


async def _ask(site: Site, request_id: str) -> Progress:
    """How it stands; some services answer 4xx for the result of what is unfinished."""
    progress = await site.api.result(request_id)
    return await site.api.status(request_id) if isinstance(progress, NotYet | Gone) else progress
