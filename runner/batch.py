"""One run from the survey to the report: what is owed first, then the jobs, then those whose inputs had changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

import aiohttp
import anyio

from runner.api import Api
from runner.clock import Clock, epoch, timestamp
from runner.download.place import Folder, aside_path
from runner.job.buy import Buyer
from runner.job.collect import Collector
from runner.job.deliver import DEFAULT_MAX_FILE, Bounds, Deliverer
from runner.job.suspects import Suspects
from runner.ledger import Ledger
from runner.model import Fault, Job, Record, State
from runner.money import base_price, reserve, spent
from runner.plan import Action, Decision, revive
from runner.polling import Durations
from runner.records import RESULTS, follow
from runner.schedule import Limits, Steps, Work, run_batch
from runner.stop import Stop
from runner.summary import COUNTS, Report, Tally, outcome_of_decision, outcome_of_record
from runner.survey import Survey, Surveyor, survey
from runner.throttle import Throttle

GRACE_SECONDS = 20.0
"""How long an interrupted run collects and delivers what is in flight."""
OLD_SECONDS = 24 * 3600.0
DISK_THREADS = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a manifest says about its run; the defaults serve where there is no manifest."""

    manifest: str = "-"
    lanes: int = 8
    per_second: float | None = None
    timeout_seconds: float = 600.0
    retries: int = 4
    trusted_hosts: tuple[str, ...] = ()
    max_file_bytes: int = DEFAULT_MAX_FILE
    strict_size: bool = False


