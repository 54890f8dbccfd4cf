"""Scheduler of a batch: workers that hold a slot at the API each, and deliveries beside them.

Workers pull from one shared iterator. A worker holds its slot from submission to the final state; deliveries have a
separate bound, so a finished request frees its slot at once. Owed work comes first, and buying begins beside it. A
worker whose request did not end in time leaves its slot occupied: nothing new is bought on it until the run ends.
Where the number of slots follows the API (``concurrency: auto``), workers join as it grows, and leave between two jobs
as it shrinks. What a step does is not known here.
"""

from __future__ import annotations

import logging
from asyncio import Queue
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from runner.core.errors import RunnerError
from runner.core.models import TIMEOUT, Job, Record, State
from runner.engine.delivery_proof import MAX_UNPROVEN, DeliveryProof
from runner.engine.stop import Stop

log = logging.getLogger(__name__)


class WorkItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do: a purchase to bring home (``record``), or a job to buy (``job``)."""

    before: str
    """The count under which it stands until it is settled."""
    record: Record | None = None
    job: Job | None = None
    fresh: bool = False
    """Whether its request is one of this run."""
    ends_as: str | None = None
    """The count it moves to once nothing of it is owed, where that is not its record's."""
    counted: bool = True
    """False for a purchase whose job stands in the books by another one."""

    @property
    def job_id(self) -> str:
        if self.job is not None:
            return self.job.id
        return self.record.id if self.record is not None else ""


PAUSE = WorkItem(before="")
"""Nothing to do: stands where many jobs had nothing, so that the event loop has its turn."""


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker and a delivery call; each returns the record as it then stands."""

    submit: Callable[[Job], Awaitable[Record | None]]
    poll: Callable[[Record, bool], Awaitable[Record]]
    deliver: Callable[[Record, bool], Awaitable[Record]]
    finish: Callable[[WorkItem, Record | None], None]


Generated = Queue[tuple[WorkItem, Record] | None]
"""What workers hand over to deliveries; None: nothing more comes, once for each delivery."""


class Slots(Protocol):
    """How many requests may be in flight."""

    @property
    def limit(self) -> float: ...

    @property
    def reason(self) -> str:
        """Why that many, in words for the log."""

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the limit has changed."""


class FixedSlots(msgspec.Struct, frozen=True):
    """As many slots as the user said."""

    limit: int
    reason: str = "as the manifest says"

    def on_change(self, tell: Callable[[], None]) -> None:
        """Do nothing: the limit never changes."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much goes on at once."""

    slots: Slots
    deliveries: int
    backlog: int
    """Paid results that may wait for delivery before buying pauses, and stops if they cannot be delivered. As slots
    become more, four for each may wait."""


