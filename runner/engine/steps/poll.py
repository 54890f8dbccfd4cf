"""Polling of requests until the API says how they ended.

Polling is free, so it continues until the request times out. ``RefusedRequests`` counts the requests that the API
refuses, to distinguish a changed token from requests that no longer exist.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from random import Random

import msgspec

from runner.api.client import Api
from runner.api.outputs import is_input, recorded_address
from runner.api.responses import Again, Completed, Denied, Ended, Gone, NotYet, Progress, Unfinished
from runner.core.clock import Clock, epoch, timestamp
from runner.core.errors import RunnerError
from runner.core.models import TIMEOUT, Fault, Output, Record, State, kind_of
from runner.engine.pacing.polling import PolledRequest, PollScheduler
from runner.engine.pacing.throttle import backoff
from runner.engine.steps.internal_faults import internal_fault
from runner.ledger import LedgerWriter
from runner.ledger.records import follow

GRACE_SECONDS = 30.0
"""Seconds after its submission in which a request may still be unknown to the API that accepted it."""

DENIALS = 3
"""Consecutive 401 or 403 responses after which the polling of a request ends in this run."""
LATE_SECONDS = 60.0
"""Seconds after a request is first reported complete in which its output may still be missing."""
BUGS = 3
"""Consecutive unforeseen exceptions from reading a response after which the polling of a request ends in this run."""

log = logging.getLogger(__name__)

_NOT_YET = Fault(code=TIMEOUT, message="not final yet")


class _Inquiry(msgspec.Struct, kw_only=True):
    """State of the polling of one request."""

    record: Record
    watch: PolledRequest
    deadline: float
    fresh: bool
    trouble: Iterator[float]
    by_status: bool = False
    denials: int = 0
    bugs: int = 0
    """Consecutive responses whose reading ended in an unforeseen exception."""
    place: int | None = None
    """Last known position in the API's queue, as the API counts; None: not known."""
    last: Fault = _NOT_YET
    complete_since: float | None = None
    """Monotonic time at which the request was first reported complete without any output; None: never."""


