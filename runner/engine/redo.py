"""Redo: done jobs that are bought again, each exactly once however often the process crashes.

A redo has a number. It marks the purchase in force of every job that it chooses (``redo``). All marks are durable
before the first purchase; the last mark says so (``redo_chosen``). A purchase for a mark carries the number as
``redone``, so that a mark leads to one purchase. When every chosen job of the manifest has ended, one line closes the
redo (``redo_closed``). Until then the same command continues the redo, and so does a run without ``--redo``.

Each pass over the jobs or the ledger runs in a thread. An interruption ends the choice early, and leaves the same marks
as a crash. A redo whose jobs have all ended is closed even after an interruption: otherwise the next redo would not be
a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import takewhile

import anyio
import msgspec

from runner.core.aio import pull
from runner.core.disk import in_thread
from runner.core.errors import ConflictError, UsageError
from runner.core.models import Job, Record
from runner.engine.stop import Stop
from runner.ledger import LedgerReader, LedgerWriter
from runner.planning.planner import Planner
from runner.planning.rules import Action, Decision, redo_pending, wanted_redo

CHUNK = 256
"""Number of marks that are written together."""

Jobs = Callable[[], Iterable[Job]]
"""Function that returns the same jobs from the beginning at each call."""


class RedoMode(StrEnum):
    """Choice of a redo among the selected done jobs."""

    SELECTED = "selected"
    """Those that ``RunOptions.only`` matches."""
    MISSING = "missing"
    """Those whose files neither the disk nor the API has any more."""
    ALL = "all"


class RedoMarks:
    """State of the newest redo of a folder, read-only."""

    def __init__(self, ledger: LedgerReader, planner: Planner, api: str) -> None:
        self._known = ledger
        self._planner = planner
        self._api = api

    @property
    def unfinished(self) -> bool:
        return not self._known.redo(self._api).closed

    def check_choice(self, jobs: Jobs) -> None:
        """Raise ``UsageError`` if an unfinished redo has marked none of ``jobs``."""
        standing = self._known.redo(self._api)
        if not standing.closed and not any(self._marked(job, standing.number) for job in jobs()):
            raise UsageError(
                "an earlier `--redo` of other jobs is not finished. Run `runner run` without --redo first, then this "
                "command again. Nothing was bought."
            )

    @property
    def choosing(self) -> int:
        """Return the number of the redo that may choose jobs now; 0 if an unfinished redo has chosen already."""
        standing = self._known.redo(self._api)
        return 0 if standing.chosen and not standing.closed else standing.number + standing.closed

    def would_choose(self, job: Job, decision: Decision, number: int) -> bool:
        """Tell whether redo ``number`` marks ``job``: the job is done, and not marked yet."""
        done = decision.action.category in (Action.REUSE, Action.DELIVER)
        return done and decision.record is not None and not self._marked(job, number)

    def _marked(self, job: Job, number: int) -> bool:
        return any(record.redo == number for record in self._known.purchases(job.id, self._api))


class Redo(RedoMarks):
    """The newest redo of a folder, continued by one run. The run must have exclusive use of the ledger."""

    def __init__(
        self, ledger: LedgerWriter, planner: Planner, api: str, stop: Stop, chosen: Callable[[Job, Decision], None]
    ) -> None:
        """Open the redo. ``chosen`` is called with each job before it is marked, and with the decision about it."""
        super().__init__(ledger, planner, api)
        self._ledger = ledger
        self._stop = stop
        self._tell = chosen

    async def go_on(self, choice: RedoMode | None, jobs: Jobs) -> None:
        """Continue an unfinished redo. Without a ``choice``, the marks that a crash left are the choice.

        Raises ``UsageError`` if there is a ``choice`` and the unfinished redo is about other jobs.
        """
        standing = self._ledger.redo(self._api)
        if standing.closed:
            return
        if choice is None and not standing.chosen:
            await self._end_choice(standing.number)
        elif choice is not None and not self._interrupted:
            await in_thread(None, self.check_choice, jobs)

    async def choose(self, jobs: Jobs) -> None:
        """Mark the done jobs among ``jobs``, unless an unfinished redo has chosen already. Raises ``ConflictError``."""
        number = self.choosing
        if not number:
            return
        await in_thread(None, self._check, jobs, number)
        candidates = self._candidates(jobs, number)
        last = None
        while chosen := await pull(candidates, CHUNK):
            marks = [*filter(None, [last]), *(self._mark(job, decision, number) for job, decision in chosen)]
            last = marks.pop()
            await self._write(marks)
        if self._interrupted:
            await self._write([last] if last is not None else [])
        elif last is not None:
            await self._ledger.append(msgspec.structs.replace(last, redo_chosen=True))
        elif not self._ledger.redo(self._api).closed:
            await self._end_choice(number)

    async def _write(self, marks: Iterable[Record]) -> None:
        """Write ``marks`` durably, all together."""
        async with anyio.create_task_group() as group:
            for mark in marks:
                group.start_soon(self._ledger.append, mark)

    def _check(self, jobs: Jobs, number: int) -> None:
        buy = Decision(action=Action.BUY, reason="redo")
        found = (self._planner.conflicts.ownership(job, buy) for job, _ in self._candidates(jobs, number))
        conflicts = [conflict for conflict in found if conflict]
        if conflicts:
            raise ConflictError("\n".join(conflicts) + "\nNothing was bought.")

    def _mark(self, job: Job, decision: Decision, number: int) -> Record:
        self._tell(job, decision)
        assert decision.record is not None
        return msgspec.structs.replace(decision.record, redo=number, redo_chosen=False, redo_closed=False)

    def _candidates(self, jobs: Jobs, number: int) -> Iterator[tuple[Job, Decision]]:
        """Yield the jobs that are done and not marked with ``number`` yet, until an interruption."""
        for job in takewhile(lambda _: not self._interrupted, jobs()):
            decision = self._planner.decide(job)
            if self.would_choose(job, decision, number):
                yield job, decision

    @property
    def _interrupted(self) -> bool:
        return self._stop.interrupted.is_set()

    async def _end_choice(self, number: int) -> None:
        """Complete the choice with the marks that exist, after a crash during the choice."""
        for mark in await pull(self._all_marks(number), 1):
            await self._ledger.append(msgspec.structs.replace(mark, redo_chosen=True))

    def _all_marks(self, number: int) -> Iterator[Record]:
        return (record for record in self._ledger.latest() if record.api == self._api and record.redo == number)

    async def close(self, jobs: Iterable[Job]) -> None:
        """Close the redo if every chosen job has ended. ``jobs``: all jobs of the manifest.

        Marks of jobs that no longer exist or now have other inputs are answered as well, so that they lead to no
        purchase.
        """
        number, chosen, closed = self._ledger.redo(self._api)
        if closed or not chosen or await in_thread(None, self._is_pending, jobs, number):
            return
        marks = self._all_marks(number)
        last = None
        while some := await pull(marks, CHUNK):
            for mark in some:
                last = mark
                if wanted_redo(self._ledger.purchases(mark.id, self._api), mark.fingerprint) == number:
                    last = await self._ledger.append(msgspec.structs.replace(mark, redone=number))
        if last is not None:
            await self._ledger.append(msgspec.structs.replace(last, redo_chosen=True, redo_closed=True))

    def _is_pending(self, jobs: Iterable[Job], number: int) -> bool:
        """Tell whether any of ``jobs`` still waits for redo ``number``."""
        return any(redo_pending(self._ledger.purchases(job.id, self._api), job.fingerprint, number) for job in jobs)
