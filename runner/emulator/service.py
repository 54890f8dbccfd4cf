"""Service without HTTP and faults: accepts, reports, cancels and stores requests."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections import Counter
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from .fault_injection import FaultInjector, chance
from .journal import Journal, accepted_event, accepted_request, open_journal
from .queue import Fate, Queue, Request
from .responses import Answer, ResponseBuilder, no_such_request, refusal, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .catalogue import Model
    from .options import Options


PLENTY = 100_000.0
"""Balance in USD if the options give none."""
_LONGEST = 64 * 1024
"""Maximum characters of an input's text that is kept."""


def fingerprint(model_id: str, given: object) -> str:
    """Return a digest of model and inputs, independent of the order of the inputs."""
    text = f"{model_id}\n{json.dumps(given, sort_keys=True)}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def shortened(given: Any) -> Any:
    """Return ``given`` with long texts cut, since whole pictures as inputs would fill memory and journal."""
    if isinstance(given, dict):
        return {name: shortened(value) for name, value in given.items()}
    if isinstance(given, list):
        return [shortened(value) for value in given]
    if not isinstance(given, str) or len(given) <= _LONGEST:
        return given
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{given[:64]}… ({len(given):,} characters, sha256 {digest})"


class Service:
    """All requests, and the responses about them."""

    def __init__(self, options: Options, dice: FaultInjector, now: Callable[[], float]) -> None:
        self.requests: dict[str, Request] = {}
        self.accepted: Counter[str] = Counter()
        """Number of accepted requests for each fingerprint."""
        self.peak_in_flight = 0
        self.teller = ResponseBuilder(options)
        self._options = options
        self._dice = dice
        self._now = now
        self._queue = Queue(options.workers)
        self._journal = Journal()
        self._spent = 0
        """Millionths of a USD paid from the balance at acceptance; a cancellation returns the amount."""

    def open(self, folder: Path | None) -> None:
        """Restore the requests of an earlier process from the journal, and write to the journal from now on.

        Raises ``OSError``, and ``ValueError`` for a journal that cannot be read.
        """
        self._journal, events = open_journal(folder)
        for number, event in enumerate(events, 1):
            try:
                self._replay(event)
            except (KeyError, TypeError) as error:
                raise ValueError(f"{folder}: event {number} cannot be taken up: {error!r}") from error
        started = {"event": "started", "at": self._now(), "workers": self._options.workers}
        self._journal.write(started)
        self._replay(started)

    def close(self) -> None:
        self._journal.close()

    def request(self, request_id: str) -> Request | None:
        """Return a request in its current state; ``None``: unknown, not visible yet, or forgotten."""
        request = self.held(request_id)
        if request is None or request.forgotten:
            return None
        return None if self._now() - request.submitted < self._options.not_found_seconds else request

    def held(self, request_id: str) -> Request | None:
        """Return a request in its current state, even if hidden from the API: the storage still has its files."""
        self._queue.advance(self._now())
        return self.requests.get(request_id)

    def accept(self, model: Model, given: dict[str, Any], insets: tuple[bytes, ...] = ()) -> Answer:
        """Create a request, and write it to the journal before the response. ``insets`` are kept of its pictures.

        The submission is rejected if too many requests are in flight, or if the balance is too low.
        """
        self._queue.advance(self._now())
        if self._options.max_in_flight is not None and len(self._queue) >= self._options.max_in_flight:
            return refusal(429, 429000, "too many requests at once")
        if self._options.balance is not None and (self.teller.price(model, given) or 0) > self.balance_usd():
            return refusal(402, 400002, "no balance left")
        mark = fingerprint(model.model_id, given)
        key = f"{mark}/{self.accepted[mark]}"
        request = Request(
            request_id=str(uuid.uuid4()),
            model=model,
            input=shortened(given),
            fingerprint=mark,
            key=key,
            submitted=self._now(),
            seconds=self._seconds(key),
            fate=self._fate(mark, given["prompt"]),
            insets=insets,
        )
        self._journal.write(accepted_event(request))
        self._take_in(request)
        return said(self.teller.accepted(request.request_id))

    def pretend(self) -> Answer:
        """Return the response of an accepted submission, without accepting one."""
        return said(self.teller.accepted(str(uuid.uuid4())))

    def status(self, request_id: str) -> Answer:
        """Return the state of a request."""
        request = self.request(request_id)
        return no_such_request() if request is None else said(self.teller.state(request, self._position(request)))

    def result(self, request_id: str, *, with_cost: bool) -> Answer:
        """Return the outputs of a request, or its state if there are none yet."""
        request = self.request(request_id)
        if request is None:
            return no_such_request()
        if request.over:
            return said(self.teller.outcome(request, with_cost=with_cost))
        if (status := self._options.unfinished_status) >= 400:
            return refusal(status, status * 1000 + 9, f"the request is still {request.state}")
        return said(self.teller.progress(request, self._position(request)))

    def cancel(self, request_id: str, *, really: bool = True) -> Answer:
        """Cancel a request that still waits; ``really`` False: only respond that it cannot be cancelled."""
        request = self.request(request_id)
        if request is None:
            return no_such_request()
        now = self._now()
        cancelled = really and self._call_off(request, now)
        if cancelled:
            self._journal.write({"event": "cancelled", "at": now, "request_id": request_id})
        outcome = "cancelled" if cancelled else "not_cancellable"
        # As in the documentation, the status is that of the call: always ``completed``, whatever the outcome.
        return said({"request_id": request_id, "status": "completed", "outcome": outcome}, 202)

    def forget(self, request: Request) -> None:
        """Treat a request as unknown from now on."""
        request.forgotten = True
        self._journal.write({"event": "forgotten", "at": self._now(), "request_id": request.request_id})

    def listing(self) -> list[dict[str, Any]]:
        """Return all requests in order of acceptance."""
        self._queue.advance(self._now())
        return [self.teller.row(request) for request in self.requests.values()]

    def charged_usd(self) -> float:
        """Return the USD billed so far."""
        self._queue.advance(self._now())
        return round(sum(self.teller.charged(request) or 0 for request in self.requests.values()), 6)

    def balance_usd(self) -> float:
        """Return the remaining balance in USD."""
        given = PLENTY if self._options.balance is None else self._options.balance
        return round(given - self._spent / 1e6, 6)

    def balance(self) -> Answer:
        """Return the balance in the form of the account service."""
        usd = self.balance_usd()
        return said({"balance_usd": usd, "balance_microdollars": round(usd * 1e6), "currency": "USD"})

    def _call_off(self, request: Request, at: float) -> bool:
        due = self.teller.due(request)
        cancelled = self._queue.cancel(request, at)
        self._spent -= _microdollars(due) if cancelled else 0
        return cancelled

    def _position(self, request: Request) -> int | None:
        return self._queue.position(request) if request.state == "in_queue" else None

    def _seconds(self, key: str) -> float:
        sigma = self._options.spread
        if not sigma:
            return self._options.seconds
        # Shifted, so that the mean stays ``seconds``.
        normal = NormalDist(-sigma * sigma / 2, sigma)
        return self._options.seconds * math.exp(normal.inv_cdf(max(chance(self._options.seed, "seconds", key), 1e-9)))

    def _fate(self, mark: str, prompt: str) -> Fate | None:
        fault = self._dice.strike("job", mark, prompt)
        if fault is None:
            return None
        if fault.kind == "cancel":
            return Fate(state="cancelled", word=fault.text or "cancelled")
        message = fault.message or "the model could not finish this request"
        code = "" if fault.kind == "message_only" else fault.text or "model_error"
        return Fate(state="failed", word="failed", code=code, message=message)

    def _take_in(self, request: Request) -> None:
        self.requests[request.request_id] = request
        self.accepted[request.fingerprint] += 1
        self._spent += _microdollars(self.teller.due(request))
        self._queue.add(request)
        self.peak_in_flight = max(self.peak_in_flight, len(self._queue))

    def _replay(self, event: dict[str, Any]) -> None:
        if event["event"] == "accepted":
            self._take_in(accepted_request(event))
        elif event["event"] == "started":
            self._queue.resize(event["workers"], event["at"])
        elif event["event"] == "cancelled":
            self._call_off(self.requests[event["request_id"]], event["at"])
        else:
            self.requests[event["request_id"]].forgotten = True


def _microdollars(usd: float) -> int:
    return round(usd * 1e6)
