"""Scheduler of a batch: workers that each hold a slot at the API, and concurrent deliveries.

Workers pull from one shared iterator. A worker holds its slot from submission to the final state. Deliveries have a
separate limit, so a finished request frees its slot at once. Owed work comes first, and buying begins while it runs. A
worker whose request timed out leaves its slot occupied: nothing new is bought on this slot until the run ends. If the
number of slots follows the API (``concurrency: auto``), workers join as it grows, and leave between two jobs as it
shrinks. The scheduler does not know what a step does.
"""

from __future__ import annotations

import logging
from asyncio import Queue
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial

import anyio
import msgspec
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from runner.core.errors import RunnerError
from runner.core.models import TIMEOUT, Job, Record, State
from runner.engine.delivery_proof import DeliveryProof
from runner.engine.slots import Slots
from runner.engine.stop import Stop

log = logging.getLogger(__name__)


class WorkItem(msgspec.Struct, frozen=True, kw_only=True):
    """One unit of work: a purchase to download (``record``), or a job to buy (``job``)."""

    before: str
    """Outcome under which the item is counted until it is finished."""
    record: Record | None = None
    job: Job | None = None
    fresh: bool = False
    """True if its request is one of this run."""
    ends_as: str | None = None
    """Outcome of the item once nothing of it is owed; None: the outcome of its record."""
    counted: bool = True
    """False for a purchase whose job is counted by another purchase."""

    @property
    def job_id(self) -> str:
        if self.job is not None:
            return self.job.id
        return self.record.id if self.record is not None else ""


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """Functions that workers and deliveries call. Each step returns the record as it then stands."""

    submit: Callable[[Job], Awaitable[Record | None]]
    poll: Callable[[Record, bool], Awaitable[Record]]
    deliver: Callable[[Record, bool], Awaitable[Record]]
    finish: Callable[[WorkItem, Record | None], None]


Generated = Queue[tuple[WorkItem, Record] | None]
"""Queue from workers to deliveries. None, once for each delivery, marks the end."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of concurrent work."""

    slots: Slots
    deliveries: int
    backlog: int
    """Paid results that may wait for delivery before buying pauses, or fail before buying stops. With more slots, up to
    four per slot."""


async def run_batch(
    owed: Iterable[WorkItem],
    jobs: Iterable[WorkItem | None],
    *,
    steps: Steps,
    limits: Limits,
    stop: Stop,
    lost: int = 0,
) -> int:
    """Process all ``owed`` and ``jobs`` as far as possible, at most ``limits.slots`` at the API at once.

    ``jobs`` yields None after many jobs without work, so that control returns to the event loop.
    ``lost`` slots are held by requests that timed out; the number of such slots at the end is returned.

    Raises the ``RunnerError`` that prevents the run from continuing, after every other worker has received its answer:
    an error of one worker must not leave the requests of others with an unknown outcome.
    """
    workers = _Workers(iter(owed), iter(jobs), steps, limits, stop, lost)
    generated: Generated = Queue(limits.backlog)
    async with anyio.create_task_group() as deliveries:
        for _ in range(limits.deliveries):
            deliveries.start_soon(workers.deliver, generated)
        async with anyio.create_task_group() as group:
            start_workers = partial(workers.start_workers, group, generated)
            limits.slots.on_change(start_workers)
            start_workers()
        for _ in range(limits.deliveries):
            await generated.put(None)
    workers.raise_errors()
    return workers.lost


