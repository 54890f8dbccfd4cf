"""Batch: one run from the survey to the report. Owed purchases first, then jobs, then changed jobs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

import anyio

from runner.core.aio import at_work, pull, to_its_end
from runner.core.clock import timestamp
from runner.core.disk import Disk, in_thread
from runner.core.errors import ConflictError
from runner.core.models import Fault, Job, Record, State
from runner.engine.billing.budget import BudgetTracker
from runner.engine.billing.costs import base_price, is_paid, total_spent
from runner.engine.config import RunConfig
from runner.engine.context import RunContext
from runner.engine.other_addresses import owed_elsewhere
from runner.engine.pacing.concurrency import AdaptiveConcurrency, CapacityEstimate
from runner.engine.pacing.polling import PollScheduler
from runner.engine.pipeline import Pipeline
from runner.engine.redo import Jobs, Redo, RedoMode
from runner.engine.run_status import RunStatus
from runner.engine.scheduler import PAUSE, WorkItem, run_batch
from runner.engine.steps.poll import RefusedRequests
from runner.engine.stop import too_much_waits
from runner.engine.summary import Report, outcome_of_decision, outcome_of_record
from runner.engine.tally import Tally
from runner.engine.time_limit import TimeLimit
from runner.ledger import older_words
from runner.ledger.records import follow, in_doubt, intent
from runner.manifest import JobStore
from runner.planning.planner import Planner
from runner.planning.rules import Action, Decision, next_purchase, revive
from runner.planning.selection import Selection
from runner.planning.survey import SurveyResult, doubt_about_schemas, survey

DISK_THREADS = 16
"""Of a slow disk; on a quick one they are hardly used."""
PAUSES = 256
"""After so many jobs that are looked at the event loop has its turn."""

log = logging.getLogger(__name__)

T = TypeVar("T")
Claimed = Callable[[Record], bool]


class Batch:
    """A run under way: the folder held, the ledger open, the API reached."""

    def __init__(self, context: RunContext, config: RunConfig) -> None:
        self.context = context
        self._config = config
        self._started = context.clock.monotonic()
        self._tally = Tally()
        self._time_limit = TimeLimit(context.clock, context.stop, until=config.until, seconds=config.for_seconds)
        self._lost = 0
        """Slots that are held by requests which did not end in time."""
        self._budget = BudgetTracker(config.budget, context.stop, lambda: context.api.today, context.shard)
        self._adaptive = AdaptiveConcurrency(CapacityEstimate()) if config.concurrency is None else None
        self._polling = PollScheduler(self._adaptive)

    def status(self) -> RunStatus:
        """Return where things stand, for a display. All counts are 0 until every job was looked at."""
        tally = self._tally
        concurrency = int(self._adaptive.limit) if self._adaptive is not None else self._config.concurrency
        return RunStatus(counts=tally.counts, cost_usd=tally.cost_usd, concurrency=concurrency, cap=self._budget.cap)

    async def run(self, manifest_jobs: JobStore) -> Report:
        """Survey the selected jobs, fetch what is owed, buy beside it, and report."""
        planner = self._config.planner(manifest_jobs, self.context.ledger, self.context.others)
        jobs = self._config.select(manifest_jobs, planner)
        models: set[str] = set()  # those that are bought from
        await self._prepare()
        older = self.context.ledger.older
        if older is not None:
            await self._refuse_older(older, planner, jobs.selected())
        found = await self._survey(planner, jobs.selected(), models)
        if older is not None:
            self._tally.notes.append(older_words(older))
        if found.renamed:
            await self._take_over(planner, jobs.selected())
        if found.elsewhere:
            self._tally.notes.append(_held_by_shards(found.elsewhere))
        if found.doubtful:
            self.context.stop.buying(doubt_about_schemas(found.doubtful), 69)
        again = await self._open_redo(planner, jobs.selected, models)
        self._check_room(models)
        await self._open_budget(models)
        owed = self._owed_work(found)
        self._budget.track(work.record for work in owed if work.record is not None)
        await self._carry(owed, self._job_work(planner, jobs, found), planner.claims)
        if found.changed and not self.context.stop.stopped:
            await self._carry([], self._changed_work(planner, jobs.selected(), found), planner.claims)
        if self._config.redo is RedoMode.MISSING and not self.context.stop.stopped:
            await self._choose_among(again, lambda: self._missing(jobs.selected()), "missing")
            await self._carry([], self._missing_work(planner, jobs.selected()), planner.claims)
        await again.close(jobs.every())
        if again.unfinished:
            self._tally.notes.append("the redo is not finished: run the same command again, and it goes on with it")
        return await self._finish()

    async def _open_redo(self, planner: Planner, jobs: Jobs, models: set[str]) -> Redo:
        """Continue the redo that an earlier run left, or begin the one asked for."""

        def choose(job: Job, decision: Decision) -> None:
            self._tally.choose("missing" if job.id in self._tally.missing else outcome_of_decision(decision))
            models.add(job.model)

        redo = Redo(self.context.ledger, planner, self.context.api.base.name, self.context.stop, choose)
        async with self._fetching_on_conflict(planner.claims):
            await redo.go_on(self._config.redo, jobs)
            if self._config.redo is RedoMode.SELECTED:
                await self._choose_among(redo, jobs, "skipped")
        return redo

    async def _choose_among(self, redo: Redo, jobs: Jobs, outcome: str) -> None:
        """Let ``redo`` choose. What an interruption keeps it from choosing was not tried, and is no ``outcome``."""
        await redo.choose(jobs)
        if redo.choosing and self.context.stop.interrupted.is_set():
            self._tally.leave(outcome)

    def _missing(self, jobs: Iterable[Job]) -> Iterator[Job]:
        return (job for job in jobs if job.id in self._tally.missing)

    def _missing_work(self, planner: Planner, jobs: Iterable[Job]) -> Iterator[WorkItem]:
        """What a redo chose because its files are gone everywhere."""

        def work(job: Job) -> Iterator[WorkItem]:
            if job.id in self._tally.missing and (decision := planner.decide(job)).action is Action.BUY:
                yield from self._work(job, decision)

        return _with_pauses(jobs, work)

    async def collect(self) -> Report:
        """Fetch what is owed, buy nothing, and report."""
        await self._prepare()
        await self._fetch_owed(lambda _: True)  # without a manifest every file is still wanted where it is
        self._tell_of_other_apis()
        return await self._finish()

    def _tell_of_other_apis(self) -> None:
        """What is owed at another address is not asked for at this one."""
        for text in owed_elsewhere(self.context.api.base.name, self.context.ledger):
            self.context.stop.buying(text, 65)

    async def _survey(self, planner: Planner, jobs: Iterable[Job], models: set[str]) -> SurveyResult:
        """Decide about every job, and add to ``models`` those that are bought from.

        In a thread: over a million jobs that takes minutes, and the loop has to see the signals that come meanwhile.
        """
        tally = Tally()  # shown once it is complete
        missing_too = self._config.redo is RedoMode.MISSING

        def enter(job: Job, decision: Decision) -> None:
            tally.enter(decision)
            if decision.buys or (missing_too and decision.action is Action.DELIVER):
                models.add(job.model)

        async with self._fetching_on_conflict(planner.claims):
            found = await in_thread(None, survey, planner, jobs, enter)
        self._tally = tally
        return found

    @asynccontextmanager
    async def _fetching_on_conflict(self, claimed: Claimed) -> AsyncIterator[None]:
        """Fetch what is owed all the same where something turns out to be in the way."""
        try:
            yield
        except ConflictError:
            await self._fetch_owed(claimed)
            await self._finish()
            raise

    async def _fetch_owed(self, claimed: Claimed) -> None:
        await self._carry(self._owed_work(SurveyResult()), iter(()), claimed)

    async def _prepare(self) -> None:
        """Clear what a crash left: temporary files, and intents that became open questions."""
        self.context.folder.prepare()
        for record in self.context.ledger.interrupted():
            await self.context.ledger.append(in_doubt(record, timestamp(self.context.clock.now())))

    async def _refuse_older(self, log: Path, planner: Planner, jobs: Iterable[Job]) -> None:
        """Buy nothing by an older copy of the log, and hold each job whose picture lies there without a record.

        Raises ``ConflictError`` if anything would be bought.
        """
        wanted = (job for job in jobs if planner.buys(job))
        buying = held = 0
        while some := await pull(wanted):
            buying += len(some)
            for job in filter(planner.finds_picture, some):
                await self.context.ledger.append(self._unrecorded(job))
                held += 1
        planner.begin_again()
        if not buying:
            return
        await self._fetch_owed(planner.claims)
        await self._finish()
        jobs_held = f" On hold until then, or until `runner reconcile` decides: {held:,} jobs whose pictures are there."
        raise ConflictError(f"{older_words(log)}{jobs_held if held else ''} Nothing was bought.")

    def _unrecorded(self, job: Job) -> Record:
        """A purchase that the log has lost, in doubt."""
        at = timestamp(self.context.clock.now())
        purchase = next_purchase(self.context.ledger.history(job.id))
        made = intent(job, purchase, at=at, api=self.context.api.base.name, manifest=self._config.manifest)
        fault = Fault(code="lost_record", message="its picture is there, and an older copy of the results log lacks it")
        return follow(made, State.UNKNOWN, at, error=fault)

    async def _take_over(self, planner: Planner, jobs: Iterable[Job]) -> None:
        """Put the records of renamed jobs under their new ids, the newest first: a crash must not hide that one."""
        planner.begin_again()
        renamed = ((job, old_id) for job in jobs if (old_id := planner.renamed_from(job, planner.history(job))))
        while some := await pull(renamed):
            for job, old_id in some:
                for record in reversed(planner.takeover(job, old_id)):
                    log.info("%s takes over purchase %d of %s", job.id, record.purchase, old_id)
                    await self.context.ledger.append(record)

    async def _open_budget(self, models: set[str]) -> None:
        """Learn what the models to be bought from cost; with a budget nothing is bought without a price."""
        if self._config.budget is not None:
            api = self.context.api.base.name
            known = (record for record in self._known() if is_paid(record.api) == is_paid(api))
            while some := await pull(known):
                self._budget.load(some)
        for model in sorted(models):
            entry = None if self._config.offline else await self.context.api.catalogue_entry(model)
            price = base_price(entry) if entry is not None else self._budget.earlier_price(model)
            self._budget.set_price(model, price)
            if price is None and self._config.budget is not None:
                self._refuse_unpriced(model, reachable=entry is not None)

    def _refuse_unpriced(self, model: str, *, reachable: bool) -> None:
        if reachable:
            text = f"a budget needs a price by the picture, and the catalogue names none for {model}"
            self.context.stop.buying(f"{text}; leave the budget out, or that model", 65)
        else:
            why = "is not asked (--offline)" if self._config.offline else "cannot be reached"
            self.context.stop.buying(f"a budget needs the price of {model}, and the catalogue {why}", 69)

    def _owed_work(self, found: SurveyResult) -> list[WorkItem]:
        """What is owed, oldest first. Purchases of jobs that are not selected are brought home and counted as well."""
        owed = self.context.ledger.owed(self.context.api.base.name)
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

    def _job_work(self, planner: Planner, jobs: Selection, found: SurveyResult) -> Iterator[WorkItem]:
        """What is to be done for each job as things stand when its turn comes."""

        def work(job: Job | None) -> Iterator[WorkItem]:
            if job is not None and job.id not in found.changed:
                yield from self._work(job, planner.decide(job))

        again = self._config.redo is RedoMode.SELECTED
        return _with_pauses(jobs.selected() if again else jobs.unsettled(found.unsettled), work)

    def _changed_work(self, planner: Planner, jobs: Iterable[Job], found: SurveyResult) -> Iterator[WorkItem]:
        """The jobs whose inputs had changed while an older purchase was owed, once that is home."""

        def work(job: Job) -> Iterator[WorkItem]:
            if job.id in found.changed:
                decision = planner.decide(job)
                self._tally.decide_again(decision)
                yield from self._work(job, decision)

        return _with_pauses(jobs, work)

    def _work(self, job: Job, decision: Decision) -> Iterator[WorkItem]:
        before = outcome_of_decision(decision)
        if decision.action is Action.BUY:
            work = WorkItem(before=before, job=job, fresh=True)
        elif decision.record is not None and decision.action in (Action.DELIVER, Action.MOVE, Action.RESTORE):
            record = revive(
                job, decision.record, self.context.ledger.history(job.id), aside=self.context.folder.archive_path
            )
            ends_as = None if decision.action is Action.DELIVER else "skipped"
            work = WorkItem(before=before, record=record, ends_as=ends_as)
        else:
            return
        self._tally.begin(job.id, work)
        yield work

    async def _carry(self, owed: list[WorkItem], jobs: Iterator[WorkItem], claimed: Claimed) -> None:
        """Run the workers until there is nothing left, buying stopped, or the grace of an interruption is over.

        ``claimed`` tells whether the manifest still wants a done purchase's files where they are.
        """
        self._check_backlog(owed)
        refused_requests = RefusedRequests(sum(work.record is not None and not work.record.stuck for work in owed))
        async with at_work(Disk(DISK_THREADS, "disk")) as disk:
            pipeline = Pipeline(
                self.context,
                self._config,
                self._tally,
                self._budget,
                refused_requests,
                disk,
                claimed,
                self._polling,
                self._adaptive,
                self._time_limit,
            )
            async with anyio.create_task_group() as group:
                group.start_soon(self.context.stop.end_grace, group.cancel_scope)
                group.start_soon(self._time_limit.watch)
                self._lost = await run_batch(
                    owed,
                    self._to_the_last(jobs),
                    steps=pipeline.steps,
                    limits=pipeline.limits,
                    stop=self.context.stop,
                    lost=self._lost,
                )
                group.cancel_scope.cancel()
        self._tally.close(self._newest)
        await self._record_refused(
            refused_requests, {(w.job_id, w.record.purchase) for w in owed if w.record and not w.counted}
        )

    def _to_the_last(self, jobs: Iterator[WorkItem]) -> Iterator[WorkItem]:
        """``jobs``; and from then on the last request decides when the run ends."""
        self._polling.draining = False
        yield from jobs
        self._polling.draining = True

    def _check_room(self, models: set[str]) -> None:
        """Buy nothing that the disk has no room for."""
        if models and self.context.folder.nearly_full():
            self.context.stop.buying(
                f"{self.context.folder.root}: the disk is nearly full; make room, and run again", 73
            )

    def _check_backlog(self, owed: list[WorkItem]) -> None:
        """Buy nothing while too much that is paid waits, or waits too long."""
        owing = (work.record for work in owed if work.record is not None)
        why = too_much_waits(owing, most=self._config.backlog, now=self.context.clock.now())
        if why:
            self.context.stop.buying(why)

    def _newest(self, job_id: str) -> Record | None:
        history = self.context.ledger.purchases(job_id, self.context.api.base.name)
        return history[-1] if history else None

    async def _record_refused(self, refused_requests: RefusedRequests, uncounted: set[tuple[str, int]]) -> None:
        """Record what the API refuses to know, unless so much is refused that the token must be to blame."""
        if refused_requests.token_changed:
            return
        for record, verdict in refused_requests.verdicts:
            await self.context.ledger.append(verdict)
            if (record.id, record.purchase) not in uncounted:
                self._tally.correct(record, verdict)

    def _known(self) -> Iterator[Record]:
        """Every purchase, of this run's jobs and of other shards'."""
        return chain(self.context.ledger.latest(), self.context.others.latest())

    async def _finish(self) -> Report:
        """Sum up, and leave the results manifest tidy. In threads, as the survey."""
        total = await in_thread(None, total_spent, self._known(), self.context.api.base.name)
        await to_its_end(self.context.ledger.compact)
        return self._tally.report(
            spent_usd=total,
            seconds=self.context.clock.monotonic() - self._started,
            output=str(self.context.folder.root),
            results=str(self.context.ledger.path),
            stopped=self.context.stop.why,
        )


def _with_pauses(jobs: Iterable[T], work: Callable[[T], Iterator[WorkItem]]) -> Iterator[WorkItem]:
    """What is to be done for each of ``jobs``, and a pause now and then, since for very many it may be nothing."""
    for number, job in enumerate(jobs, 1):
        if number % PAUSES == 0:
            yield PAUSE
        yield from work(job)


def _held_by_shards(count: int) -> str:
    jobs = "1 job is" if count == 1 else f"{count:,} jobs are"
    return f"{jobs} held: bought under another id in another shard; `runner merge`, and a run takes that over, free"