class Poller:
    """Poller of requests until they end."""

    def __init__(
        self,
        *,
        api: Api,
        ledger: LedgerWriter,
        clock: Clock,
        scheduler: PollScheduler,
        refused_requests: RefusedRequests,
        timeout_seconds: float,
        rng: Random,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._clock = clock
        self._scheduler = scheduler
        self._refused_requests = refused_requests
        self._timeout = timeout_seconds
        self._rng = rng
        self._strange: set[str] = set()

    async def poll(self, record: Record, *, fresh: bool) -> Record:
        """Poll the request of ``record`` until it ends or times out, and return the record that follows.

        A request that times out stays owed, with the reason as its error. ``fresh``: the request is one of this run;
        the first poll of any other request is made at once.
        """
        inquiry = self._begin(record, fresh=fresh)
        self._refused_requests.fresh += fresh
        try:
            return await self._follow(inquiry)
        except RunnerError:
            raise
        except Exception as error:  # noqa: BLE001 - an error of one job does not end the run; the request stays owed
            fault = internal_fault(record.id, error)
            return await self._ledger.append(follow(record, record.state, timestamp(self._clock.now()), error=fault))
        finally:
            inquiry.watch.close()

    async def _follow(self, inquiry: _Inquiry) -> Record:
        wait = inquiry.watch.next_delay(self._clock.monotonic()) if inquiry.fresh else 0.0
        while True:
            await self._rest(inquiry, wait)
            progress = await self._ask(inquiry)
            following = self._conclude(inquiry, progress)
            if following is not None:
                return await self._end(inquiry, progress, following)
            wait = self._gap(inquiry, progress)

    async def _rest(self, inquiry: _Inquiry, wait: float) -> None:
        """Wait until the next poll is due. Responses to other requests may extend the wait."""
        while True:
            if wait > 0.0:
                await asyncio.sleep(min(wait, max(0.0, inquiry.deadline - self._clock.monotonic())))
            now = self._clock.monotonic()
            if now >= inquiry.deadline or inquiry.watch.is_due(now):
                return
            wait = inquiry.watch.next_delay(now)

    def _begin(self, record: Record, *, fresh: bool) -> _Inquiry:
        now = self._clock.monotonic()
        started = now if fresh else now - max(0.0, self._since_submission(record))  # the clock may have been set back
        return _Inquiry(
            record=record,
            watch=self._scheduler.watch(kind_of(record), started, fresh=fresh),
            deadline=now + self._timeout,
            fresh=fresh,
            trouble=backoff(self._rng, base=1.0, cap=15.0),
        )

    async def _ask(self, inquiry: _Inquiry) -> Progress:
        """Poll the request once, and return the response.

        Return ``Again`` after an unforeseen exception; raise the exception if it is the ``BUGS``-th in a row.
        """
        try:
            progress = await self._ask_once(inquiry)
        except RunnerError:
            raise
        except Exception as error:
            inquiry.bugs += 1
            if inquiry.bugs >= BUGS:
                raise
            return Again(fault=internal_fault(inquiry.record.id, error))
        inquiry.bugs = 0
        return progress

    async def _ask_once(self, inquiry: _Inquiry) -> Progress:
        request_id = inquiry.record.request_id or ""
        if not inquiry.by_status:
            progress = await self._api.result(request_id)
            if not isinstance(progress, NotYet | Gone):
                return progress
        progress = await self._api.status(request_id)
        inquiry.by_status = isinstance(progress, Unfinished)
        if isinstance(progress, Completed) and not progress.has_result:
            return await self._api.result(request_id)
        return progress

    def _conclude(self, inquiry: _Inquiry, progress: Progress) -> Record | None:
        """Return the record that follows from a response; None: poll again."""
        at = timestamp(self._clock.now())
        following = after_end(inquiry.record, progress, at)
        if following is not None and not self._may_follow(inquiry, progress, following):
            return following
        if isinstance(progress, Unfinished):
            inquiry.denials = 0
            inquiry.last = Fault(code=TIMEOUT, message=f"still {progress.state}")
            self._tell(inquiry, progress)
        return self._conclude_trouble(inquiry, progress, at)

    def _may_follow(self, inquiry: _Inquiry, progress: Progress, following: Record) -> bool:
        """Tell whether the output of a complete request may still come: some services store it a moment later."""
        if not isinstance(progress, Completed) or following.state is State.GENERATED:
            return False
        if inquiry.record.error is not None and inquiry.record.error.code == "no_output":
            return False  # an earlier run has waited already
        now = self._clock.monotonic()
        if inquiry.complete_since is None:
            inquiry.complete_since = now
        return now - inquiry.complete_since < LATE_SECONDS and now < inquiry.deadline

    def _tell(self, inquiry: _Inquiry, progress: Unfinished) -> None:
        """Log an unknown state the first time, and a changed position of the request in the queue."""
        if not progress.known and progress.state not in self._strange:
            self._strange.add(progress.state)
            log.warning("the API reports the unknown state %r; it counts as unfinished", progress.state[:100])
        if progress.queue_position is not None and progress.queue_position != inquiry.place:
            inquiry.place = progress.queue_position
            log.info("%s: position %d in the queue", inquiry.record.id, inquiry.place)

    def _conclude_trouble(self, inquiry: _Inquiry, progress: Progress, at: str) -> Record | None:
        if isinstance(progress, Again | NotYet | Gone | Denied):
            inquiry.last = progress.fault
        if isinstance(progress, Denied):
            inquiry.denials += 1
            if inquiry.denials >= DENIALS:
                return follow(inquiry.record, inquiry.record.state, at, error=progress.fault)
        if isinstance(progress, Gone) and self._age(inquiry) >= GRACE_SECONDS:
            fault = Fault(code="expired", message="the API does not know this request any more", http_status=404)
            return follow(inquiry.record, inquiry.record.state, at, error=fault)
        if self._clock.monotonic() >= inquiry.deadline:
            text = f"no final state within {self._timeout:g} s ({inquiry.last.message})"
            return follow(inquiry.record, inquiry.record.state, at, error=Fault(code=TIMEOUT, message=text))
        return None

    def _age(self, inquiry: _Inquiry) -> float:
        """Return the seconds since the submission.

        A request of an earlier run counts as old if its submission time cannot be read.
        """
        if inquiry.fresh:
            return self._clock.monotonic() - inquiry.watch.started
        return self._since_submission(inquiry.record)

    def _since_submission(self, record: Record) -> float:
        try:
            return self._clock.now() - epoch(record.submitted_at or "")
        except ValueError:
            return GRACE_SECONDS

    async def _end(self, inquiry: _Inquiry, progress: Progress, following: Record) -> Record:
        """Record the end of the request.

        The refusal of a request of an earlier run is not recorded yet, but added to ``RefusedRequests``: the token may
        be the reason.
        """
        self._learn(inquiry, progress)
        known = inquiry.record.error is not None and inquiry.record.error.code == "expired"
        if isinstance(progress, Gone | Denied) and not inquiry.fresh:
            if not known:
                self._refused_requests.add(inquiry.record, following)
            return inquiry.record
        self._refused_requests.refused_fresh += isinstance(progress, Denied)
        return await self._ledger.append(following)

    def _learn(self, inquiry: _Inquiry, progress: Progress) -> None:
        """Note the duration of the request by the API's clock. Our own clock would include the delay of the poll."""
        if isinstance(progress, Completed):
            inquiry.watch.finished(self._clock.monotonic(), progress.seconds)

    def _gap(self, inquiry: _Inquiry, progress: Progress) -> float:
        """Return the seconds until the next poll."""
        if isinstance(progress, Unfinished):
            now = self._clock.monotonic()
            inquiry.watch.unfinished(now, waits=progress.waits)
            return inquiry.watch.next_delay(now)
        wait = next(inquiry.trouble)
        return max(wait, progress.retry_after or 0.0) if isinstance(progress, Again) else wait


def after_end(record: Record, progress: Progress, at: str) -> Record | None:
    """Return the record that follows if ``progress`` says how the request ended; None: it says anything else."""
    match progress:
        case Completed(urls=urls, cost_usd=cost, finished_at=finished) if outputs := outputs_of(record, urls):
            ended = {"completed_at": finished or at, "cost_usd": cost}
            return follow(record, State.GENERATED, at, outputs=outputs, **ended)
        case Completed(has_result=True, cost_usd=cost):
            fault = Fault(code="no_output", message="the API reports completion without any output that has an address")
            return follow(record, record.state, at, cost_usd=cost, error=fault)
        case Ended(state=state, fault=fault, cost_usd=cost, finished_at=finished):
            return follow(record, state, at, error=fault, cost_usd=cost, completed_at=finished or at)
    return None


def outputs_of(record: Record, urls: tuple[str, ...]) -> tuple[Output, ...]:
    """Return the outputs of a request by their addresses, without inputs of the job that the API echoes."""
    return tuple(
        Output(url=recorded_address(url, number)) for number, url in enumerate(urls) if not is_input(url, record.inputs)
    )


class RefusedRequests:
    """Requests that were owed before this run and that the API now refuses.

    Many refusals at once indicate a different token, not lost requests.
    """

    def __init__(self, owed: int) -> None:
        """Start without refusals. ``owed``: purchases of earlier runs that are owed and not known to be lost."""
        self.owed = owed
        self.fresh = 0
        """Purchases of this run that were polled."""
        self.refused_fresh = 0
        """Purchases of this run that were refused."""
        self.verdicts: list[tuple[Record, Record]] = []

    def add(self, record: Record, following: Record) -> None:
        """Keep ``following``, the record to write if the token turns out not to be the reason."""
        self.verdicts.append((record, following))

    @property
    def token_changed(self) -> bool:
        """Return whether at least five requests, and most of those owed or polled, are refused."""
        refused = len(self.verdicts) + self.refused_fresh
        return refused >= 5 and refused * 2 > self.owed + self.fresh