class _Workers:
    """State that the workers of one batch share."""

    def __init__(
        self,
        owed: Iterator[WorkItem],
        jobs: Iterator[WorkItem | None],
        steps: Steps,
        limits: Limits,
        stop: Stop,
        lost: int,
    ) -> None:
        self._owed = owed
        self._jobs = jobs
        self._examining = anyio.Lock(fast_acquire=True)
        self._steps = steps
        self._limits = limits
        self._stop = stop
        self.lost = lost
        self._in_use = lost
        self._told = 0
        self._closing = False
        self._waiting = 0
        self._failed = 0
        self._under_way = 0
        """Items that a worker or a delivery is processing."""
        self._proof = DeliveryProof()
        self._errors: list[RunnerError] = []

    def raise_errors(self) -> None:
        """Raise the first error, with the messages of all."""
        if self._errors:
            words = dict.fromkeys(str(error) for error in self._errors)
            raise type(self._errors[0])("\n".join(words)) from self._errors[0]

    def _fail(self, error: RunnerError) -> None:
        self._errors.append(error)
        self._stop.interrupt(str(error), error.exit_code)

    def start_workers(self, group: TaskGroup, generated: Generated) -> None:
        """Start as many workers as the limit now allows in addition."""
        limit = int(self._limits.slots.limit)
        if not 0.8 * self._told < limit < 1.25 * self._told:
            level = logging.INFO if self._told else logging.DEBUG
            log.log(level, "requests in flight: up to %d from now on (%s)", limit, self._limits.slots.reason)
            self._told = limit
        while not self._closing and self._in_use < limit:
            self._in_use += 1
            group.start_soon(self._worker, generated)

    async def _worker(self, generated: Generated) -> None:
        """Work until no work is left, buying stops, or a request that timed out keeps the slot."""
        try:
            keeps_slot = await self._work(generated)
        except RunnerError as error:
            self._closing = True
            self._fail(error)
            return
        self._in_use -= not keeps_slot

    async def _work(self, generated: Generated) -> bool:
        """Process what is owed, then buy. Return whether a request still holds the slot."""
        keeps_slot = False
        for work in self._owed:
            keeps_slot |= await self._carry(work, generated)
        while not keeps_slot and self._is_wanted() and await self._room():
            job = await self._next()
            if job is None:
                self._closing = True
                break
            keeps_slot = await self._carry(job, generated)
        self._count_lost(keeps_slot)
        if self._stop.stopped:
            await self._work_for_free(generated)
        return keeps_slot

    def _is_wanted(self) -> bool:
        """Tell whether this worker may continue: the limit is not exceeded, or this is the last worker."""
        return self._in_use <= max(int(self._limits.slots.limit), self.lost + 1)

    async def _work_for_free(self, generated: Generated) -> None:
        """Do the work that costs nothing after buying has stopped, unless the run is interrupted."""
        while not self._stop.interrupted.is_set() and (work := await self._next()) is not None:
            if work.job is None:
                await self._carry(work, generated)
            else:
                self._steps.finish(work, None)
                await checkpoint()

    async def _next(self) -> WorkItem | None:
        """Return the next work; None: there is no more, or the run is interrupted.

        One worker at a time examines jobs.
        """
        async with self._examining:
            for work in self._jobs:
                if work is not None:
                    return work
                await checkpoint()
                if self._stop.interrupted.is_set():
                    break
        return None

    async def _carry(self, work: WorkItem, generated: Generated) -> bool:
        """Process an item up to its delivery, which is queued. Return whether its request still holds the slot."""
        self._under_way += 1
        record = work.record
        if work.job is not None:
            record = await self._steps.submit(work.job)
        if record is not None and record.state is State.SUBMITTED:
            record = await self._steps.poll(record, work.fresh)
        if record is not None and record.state in (State.GENERATED, State.DONE):
            self._waiting += 1
            self._proof.expect(record)
            await generated.put((work, record))
            return False
        self._under_way -= 1
        self._steps.finish(work, record)
        return record is not None and record.error is not None and record.error.code == TIMEOUT

    async def _room(self) -> bool:
        """Wait while too many paid results are not on disk. Return False if buying stopped.

        Before the first successful delivery of the run, only few results may wait, since perhaps none can be delivered.
        If all deliveries have failed and were of earlier runs, one purchase is made as a test. If its delivery also
        fails, buying stops.
        """
        while not self._stop.stopped and (self._waiting > self._backlog or self._is_unproven()):
            if self._is_unproven() and not self._under_way:
                if not self._proof.tried:
                    return True
                self._stop.buying(self._proof.why)
                break
            self._stop_if_undeliverable()
            await self._stop.wait(0.2)
        return not self._stop.stopped

    @property
    def _backlog(self) -> int:
        return max(self._limits.backlog, 4 * int(self._limits.slots.limit))

    def _is_unproven(self) -> bool:
        return self._proof.is_lacking(int(self._limits.slots.limit))

    def _count_lost(self, keeps_slot: bool) -> None:
        if keeps_slot:
            self.lost += 1
            log.warning("a request did not end within `timeout:`; its slot stays occupied until the end of this run")
        if keeps_slot and self.lost >= int(self._limits.slots.limit):
            self._stop.buying("every slot is occupied by a request that did not end within `timeout:`")

    async def deliver(self, generated: Generated) -> None:
        """Deliver the queued results until the end of the queue."""
        while (piece := await generated.get()) is not None:
            work, record = piece
            try:
                after = await self._steps.deliver(record, work.fresh)
            except RunnerError as error:
                self._fail(error)
                continue
            finally:
                self._under_way -= 1
            self._steps.finish(work, after)
            self._proof.note(record, after, fresh=work.fresh)
            self._count(delivered=after.state is State.DONE or after.stuck)

    def _count(self, *, delivered: bool) -> None:
        if delivered:
            self._waiting -= 1
            return
        self._failed += 1
        self._stop_if_undeliverable()

    def _stop_if_undeliverable(self) -> None:
        """Stop buying if more deliveries have failed than results may wait: no delivery will lower that number."""
        if self._failed > self._backlog:
            self._stop.buying(f"{self._failed:,} paid results could not be downloaded; run again to download them")
