"""Pipeline of a batch: submitter, poller and deliverer with the same ledger, API and stop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from random import Random

from runner.core.media_formats import MAX_PIXELS
from runner.core.models import DISK, Job, Record, State
from runner.engine.billing.budget import BudgetTracker
from runner.engine.config import RunConfig
from runner.engine.context import RunContext
from runner.engine.pacing.concurrency import START, AdaptiveConcurrency
from runner.engine.pacing.polling import PollScheduler
from runner.engine.pacing.refusals import RefusalEstimate
from runner.engine.pacing.throttle import Throttle
from runner.engine.purchase_limit import PurchaseLimit
from runner.engine.scheduler import Limits, Steps, WorkItem
from runner.engine.slots import FixedSlots
from runner.engine.steps.attachments import Attachments
from runner.engine.steps.deliver import Deliverer
from runner.engine.steps.fetch_output import DEFAULT_MAX_FILE
from runner.engine.steps.poll import Poller, RefusedRequests
from runner.engine.steps.submit import Submitter
from runner.engine.summary import HALTED, halted
from runner.engine.tally import Tally
from runner.engine.time_limit import TimeLimit

MOST_DELIVERIES = 32


class Pipeline:
    """Steps of one batch."""

    def __init__(
        self,
        context: RunContext,
        config: RunConfig,
        tally: Tally,
        tracker: BudgetTracker,
        refused_requests: RefusedRequests,
        disk: Executor,
        claimed: Callable[[Record], bool],
        scheduler: PollScheduler,
        adaptive: AdaptiveConcurrency | None,
        time_limit: TimeLimit,
        delivered: Callable[[Record], None],
    ) -> None:
        self._delivered = delivered
        self._context = context
        self._scheduler = scheduler
        self._adaptive = adaptive
        self._refusals = adaptive.refusals if adaptive is not None else RefusalEstimate()
        self._time_limit = time_limit
        self._budget = tracker
        self._claimed = claimed
        self._config = config
        self._tally = tally
        self._refused_requests = refused_requests
        self._rng = Random()  # noqa: S311 - only spreads retries
        self._submitter = self._make_submitter(disk)
        self._poller = self._make_poller()
        self._deliverer = self._make_deliverer(disk)

    @property
    def steps(self) -> Steps:
        return Steps(submit=self._submitter.submit, poll=self._poll, deliver=self._deliver, finish=self._finish)

    @property
    def limits(self) -> Limits:
        """Return the limits of the batch. Deliveries have a limit of their own."""
        concurrency = self._config.concurrency
        deliveries = MOST_DELIVERIES if concurrency is None else max(4, min(concurrency, MOST_DELIVERIES))
        slots = self._adaptive or FixedSlots(concurrency or START)
        return Limits(slots=slots, deliveries=deliveries, backlog=self._config.backlog)

    def _make_submitter(self, disk: Executor) -> Submitter:
        context = self._context
        throttle = Throttle(
            context.clock,
            context.stop,
            per_second=self._config.rate_per_second,
            gap=self._config.first_delay_seconds,
            rng=self._rng,
            refusals=self._refusals,
            in_flight=lambda: self._scheduler.in_flight,
            busy=self._adaptive.refused if self._adaptive is not None else lambda _: None,
        )
        self._scheduler.submissions_wait = lambda: throttle.waiting > 0
        return Submitter(
            api=context.api,
            ledger=context.ledger,
            others=context.others,
            throttle=throttle,
            stop=context.stop,
            time_limit=self._time_limit,
            purchase_limit=PurchaseLimit(context.stop, self._config.buy),
            clock=context.clock,
            tracker=self._budget,
            context=self._intent_fields,
            note=self._tally.notes.append,
            attachments=Attachments(self._config.inputs_folder, disk),
            lock=context.lock,
        )

    def _make_poller(self) -> Poller:
        return Poller(
            api=self._context.api,
            ledger=self._context.ledger,
            clock=self._context.clock,
            scheduler=self._scheduler,
            refused_requests=self._refused_requests,
            timeout_seconds=self._config.timeout_seconds,
            rng=self._rng,
        )

    def _make_deliverer(self, disk: Executor) -> Deliverer:
        return Deliverer(
            api=self._context.api,
            client=self._context.storage,
            ledger=self._context.ledger,
            folder=self._context.folder,
            limits=self._config.download_limits,
            retries=self._config.retries,
            clock=self._context.clock,
            disk=disk,
            rng=self._rng,
            refused_requests=self._refused_requests,
            claimed=self._claimed,
        )

    async def _poll(self, record: Record, fresh: bool) -> Record:
        after = await self._poller.poll(record, fresh=fresh)
        self._budget.charge(after)
        if record.cost_usd is None:
            self._tally.cost_usd += after.cost_usd or 0.0
        self._watch_token()
        return after

    async def _deliver(self, record: Record, fresh: bool) -> Record:
        after = await self._deliverer.deliver(record, fresh=fresh)
        if after.error is not None and after.error.code == DISK:
            self._context.stop.buying(after.error.message, 73)
        elif after.state is State.DONE:
            self._delivered(after)
        self._watch_token()
        return after

    def _watch_token(self) -> None:
        if self._refused_requests.token_changed:
            text = "the API refuses most paid results: the token has probably changed, or belongs to another account"
            self._context.stop.buying(text, 77)

    def _finish(self, work: WorkItem, record: Record | None) -> None:
        self._tally.finish(work, record)
        if halted(self._config.halt, failed=self._tally.failed, finished=self._tally.finished):
            counts = f"{self._tally.failed} of {self._tally.finished}"
            text = f"stopped on failures (`halt:`): {counts} jobs that finished failed, or are unavailable or unknown"
            self._context.stop.buying(text, HALTED, "after you have corrected what fails")

    def _intent_fields(self, job: Job) -> dict[str, object]:
        """Return the fields of an intent beside the job, so that polling and delivery need no manifest."""
        limits = self._config.download_limits
        carried: dict[str, object] = {}
        if limits is not None:
            limit = None if limits.max_file_bytes == DEFAULT_MAX_FILE else limits.max_file_bytes
            carried = {
                "trusted_hosts": limits.trusted_hosts,
                "max_file_bytes": limit,
                "max_pixels": None if limits.max_pixels == MAX_PIXELS else limits.max_pixels,
                "strict_size": limits.strict_size,
            }
        return {
            "api": self._context.api.base.name,
            "manifest": self._config.manifest,
            "reserved_usd": self._budget.estimate(job),
            "priced_seconds": self._budget.priced_seconds(job),
            "day": self._context.api.today,
            **carried,
        }