async def run_batch(
    owed: Iterable[WorkItem], jobs: Iterable[WorkItem], *, steps: Steps, limits: Limits, stop: Stop, lost: int = 0
) -> int:
    """Carry all ``owed`` and ``jobs`` as far as they go, at most ``limits.slots`` at the API at once.

    ``lost`` slots are held by requests that did not end in time; returns how many are so at the end.

    Raises the ``RunnerError`` that made it impossible to go on, after every other worker has heard its answer: an error
    in one place must not make a question of money out of what is on its way in another.
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
    """What the workers of one batch share."""

    def __init__(
        self, owed: Iterator[WorkItem], jobs: Iterator[WorkItem], steps: Steps, limits: Limits, stop: Stop, lost: int
    ) -> None:
        self._owed = owed
        self._jobs = jobs
        self._steps = steps
        self._limits = limits
        self._stop = stop
        self.lost = lost
        self._in_use = lost
        self._told = 0
        self._closing = False
        self._pausing = False
        self._waiting = 0
        self._failed = 0
        self._under_way = 0
        """Items that a worker or a delivery has in hand."""
        self._proof = DeliveryProof()
        self._errors: list[RunnerError] = []

    def raise_errors(self) -> None:
        """Raise what went wrong; where it was several things, with the words of each."""
        if self._errors:
            words = dict.fromkeys(str(error) for error in self._errors)
            raise type(self._errors[0])("\n".join(words)) from self._errors[0]

    def _fail(self, error: RunnerError) -> None:
        self._errors.append(error)
        self._stop.interrupt(str(error), error.exit_code)

    def start_workers(self, group: TaskGroup, generated: Generated) -> None:
        """Let as many workers join as there may be more now."""
        limit = int(self._limits.slots.limit)
        if not 0.8 * self._told < limit < 1.25 * self._told:
            level = logging.INFO if self._told else logging.DEBUG
            log.log(level, "%d requests are kept in flight from now on: %s", limit, self._limits.slots.reason)
            self._told = limit
        while not self._closing and self._in_use < limit:
            self._in_use += 1
            group.start_soon(self._worker, generated)

    async def _worker(self, generated: Generated) -> None:
        """Work until there is nothing left, buying stops, or a request keeps the slot."""
        try:
            keeps_slot = await self._work(generated)
        except RunnerError as error:
            self._closing = True
            self._fail(error)
            return
        self._in_use -= not keeps_slot

    async def _work(self, generated: Generated) -> bool:
        """Bring home what is owed, then buy; whether a request still holds the slot."""
        keeps_slot = False
        for work in self._owed:
            keeps_slot |= await self._carry(work, generated)
        while not keeps_slot and self._is_wanted() and await self._room():
            job = self._next()
            if job is None:
                self._closing = True
                break
            keeps_slot = await self._carry(job, generated)
        self._count_lost(keeps_slot)
        if self._stop.stopped:
            await self._work_for_free(generated)
        return keeps_slot

    def _is_wanted(self) -> bool:
        """Tell whether this worker may stay: there are not more than there may be, or it is the last one that works."""
        return self._in_use <= max(int(self._limits.slots.limit), self.lost + 1)

    async def _work_for_free(self, generated: Generated) -> None:
        """Buying stopped: what costs nothing is done all the same, unless the run is to end."""
        while not self._stop.interrupted.is_set() and (work := self._next()) is not None:
            if work.job is None:
                await self._carry(work, generated)
            else:
                self._steps.finish(work, None)
                await checkpoint()

    def _next(self) -> WorkItem | None:
        return PAUSE if self._pausing else next(self._jobs, None)

    async def _pause(self) -> None:
        """Let the event loop have its turn. Until then no other worker looks at more jobs."""
        first, self._pausing = not self._pausing, True
        await checkpoint()
        self._pausing &= not first

    async def _carry(self, work: WorkItem, generated: Generated) -> bool:
        """Take one piece of work to its final state and hand it over; whether its request still holds the slot."""
        if work is PAUSE:
            await self._pause()
            return False
        self._under_way += 1
        record = work.record
        if work.job is not None:
            self._proof.tried |= self._is_unproven()
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
        """Wait while too many paid results are not on disk; False: buying stopped.

        Until the first delivery of the run has succeeded, few may wait: perhaps none can be delivered at all. Where
        all have failed, and were of earlier runs, one purchase is made to find out; if that fails, too, buying stops.
        """
        while not self._stop.stopped and (self._waiting > self._backlog or self._is_unproven()):
            if self._is_unproven() and not self._under_way:
                if not self._proof.tried:
                    return True
                self._stop.buying(self._proof.why)
                break
            await self._stop.wait(0.2)
        return not self._stop.stopped

    @property
    def _backlog(self) -> int:
        return max(self._limits.backlog, 4 * int(self._limits.slots.limit))

    def _is_unproven(self) -> bool:
        """Tell whether buying pauses, because nothing was delivered yet and much waits or has failed."""
        return self._proof.open >= max(MAX_UNPROVEN, int(self._limits.slots.limit))

    def _count_lost(self, keeps_slot: bool) -> None:
        if keeps_slot:
            self.lost += 1
            log.warning("a request did not end in time; its slot is not used again in this run")
        if keeps_slot and self.lost >= int(self._limits.slots.limit):
            self._stop.buying("every slot is held by a request that did not end in time")

    async def deliver(self, generated: Generated) -> None:
        """Deliver what workers hand over, until no worker is left to hand over anything."""
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
            self._count(delivered=after.state is State.DONE)

    def _count(self, *, delivered: bool) -> None:
        if delivered:
            self._waiting -= 1
            return
        self._failed += 1
        if self._failed > self._backlog:
            self._stop.buying(f"{self._failed} paid results could not be delivered; run again to fetch them")
