"""Submission of jobs.

The intent is durable before the request is sent. The answer is durable before anything else happens to the job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from anyio import CancelScope, get_cancelled_exc_class
from anyio.lowlevel import checkpoint_if_cancelled

from runner.api.client import Api
from runner.api.responses import Accepted, RefusalCause, Refused, Submission, Unreadable
from runner.core.clock import Clock, timestamp
from runner.core.connections import Exchange
from runner.core.errors import LedgerError
from runner.core.models import Fault, Job, Record, State
from runner.engine.billing.budget import BudgetTracker
from runner.engine.pacing.throttle import Throttle
from runner.engine.purchase_limit import PurchaseLimit
from runner.engine.run_status import TRANSITION
from runner.engine.steps.attachments import Attachments, Body, FileChanged
from runner.engine.steps.internal_faults import internal_fault
from runner.engine.stop import Stop
from runner.engine.time_limit import TimeLimit
from runner.ledger import HeldLock, LedgerReader, LedgerWriter
from runner.ledger.records import follow, intent
from runner.planning.rules import next_purchase, wanted_redo

log = logging.getLogger(__name__)

MAX_CHANGED_NOTES = 10
"""Notes at the end of a run about jobs whose files have changed."""


class Submitter:
    """Submitter of jobs, one purchase at a time."""

    def __init__(
        self,
        *,
        api: Api,
        ledger: LedgerWriter,
        others: LedgerReader,
        throttle: Throttle,
        stop: Stop,
        time_limit: TimeLimit,
        purchase_limit: PurchaseLimit,
        clock: Clock,
        tracker: BudgetTracker,
        context: Callable[[Job], dict[str, object]],
        note: Callable[[str], None],
        attachments: Attachments,
        lock: HeldLock | None = None,
    ) -> None:
        """Create a submitter. ``context`` returns the fields of every intent of this run: manifest, reserve, limits.

        ``lock`` is the lock file that keeps other runs out of the folder. ``others`` has the purchases of other shards.
        """
        self._lock = lock
        self._api = api
        self._ledger = ledger
        self._others = others
        self._throttle = throttle
        self._stop = stop
        self._time_limit = time_limit
        self._purchase_limit = purchase_limit
        self._clock = clock
        self._budget = tracker
        self._context = context
        self._note = note
        self._attachments = attachments
        self._changed = 0
        """Jobs that were not bought because a file of theirs has changed."""
        self._dead_models: dict[str, str] = {}
        self._recording: dict[str, Record] = {}
        """Purchases by request id, from the arrival of the answer until the answer is recorded."""

    async def submit(self, job: Job) -> Record | None:
        """Submit ``job`` until the API accepts it or refuses it permanently, and return its record.

        If buying stops first, nothing was bought: return the last ``released`` record, or None without one.
        """
        record = None
        while record is None or record.state is State.RELEASED:
            if not await self._purchase_limit.acquire():
                return record
            made = False
            try:
                if not await self._budget.acquire(job):
                    return record
                async with self._attachments.body_of(job) as body, self._api.submitting:
                    with await self._throttle.turn():  # no wait between the turn and the request
                        self._time_limit.check()
                        self._check_lock()
                        if self._stop.stopped or job.model in self._dead_models:
                            return record
                        if self._budget.admits(job):
                            made = True  # if an exception ends this, it may have been
                            record = await self._submit(job, body)
                            made = record.state not in (State.RELEASED, State.FAILED)
            except FileChanged as error:
                self._tell_changed(job, error)
                return record
            finally:
                self._purchase_limit.release(made=made)
        return record

    def _tell_changed(self, job: Job, error: FileChanged) -> None:
        """Note that a job was not bought because of its file. Of many such jobs, the first few are named."""
        log.warning("%s: not bought: %s", job.id, error, extra=TRANSITION)
        self._changed += 1
        if self._changed <= MAX_CHANGED_NOTES:
            self._note(
                f"{job.id} was not bought: {error}. Run again; the file is checked anew before anything is bought"
            )
        elif self._changed == MAX_CHANGED_NOTES + 1:
            self._note("more jobs were not bought, because their files have changed or are gone; run again")

    def _check_lock(self) -> None:
        """Stop buying if the lock file is gone. Requests of this run that are in flight are still recorded.

        If the results log is gone as well, the next intent reports that.
        """
        if self._lock is not None and self._lock.lost and self._ledger.path.exists():
            self._stop.buying(
                f"{self._lock.path} was removed or replaced during the run. Paid results are downloaded, and nothing "
                "more is bought; run again, and leave that file in place"
            )

    async def _submit(self, job: Job, body: Body) -> Record:
        """Make one purchase, from the intent to the record that follows from the answer."""
        record = await self._intend(job)
        if self._stop.stopped:
            return await self._take_back(record, "buying stopped before it was sent")
        exchange = Exchange()
        try:
            answer = await self._api.submit(job.model, body, exchange)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self._abandon(record, exchange)
            raise
        except Exception as error:  # noqa: BLE001 - an error of one job does not end the run; the job may have been bought
            answer = Unreadable(fault=internal_fault(job.id, error))
        answer = self._without_repeated_id(record, answer)
        record = await self._append_answer(record, answer)
        if record.state is not State.SUBMITTED:
            self._budget.charge(record)
        self._heed(record, answer)
        return record

    async def _intend(self, job: Job) -> Record:
        """Make the intent durable. If the run is cancelled meanwhile, record that nothing was sent."""
        history = self._ledger.history(job.id)
        purchase = next_purchase(history)
        redone = wanted_redo([record for record in history if record.api == self._api.base.name], job.fingerprint)
        record = intent(job, purchase, at=self._now(), redone=redone, **self._context(job))
        self._budget.reserve(record)
        try:
            record = await self._ledger.append(record)
            await checkpoint_if_cancelled()
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self._take_back(record, "the run ended before it was sent")
            raise
        return record

    async def _abandon(self, record: Record, exchange: Exchange) -> None:
        """Record a cancelled submission: in doubt, unless the request was never given a connection."""
        if not exchange.sent:
            await self._take_back(record, "the run ended before it was sent")
            return
        fault = Fault(code="interrupted", message="the run ended before the answer came")
        await self._ledger.append(follow(record, State.UNKNOWN, self._now(), error=fault))

    async def _take_back(self, record: Record, why: str) -> Record:
        """Record that nothing was sent for an intent, so that the purchase is not in doubt."""
        fault = Fault(code="interrupted", message=why)
        record = await self._ledger.append(follow(record, State.RELEASED, self._now(), error=fault))
        self._budget.charge(record)
        return record

    def _without_repeated_id(self, record: Record, answer: Submission) -> Submission:
        """Return ``answer``, or ``Unreadable`` if its request belongs to another purchase.

        Two jobs never share a request.
        """
        if not isinstance(answer, Accepted):
            return answer
        request_id = answer.request_id
        owner = (
            self._recording.get(request_id)
            or self._ledger.with_request(request_id)
            or self._others.with_request(request_id)
        )
        if owner is None:
            self._recording[request_id] = record
            return answer
        text = (
            f"the API answered with request {request_id}, which already belongs to purchase {owner.purchase} of "
            f"{owner.id}; it is unknown whether this job was bought as well"
        )
        return Unreadable(fault=Fault(code="repeated_request_id", message=text))

    async def _append_answer(self, record: Record, answer: Submission) -> Record:
        if not isinstance(answer, Accepted):
            return await self._ledger.append(after_submission(record, answer, self._now()))
        try:
            record = await self._ledger.append(after_submission(record, answer, self._now()))
        except LedgerError as error:
            raise LedgerError(
                f"{error}\nJob {record.id} is request {answer.request_id} at the API, and that could not be recorded. "
                f"Note the id, and resolve it with `runner reconcile --adopt {record.id}={answer.request_id}`."
            ) from error
        del self._recording[answer.request_id]
        return record

    def _heed(self, record: Record, answer: Submission) -> None:
        """Apply the consequences of an answer for the rest of the run."""
        match answer:
            case Accepted():
                self._throttle.accepted()
            case Unreadable(fault=fault):
                log.warning(
                    "%s: unknown outcome, may have been charged: %s", record.id, fault.message, extra=TRANSITION
                )
                self._throttle.doubtful(fault.message)
            case Refused(cause=RefusalCause.BUSY, fault=fault, retry_after=wait):
                self._throttle.refused(fault.message, wait, too_many=fault.http_status == 429)
            case Refused(cause=RefusalCause.TOKEN, fault=fault):
                self._stop.buying(f"the API refuses the token: {fault.message}", 77)
            case Refused(cause=RefusalCause.BALANCE, fault=fault):
                self._stop.buying(f"the account has no balance: {fault.message}", 77)
            case Refused(cause=RefusalCause.MODEL, fault=fault):
                if record.model not in self._dead_models:
                    self._note(f"the API does not know the model {record.model} ({fault.message}); its jobs are left")
                self._dead_models[record.model] = fault.message
            case Refused(cause=RefusalCause.INPUT, fault=fault):
                log.warning("%s: the API refuses the input: %s", record.id, fault.message, extra=TRANSITION)
                self._throttle.answered()

    def _now(self) -> str:
        return timestamp(self._clock.now())


def after_submission(record: Record, answer: Submission, at: str) -> Record:
    """Return the record that follows from ``answer`` to an intent."""
    match answer:
        case Accepted(request_id=request_id):
            return follow(record, State.SUBMITTED, at, request_id=request_id, submitted_at=at)
        case Refused(cause=RefusalCause.INPUT, fault=fault):
            return follow(record, State.FAILED, at, error=fault)
        case Refused(fault=fault):
            return follow(record, State.RELEASED, at, error=fault)
        case Unreadable(fault=fault):
            return follow(record, State.UNKNOWN, at, error=fault)