class Batch:
    """A run under way: the folder held, the ledger open, the API reached."""

    def __init__(
        self,
        folder: Folder,
        ledger: Ledger,
        api: Api,
        client: aiohttp.ClientSession,
        terms: Terms,
        stop: Stop,
        clock: Clock,
    ) -> None:
        self.folder = folder
        self.ledger = ledger
        self.api = api
        self._client = client
        self._terms = terms
        self._stop = stop
        self._clock = clock
        self._started = clock.monotonic()
        self._rng = Random()  # noqa: S311 - jitter
        self._tally = Tally()
        self._prices: dict[str, float | None] = {}
        self._open: dict[str, Work] = {}
        self._examples: list[Record] = []

    async def run(self, surveyor: Surveyor, jobs: Callable[[], Iterable[Job]]) -> Report:
        """Survey, bring home, buy, and report. ``jobs`` gives the selected ones afresh each time it is called."""
        await self._prepare()
        await self._take_over(surveyor, jobs())
        found = survey(surveyor, jobs(), self._count)
        await self._fetch_prices(found)
        owed = [work for record in self.ledger.owed(self._api_name) for work in self._owed_work(record, found)]
        await self._carry(owed, self._job_work(surveyor, jobs(), skip=found.changed))
        if found.changed and not self._stop.stopped:
            changed = (job for job in jobs() if job.id in found.changed)
            await self._carry([], self._job_work(surveyor, changed, recount=True))
        return self._finish()

    async def collect(self) -> Report:
        """Bring home what is owed, buy nothing, and report."""
        await self._prepare()
        owed = [work for record in self.ledger.owed(self._api_name) for work in self._owed_work(record, Survey())]
        await self._carry(owed, iter(()))
        return self._finish()

    @property
    def _api_name(self) -> str:
        return self.api.base.name

    async def _prepare(self) -> None:
        """Clear what a crash left: temporary files, and intents that became open questions."""
        self.folder.prepare()
        for record in self.ledger.interrupted():
            text = "the process ended between the intent and the answer; the request may have been bought"
            fault = Fault(code="interrupted", message=text)
            await self.ledger.append(follow(record, State.UNKNOWN, self._now(), error=fault))

    async def _take_over(self, surveyor: Surveyor, jobs: Iterable[Job]) -> None:
        """Put the records of renamed jobs under their new ids."""
        for job in jobs:
            old_id = surveyor.renamed_from(job)
            if old_id is not None:
                log.info("%s takes over the records of %s", job.id, old_id)
                for record in surveyor.takeover(job, old_id):
                    await self.ledger.append(record)

    def _count(self, job: Job, decision: Decision) -> None:
        self._tally.add(outcome_of_decision(decision))
        if decision.action is Action.BUY:
            self._prices.setdefault(job.model, None)
        if decision.action in (Action.HOLD, Action.FAILED) and decision.record is not None:
            self._remember(decision.record)

    async def _fetch_prices(self, found: Survey) -> None:
        """What the models to be bought from cost; an unknown price reserves nothing, and is said."""
        for model in self._prices if found.actions[Action.BUY] else ():
            self._prices[model] = base_price(await self.api.catalogue_entry(model))
            if self._prices[model] is None:
                log.info("the catalogue names no price for %s", model)

    def _owed_work(self, record: Record, found: Survey) -> Iterator[Work]:
        """One owed purchase. Those of ids that are not selected are brought home and counted as well."""
        before = outcome_of_record(record)
        if record.id not in found.collecting:
            self._tally.add(before)
        yield Work(before=before, record=record, settled_as="left" if record.id in found.changed else None)

    def _job_work(
        self, surveyor: Surveyor, jobs: Iterable[Job], *, skip: Iterable[str] = (), recount: bool = False
    ) -> Iterator[Work]:
        """What is to be done for each job as things stand when its turn comes."""
        for job in jobs:
            if job.id in skip:
                continue
            decision = surveyor.decide(job)
            if recount and decision.action is not Action.COLLECT:
                self._tally.change("left", outcome_of_decision(decision))
            work = self._work(job, decision)
            if work is not None:
                self._open[job.id] = work
                yield work

    def _work(self, job: Job, decision: Decision) -> Work | None:
        before = outcome_of_decision(decision)
        if decision.action is Action.BUY:
            return Work(before=before, job=job, fresh=True)
        if decision.record is None or decision.action not in (Action.DELIVER, Action.MOVE, Action.RESTORE):
            return None
        history = self.ledger.history(job.id)
        force = next(record for record in history if record.purchase == decision.record.purchase)
        record = revive(job, force, history, aside=aside_path)
        return Work(before=before, record=record, settled_as=None if decision.action is Action.DELIVER else "skipped")

    async def _carry(self, owed: list[Work], jobs: Iterator[Work]) -> None:
        """Run the lanes until there is nothing left, buying stopped, or the grace of an interruption is over."""
        self._check_backlog(owed)
        suspects = Suspects(len(owed))
        with ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk") as executor:
            steps = self._steps(suspects, executor)
            async with anyio.create_task_group() as group:
                group.start_soon(self._end_grace, group.cancel_scope)
                await run_batch(owed, jobs, steps=steps, limits=self._limits, stop=self._stop)
                group.cancel_scope.cancel()
        self._close_open()
        await self._believe(suspects)

    async def _end_grace(self, scope: anyio.CancelScope) -> None:
        await self._stop.interrupted.wait()
        await anyio.sleep(GRACE_SECONDS)
        scope.cancel()

    @property
    def _limits(self) -> Limits:
        lanes = self._terms.lanes
        return Limits(lanes=lanes, deliveries=max(4, min(lanes, 32)), backlog=max(100, 4 * lanes))

    def _check_backlog(self, owed: list[Work]) -> None:
        """Buy nothing while too much that is paid waits, or waits too long."""
        waiting = [work.record for work in owed if work.record is not None and not work.record.stuck]
        if len(waiting) > self._limits.backlog:
            self._stop.buying(f"{len(waiting)} paid results of earlier runs wait; they are fetched first")
        elif any(self._is_old(record) for record in waiting):
            self._stop.buying("a paid result has waited for more than a day; what is owed is fetched first")

    def _is_old(self, record: Record) -> bool:
        try:
            return self._clock.now() - epoch(record.submitted_at or record.at) > OLD_SECONDS
        except ValueError:
            return False

    def _steps(self, suspects: Suspects, executor: ThreadPoolExecutor) -> Steps:
        terms, clock, rng = self._terms, self._clock, self._rng
        throttle = Throttle(clock, self._stop, per_second=terms.per_second, rng=rng)
        buyer = Buyer(
            api=self.api,
            ledger=self.ledger,
            throttle=throttle,
            stop=self._stop,
            clock=clock,
            context=self._context,
        )
        collector = Collector(
            api=self.api,
            ledger=self.ledger,
            clock=clock,
            durations=Durations(),
            suspects=suspects,
            timeout_seconds=terms.timeout_seconds,
            rng=rng,
        )
        deliverer = Deliverer(
            api=self.api,
            client=self._client,
            ledger=self.ledger,
            folder=self.folder,
            bounds=self._bounds,
            retries=terms.retries,
            clock=clock,
            executor=executor,
            rng=rng,
            suspects=suspects,
        )

        async def collect(record: Record, fresh: bool) -> Record:
            after = await collector.collect(record, fresh=fresh)
            self._tally.cost_usd += after.cost_usd or 0.0
            if suspects.token_changed:
                text = "most of what is owed is refused: the token has probably changed, or belongs to another account"
                self._stop.buying(text, 77)
            return after

        async def deliver(record: Record, fresh: bool) -> Record:
            return await deliverer.deliver(record, fresh=fresh)

        return Steps(buy=buyer.buy, collect=collect, deliver=deliver, settle=self._settle)

    def _context(self, job: Job) -> dict[str, object]:
        """What every intent carries beside the job."""
        terms = self._terms
        return {
            "api": self._api_name,
            "manifest": terms.manifest,
            "reserved_usd": reserve(self._prices.get(job.model), job.inputs),
            "trusted_hosts": terms.trusted_hosts,
            "max_file_bytes": None if terms.max_file_bytes == DEFAULT_MAX_FILE else terms.max_file_bytes,
            "strict_size": terms.strict_size,
        }

    @property
    def _bounds(self) -> Bounds | None:
        terms = self._terms
        if terms.manifest == "-":
            return None
        return Bounds(
            trusted_hosts=terms.trusted_hosts,
            max_file_bytes=terms.max_file_bytes,
            strict_size=terms.strict_size,
        )

    def _settle(self, work: Work, record: Record | None) -> None:
        """Move a piece of work to the count where it ends."""
        job_id = work.job.id if work.job is not None else work.record.id if work.record is not None else ""
        self._open.pop(job_id, None)
        if record is None:
            return
        self._tally.change(work.before, _outcome(work, record))
        if record.state is not State.DONE or record.error is not None or record.warning is not None:
            self._remember(record)

    def _close_open(self) -> None:
        """Count what an interruption left in the middle by what the ledger says of it."""
        for job_id, work in self._open.items():
            history = self.ledger.purchases(job_id, self._api_name)
            if history and work.job is not None:
                self._tally.change(work.before, outcome_of_record(history[-1]))
        self._open.clear()

    async def _believe(self, suspects: Suspects) -> None:
        """Record what the API refuses to know, unless so much is refused that the token must be to blame."""
        if suspects.token_changed:
            return
        for record, verdict in suspects.verdicts:
            await self.ledger.append(verdict)
            self._tally.change(outcome_of_record(record), outcome_of_record(verdict))
            self._remember(verdict)

    def _remember(self, record: Record) -> None:
        """Keep a few examples for the summary."""
        if len(self._examples) < 20:
            self._examples.append(record)

    def _finish(self) -> Report:
        total = sum(spent(record) for record in self.ledger.latest() if record.api == self._api_name)
        self.ledger.compact()
        return Report(
            **{name: self._tally.counts[name] for name in COUNTS},
            cost_usd=self._tally.cost_usd,
            spent_usd=total,
            seconds=self._clock.monotonic() - self._started,
            output=str(self.folder.root),
            results=str(self.folder.root / RESULTS),
            stopped=self._stop.why,
            examples=tuple(self._examples),
        )

    def _now(self) -> str:
        return timestamp(self._clock.now())


def _outcome(work: Work, record: Record) -> str:
    if record.state is State.DONE and record.error is not None:
        return "owed" if record.error.retryable else "missing"
    after = outcome_of_record(record)
    return work.settled_as if work.settled_as and not record.owed else after
