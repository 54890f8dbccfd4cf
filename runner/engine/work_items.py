"""Work items for the scheduler: owed purchases, jobs, changed jobs, and jobs whose files are missing."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from typing import TypeVar

from runner.core.models import Job
from runner.engine.context import RunContext
from runner.engine.scheduler import WorkItem
from runner.engine.summary import outcome_of_decision, outcome_of_record
from runner.engine.tally import Tally
from runner.planning.planner import Planner
from runner.planning.rules import Action, Decision, revive
from runner.planning.survey import SurveyResult

T = TypeVar("T")

JOBS_PER_PAUSE = 256
"""Jobs that are examined before control returns to the event loop."""


class WorkItems:
    """Source of work items. Each job is decided when its item is requested, not before."""

    def __init__(self, context: RunContext, tally: Tally) -> None:
        self._context = context
        self._tally = tally

    def of_owed(self, found: SurveyResult) -> list[WorkItem]:
        """Return items for owed purchases, oldest first.

        Owed purchases of jobs that are not selected are included, and added to the tally.
        """
        owed = self._context.ledger.owed(self._context.api.base.name)
        first: dict[str, int] = {}
        for record in owed:
            if record.rebuy:
                continue
            if record.id in found.collecting:
                first[record.id] = min(record.purchase, first.get(record.id, record.purchase))
            else:
                self._tally.enter_owed(record)
        return [
            WorkItem(
                before=outcome_of_record(record),
                record=record,
                ends_as="left" if record.id in found.changed else None,
                counted=not record.rebuy and first.get(record.id, record.purchase) == record.purchase,
            )
            for record in owed
        ]

    def of_jobs(
        self, planner: Planner, jobs: Iterable[Job | None], changed: Container[str]
    ) -> Iterator[WorkItem | None]:
        """Yield the work of each job that is not in ``changed``. None in ``jobs`` stands for a job without work."""

        def work(job: Job | None) -> Iterator[WorkItem]:
            if job is not None and job.id not in changed:
                yield from self._of_job(job, planner.decide(job))

        return _with_pauses(jobs, work)

    def of_changed(self, planner: Planner, jobs: Iterable[Job], changed: Container[str]) -> Iterator[WorkItem | None]:
        """Yield the work of the jobs in ``changed``, whose inputs changed while an older purchase was owed.

        The older purchase is delivered before.
        """

        def work(job: Job) -> Iterator[WorkItem]:
            if job.id in changed:
                decision = planner.decide(job)
                self._tally.decide_again(decision)
                yield from self._of_job(job, decision)

        return _with_pauses(jobs, work)

    def of_missing(self, planner: Planner, jobs: Iterable[Job]) -> Iterator[WorkItem | None]:
        """Yield the jobs that a redo chose because neither the disk nor the API has their files."""

        def work(job: Job) -> Iterator[WorkItem]:
            if job.id in self._tally.missing and (decision := planner.decide(job)).action is Action.BUY:
                yield from self._of_job(job, decision)

        return _with_pauses(jobs, work)

    def _of_job(self, job: Job, decision: Decision) -> Iterator[WorkItem]:
        before = outcome_of_decision(decision)
        if decision.action is Action.BUY:
            work = WorkItem(before=before, job=job, fresh=True)
        elif decision.record is not None and decision.action in (Action.DELIVER, Action.MOVE, Action.RESTORE):
            history = self._context.ledger.history(job.id)
            record = revive(job, decision.record, history, archive_path=self._context.folder.archive_path)
            ends_as = None if decision.action is Action.DELIVER else "skipped"
            work = WorkItem(before=before, record=record, ends_as=ends_as)
        else:
            return
        self._tally.begin(job.id, work)
        yield work


def _with_pauses(jobs: Iterable[T], work: Callable[[T], Iterator[WorkItem]]) -> Iterator[WorkItem | None]:
    """Yield the work of each of ``jobs``, and None after every ``JOBS_PER_PAUSE`` jobs."""
    for number, job in enumerate(jobs, 1):
        if number % JOBS_PER_PAUSE == 0:
            yield None
        yield from work(job)
