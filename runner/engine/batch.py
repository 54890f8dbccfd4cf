"""Batch: one run from the survey to the report. The order is owed purchases, jobs, changed jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path

import anyio

from runner.core.aio import at_work, to_its_end
from runner.core.disk import in_thread
from runner.core.errors import ConflictError
from runner.core.models import Job, Record
from runner.engine.billing.budget import BudgetTracker
from runner.engine.billing.costs import Estimate, Prices, is_paid, total_spent
from runner.engine.config import RunConfig
from runner.engine.context import RunContext
from runner.engine.other_addresses import owed_elsewhere
from runner.engine.pacing.concurrency import AdaptiveConcurrency, CapacityEstimate
from runner.engine.pacing.polling import PollScheduler
from runner.engine.pipeline import Pipeline
from runner.engine.preparation import (
    clear_crash,
    hold_unrecorded,
    open_budget,
    stop_if_disk_full,
    take_over,
)
from runner.engine.publishing.publisher import Publisher, publishing
from runner.engine.redo import Jobs, Redo, RedoMode
from runner.engine.replacements import Replacements
from runner.engine.run_status import RunStatus
from runner.engine.scheduler import WorkItem, run_batch
from runner.engine.steps.poll import RefusedRequests
from runner.engine.stop import too_much_waits
from runner.engine.summary import Report, outcome_of_decision
from runner.engine.tally import Tally
from runner.engine.time_limit import TimeLimit
from runner.engine.work_items import WorkItems
from runner.ledger import older_words
from runner.manifest import JobStore
from runner.planning.planner import Planner
from runner.planning.rules import Action, Decision
from runner.planning.survey import SurveyResult, doubt_about_schemas, survey

DECLINED = "you kept the done pictures; nothing was bought"
DECLINED_REMEDY = "with --yes, or y as the answer"
DISK_THREADS = 16
"""Threads for disk access."""

Claimed = Callable[[Record], bool]

Confirm = Callable[[str], Awaitable[bool]]
"""Function that tells whether done pictures may be replaced; it gets their number, the changed inputs and the cost."""


class Batch:
    """A run in progress: the folder is locked, the ledger open, the API connected."""

    def __init__(self, context: RunContext, config: RunConfig, confirm: Confirm | None = None) -> None:
        """Ask ``confirm`` before done pictures are replaced; None: they may be."""
        self.context = context
        self._config = config
        self._confirm = confirm
        self._replacements = Replacements()
        self._started = context.clock.monotonic()
        self._tally = Tally()
        self._time_limit = TimeLimit(context.clock, context.stop, until=config.until, seconds=config.for_seconds)
        self._lost = 0
        """Slots that are held by requests that timed out."""
        self._budget = BudgetTracker(config.budget, context.stop, lambda: context.api.today, context.shard)
        self._adaptive = AdaptiveConcurrency(CapacityEstimate()) if config.concurrency is None else None
        self._polling = PollScheduler(self._adaptive)
        self._publisher: Publisher | None = None
        """Maker of copies of what is delivered; None outside of ``run``: ``collect`` has no manifest."""

    def status(self) -> RunStatus:
        """Return the status of the run, for displays. All counts are 0 until the survey has covered every job."""
        tally = self._tally
        adaptive = self._adaptive
        return RunStatus(
            counts=tally.counts,
            cost_usd=tally.cost_usd,
            concurrency=int(adaptive.limit) if adaptive is not None else self._config.concurrency,
            concurrency_reason=adaptive.reason if adaptive is not None else "",
            cap=self._budget.cap,
        )

    async def run(self, manifest_jobs: JobStore) -> Report:
        """Survey the selected jobs, download what is owed, buy at the same time, and report."""
        async with publishing(self.context.ledger, self.context.folder, manifest_jobs, self.context.stop) as publisher:
            self._publisher = publisher
            return await self._run(manifest_jobs, publisher)

    async def _run(self, manifest_jobs: JobStore, publisher: Publisher) -> Report:
        planner = self._config.planner(manifest_jobs, self.context.ledger, self.context.others)
        jobs = await in_thread(None, self._config.select, manifest_jobs, planner)
        buying = Estimate()
        await clear_crash(self.context)
        older = self.context.ledger.older
        if older is not None:
            await self._refuse_older(older, planner, jobs.selected())
        found = await self._survey(planner, jobs.selected(), buying)
        if older is not None:
            self._tally.notes.append(older_words(older))
        if found.renamed:
            await take_over(self.context, planner, jobs.selected())
        if found.elsewhere:
            self._tally.notes.append(_held_by_shards(found.elsewhere))
        if found.doubtful:
            self.context.stop.buying(doubt_about_schemas(found.doubtful), 69)
        again = await self._open_redo(planner, jobs.selected, buying)
        if buying.models:
            stop_if_disk_full(self.context)
        prices = await open_budget(self.context, self._config, self._budget, buying, self._known())
        await self._confirm_replacements(prices)
        work = WorkItems(self.context, self._tally)
        owed = work.of_owed(found)
        self._budget.track(item.record for item in owed if item.record is not None)
        wanted = jobs.selected() if self._config.redo is RedoMode.SELECTED else jobs.unsettled(found.unsettled)
        await self._carry(owed, work.of_jobs(planner, wanted, found.changed), planner.claims)
        if found.changed and not self.context.stop.stopped:
            await self._carry([], work.of_changed(planner, jobs.selected(), found.changed), planner.claims)
        if self._config.redo is RedoMode.MISSING and not self.context.stop.stopped:
            missing = self._tally.missing
            await self._choose_among(again, lambda: (job for job in jobs.selected() if job.id in missing), "missing")
            await self._carry([], work.of_missing(planner, jobs.selected()), planner.claims)
        await again.close(jobs.every())
        if again.unfinished:
            self._tally.notes.append("the redo is not finished; run the same command again to continue it")
        await publisher.finish(jobs.selected())
        self._tally.count_copies(publisher.made, publisher.failed, publisher.problems)
        return await self._finish()

    async def _confirm_replacements(self, prices: Prices) -> None:
        """Stop buying if the user does not want done pictures to be replaced.

        The folder is locked meanwhile: what the question says is what is bought. Owed purchases are downloaded in any
        case.
        """
        if self._confirm is None or not self._replacements.count or self.context.stop.stopped:
            return
        paid = is_paid(self.context.api.base.name)
        if not await self._confirm(self._replacements.words(prices if paid else None)):
            self.context.stop.buying(DECLINED, remedy=DECLINED_REMEDY)

    async def _open_redo(self, planner: Planner, jobs: Jobs, buying: Estimate) -> Redo:
        """Continue the redo that an earlier run left, or begin the one asked for."""

        def choose(job: Job, decision: Decision) -> None:
            self._tally.choose("missing" if job.id in self._tally.missing else outcome_of_decision(decision))
            buying.add(job)

        redo = Redo(self.context.ledger, planner, self.context.api.base.name, self.context.stop, choose)
        async with self._fetching_on_conflict(planner.claims):
            await redo.go_on(self._config.redo, jobs)
            if self._config.redo is RedoMode.SELECTED:
                await self._choose_among(redo, jobs, "skipped")
        return redo

    async def _choose_among(self, redo: Redo, jobs: Jobs, outcome: str) -> None:
        """Let ``redo`` choose among ``jobs``.

        After an interruption, the jobs that it did not look at are counted as left, not under ``outcome``.
        """
        await redo.choose(jobs)
        if redo.choosing and self.context.stop.interrupted.is_set():
            self._tally.leave(outcome)

    async def collect(self) -> Report:
        """Download what is owed, buy nothing, and report."""
        await clear_crash(self.context)
        await self._fetch_owed(lambda _: True)  # without a manifest every file is wanted in its place
        for text in owed_elsewhere(self.context.api.base.name, self.context.ledger):
            self.context.stop.buying(text, 65)
        return await self._finish()

    async def _survey(self, planner: Planner, jobs: Iterable[Job], buying: Estimate) -> SurveyResult:
        """Decide about every job, and add the jobs to be bought to ``buying``.

        The survey runs in a thread: a million jobs take minutes, and the event loop must handle signals meanwhile.
        """
        tally = Tally()  # shown only once it is complete
        missing_too = self._config.redo is RedoMode.MISSING

        def enter(job: Job, decision: Decision) -> None:
            tally.enter(decision)
            self._replacements.add(job, decision)
            if decision.buys or (missing_too and decision.action is Action.DELIVER):
                buying.add(job)

        async with self._fetching_on_conflict(planner.claims):
            found = await in_thread(None, survey, planner, jobs, enter)
        self._tally = tally
        return found

    @asynccontextmanager
    async def _fetching_on_conflict(self, claimed: Claimed) -> AsyncIterator[None]:
        """Download what is owed before a ``ConflictError`` of the block is raised again."""
        try:
            yield
        except ConflictError:
            await self._fetch_owed(claimed)
            await self._finish()
            raise

    async def _fetch_owed(self, claimed: Claimed) -> None:
        await self._carry(WorkItems(self.context, self._tally).of_owed(SurveyResult()), iter(()), claimed)

    async def _refuse_older(self, log: Path, planner: Planner, jobs: Iterable[Job]) -> None:
        """Buy nothing while the results log is an older copy.

        Each job whose picture is in the folder without a record is put on hold. Raises ``ConflictError`` if anything
        would be bought.
        """
        words = await hold_unrecorded(self.context, planner, jobs, manifest=self._config.manifest)
        if words is None:
            return
        await self._fetch_owed(planner.claims)
        await self._finish()
        raise ConflictError(f"{older_words(log)}{words}")

    async def _carry(self, owed: list[WorkItem], jobs: Iterator[WorkItem | None], claimed: Claimed) -> None:
        """Run the workers until no work is left, buying stops, or the grace period of an interruption ends.

        ``claimed`` tells if the manifest still wants the files of a done purchase in place.
        """
        self._check_backlog(owed)
        refused_requests = RefusedRequests(sum(work.record is not None and not work.record.stuck for work in owed))
        async with at_work(ThreadPoolExecutor(DISK_THREADS, "disk")) as disk:
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
                delivered=self._publisher.offer if self._publisher is not None else lambda _: None,
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
        if self._publisher is not None:
            await self._publisher.drain()
        self._tally.close(self._newest)
        await self._record_refused(
            refused_requests, {(w.job_id, w.record.purchase) for w in owed if w.record and not w.counted}
        )

    def _to_the_last(self, jobs: Iterator[WorkItem | None]) -> Iterator[WorkItem | None]:
        """Yield ``jobs``, and then set ``no_jobs_left``: from then on the last request decides when the run ends."""
        self._polling.no_jobs_left = False
        yield from jobs
        self._polling.no_jobs_left = True

    def _check_backlog(self, owed: list[WorkItem]) -> None:
        """Stop buying if too many paid results wait for delivery, or one has waited too long."""
        owing = (work.record for work in owed if work.record is not None)
        why = too_much_waits(owing, most=self._config.backlog, now=self.context.clock.now())
        if why:
            self.context.stop.buying(why)

    def _newest(self, job_id: str) -> Record | None:
        history = self.context.ledger.purchases(job_id, self.context.api.base.name)
        return history[-1] if history else None

    async def _record_refused(self, refused_requests: RefusedRequests, uncounted: set[tuple[str, int]]) -> None:
        """Record the refused requests, unless so many are refused that the token is the likely reason."""
        if refused_requests.token_changed:
            return
        for record, verdict in refused_requests.verdicts:
            await self.context.ledger.append(verdict)
            if (record.id, record.purchase) not in uncounted:
                self._tally.correct(record, verdict)

    def _known(self) -> Iterator[Record]:
        """Return the purchases of this run's jobs and of other shards."""
        return chain(self.context.ledger.latest(), self.context.others.latest())

    async def _finish(self) -> Report:
        """Compact the results log, and return the report. Both run in threads, as the survey does."""
        total = await in_thread(None, total_spent, self._known(), self.context.api.base.name)
        await to_its_end(self.context.ledger.compact)
        return self._tally.report(
            spent_usd=total,
            seconds=self.context.clock.monotonic() - self._started,
            output=str(self.context.folder.root),
            results=str(self.context.ledger.path),
            stopped=self.context.stop.why,
        )


def _held_by_shards(count: int) -> str:
    jobs = "1 job is" if count == 1 else f"{count:,} jobs are"
    return f"{jobs} on hold: bought under another id in another shard. Run `runner merge`, then run again (free)"
