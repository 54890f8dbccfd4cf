"""Workers and deliveries: a batch comes to its end, whatever its steps do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import anyio
import msgspec
import pytest
from support.virtual_time import VirtualLoop

from runner.core.models import Fault, Job, Record, State
from runner.engine.scheduler import Limits, Steps, WorkItem, run_batch
from runner.engine.stop import Stop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


class Slots:
    """As many as a test says at the moment."""

    reason = "a test says so"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._tell: Callable[[], None] = lambda: None

    def on_change(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def become(self, limit: int) -> None:
        self.limit = limit
        self._tell()


def job(number: int) -> Job:
    return Job(id=f"j{number}", model="m", inputs={}, fingerprint="f", file=f"j{number}")


def bought(job: Job) -> Record:
    fields = {"at": "", "api": "", "manifest": "", "model": "m", "inputs": {}, "fingerprint": "f", "file": job.file}
    return Record(id=job.id, purchase=1, state=State.GENERATED, request_id="r", **fields)


async def test_a_batch_ends_where_more_cannot_be_delivered_than_may_wait_by_now() -> None:
    """Many deliveries fail while many slots allow for it; then the slots become few, and nobody would ever go on."""
    slots, stop, delivered = Slots(64), Stop(), 0

    async def submit(job: Job) -> Record:
        await asyncio.sleep(0.1)
        return bought(job)

    async def deliver(record: Record, fresh: bool) -> Record:
        nonlocal delivered
        await asyncio.sleep(0.01)
        delivered += 1
        if delivered == 300:
            slots.become(8)
        if 20 < delivered <= 160:
            return msgspec.structs.replace(record, error=Fault(code="storage", message="HTTP 500"))
        return msgspec.structs.replace(record, state=State.DONE)

    async def poll(record: Record, fresh: bool) -> Record:
        return record

    work = (WorkItem(before="left", job=job(number), fresh=True) for number in range(1000))
    steps = Steps(submit=submit, poll=poll, deliver=deliver, finish=lambda work, record: None)
    with anyio.fail_after(3600):
        await run_batch([], work, steps=steps, limits=Limits(slots=slots, deliveries=32, backlog=100), stop=stop)
    assert stop.why is not None
    assert "could not be downloaded" in stop.why.reason


async def test_jobs_without_work_let_an_interruption_through_and_each_job_is_submitted_once() -> None:
    """Three jobs far apart, then jobs without work and without end: each is bought once, and Ctrl-C ends the run."""
    stop, examined, submitted = Stop(), 0, []

    def jobs() -> Iterator[WorkItem | None]:
        nonlocal examined
        for number in itertools.count():
            examined += 1
            yield WorkItem(before="left", job=job(number), fresh=True) if number in (50, 60, 5000) else None

    async def submit(job: Job) -> None:
        submitted.append(job.id)
        await asyncio.sleep(0)
        if len(submitted) == 3:
            stop.interrupt("Ctrl-C")

    steps = Steps(submit=submit, poll=bought, deliver=bought, finish=lambda work, record: None)
    await run_batch([], jobs(), steps=steps, limits=Limits(slots=Slots(8), deliveries=1, backlog=9), stop=stop)
    assert submitted == ["j50", "j60", "j5000"]
    assert examined < 6000
