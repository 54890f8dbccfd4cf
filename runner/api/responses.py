"""Interpretation of the API's answers: status, headers and bytes in, one of a closed set of outcomes out. No I/O.

Each function answers one question, and the outcome contains all that the caller may know:

* ``read_submission``: was something bought?   ``Accepted | Refused | Unreadable``
* ``read_progress``: how is the request doing?  ``Unfinished | Completed | Ended | Gone | Denied | NotYet | Again``
* ``read_cancel``: was it cancelled?            ``Cancelling | Again``

The rule of money: a submission counts as *not bought* only on proof. Proof is 401, 402, 403 or 429; 503 with
``Retry-After`` or an ``error_code``; the API's own JSON error under another 4xx except 408, or under 200, unless its
code is a 5xxxxx. Proof is read strictly; a ``request_id`` and a result are read as tolerantly as possible. Anything
else that was sent without a readable answer may have been bought. An answer with a usable ``request_id`` is an accepted
request, whatever else the answer contains.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from runner.api.fields import (
    LONGEST_WORD,
    Answer,
    error_code,
    parse_object,
    read_explanation,
    read_fault,
    read_generation_fault,
    read_moment,
    read_object,
    read_request_id,
    read_retry_after,
    read_text,
    read_usd,
)
from runner.api.outputs import find_outputs
from runner.api.wrapped import find_wrapped_answer, find_wrapped_id
from runner.core.clock import epoch
from runner.core.models import Fault, Json, State

_QUEUED = frozenset({"in_queue", "pending", "waiting"})
_RUNNING = frozenset({"in_progress", "starting", "processing"})
_COMPLETED = frozenset({"completed", "succeeded"})
_CANCELLED = frozenset({"cancelled", "canceled"})


class RefusalCause(StrEnum):
    """Cause of a refused submission; each has one consequence."""

    BUSY = "busy"
    """429, 503, no connection: every worker pauses, no job fails."""
    TOKEN = "token"  # noqa: S105 - a cause, not a secret
    """401, 403, 400004: buying stops."""
    BALANCE = "balance"
    """402, 400002: buying stops."""
    MODEL = "model"
    """404, 400001: buying from this model stops."""
    INPUT = "input"
    """The input was refused: this job fails."""


_CAUSES = {
    401: RefusalCause.TOKEN,
    402: RefusalCause.BALANCE,
    403: RefusalCause.TOKEN,
    404: RefusalCause.MODEL,
    429: RefusalCause.BUSY,
    503: RefusalCause.BUSY,
}
"""Causes by HTTP status, for answers without a more specific code; any other 4xx blames the input."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    request_id: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Submission that was certainly not bought."""

    cause: RefusalCause
    fault: Fault
    retry_after: float | None = None


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """Submission that may have been bought: never repeated unless the user says so."""

    fault: Fault


Submission = Accepted | Refused | Unreadable


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    state: str
    known: bool = True
    queue_position: int | None = None

    @property
    def waits(self) -> bool:
        """Return True if the state shows the request in the API's queue."""
        return self.state in _QUEUED


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    urls: tuple[str, ...]
    """Addresses of the outputs; ``data:`` for files inside the answer."""
    has_result: bool = True
    """False if the answer was a /status, which contains no output."""
    cost_usd: float | None = None
    finished_at: str | None = None
    seconds: float | None = None
    """Seconds from creation to the end by the API's own clock; None: the API does not give both times."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Request that failed or was cancelled, according to the API."""

    state: State
    fault: Fault
    cost_usd: float | None = None
    finished_at: str | None = None


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """404: the API does not know the request (any more, or not yet)."""

    fault: Fault


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """401, 403: the API does not show the request to this token."""

    fault: Fault


class NotYet(msgspec.Struct, frozen=True, kw_only=True):
    """Another 4xx from /result: some services answer so while a request is unfinished; poll /status instead."""

    fault: Fault


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """Call that told nothing; it costs nothing and may be repeated."""

    fault: Fault
    retry_after: float | None = None


class Cancelling(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel request that the API understood; ``agreed`` is True if the API says that the request was cancelled."""

    agreed: bool


Progress = Unfinished | Completed | Ended | Gone | Denied | NotYet | Again


def read_submission(answer: Answer) -> Submission:
    """Return whether a submission was bought, was not, or may have been, according to its answer."""
    document = parse_object(answer.body)
    request_id = read_request_id((document or read_object(answer.body)).get("request_id"))
    if request_id is not None:
        return Accepted(request_id=request_id)
    fault = read_fault(answer.status, document)
    cause = _refusal(answer, document)
    if cause is None:
        wrapped = find_wrapped_id(answer.body) if 200 <= answer.status < 300 else None
        return Unreadable(fault=fault) if wrapped is None else Accepted(request_id=wrapped)
    return Refused(cause=cause, fault=fault, retry_after=read_retry_after(answer))


def _refusal(answer: Answer, document: dict[str, Json]) -> RefusalCause | None:
    """Return the cause for which nothing was bought; None: the answer is no proof."""
    code = error_code(document)
    if not _is_proof(answer, code, document):
        return None
    return _cause_of_code(code) or _CAUSES.get(answer.status, RefusalCause.INPUT)


def _is_proof(answer: Answer, code: str, document: dict[str, Json]) -> bool:
    match answer.status:
        case 401 | 402 | 403 | 429:
            return True
        case _ if not answer.whole:
            return answer.status == 503 and answer.retry_after is not None
        case 503:
            return bool(code) or answer.retry_after is not None
        case 200:
            return bool(code) and not _is_service_code(code)
        case status if 400 <= status < 500 and status != 408:
            return bool(code or read_explanation(document)) and not _is_service_code(code)
    return False


def _cause_of_code(code: str) -> RefusalCause | None:
    """Return the cause of a documented code, or of one in the same scheme by its first three digits."""
    exact = {"400001": RefusalCause.MODEL, "400002": RefusalCause.BALANCE, "400004": RefusalCause.TOKEN}
    scheme = {
        "401": RefusalCause.TOKEN,
        "402": RefusalCause.BALANCE,
        "403": RefusalCause.TOKEN,
        "408": RefusalCause.BUSY,
        "429": RefusalCause.BUSY,
    }
    return exact.get(code) or (scheme.get(code[:3]) if len(code) == 6 else None)


def _is_service_code(code: str) -> bool:
    """Tell whether ``code`` means trouble at the service: 5xxxxx, or a bare HTTP 5xx in its place."""
    return re.fullmatch(r"5\d{2}(\d{3})?", code, re.ASCII) is not None


def read_progress(answer: Answer, request_id: str, *, from_status: bool = False) -> Progress:
    """Return the progress of the polled request from an answer of /result, or of /status with ``from_status``."""
    document = read_object(answer.body)
    if 200 <= answer.status < 300 and "request_id" not in document:
        document = find_wrapped_answer(answer.body, request_id) or document
    code = error_code(document)
    if 200 <= answer.status < 300 and (owner := _other_owner(document, request_id)):
        text = f"the answer is about request {owner[:LONGEST_WORD]!r}, not {request_id!r}"
        return Again(fault=Fault(code="other_request", message=text))
    if answer.status in (401, 403) or code in ("400004", "403001"):
        return Denied(fault=read_fault(answer.status, document))
    if answer.status == 404 or code == "404001":
        return Gone(fault=read_fault(answer.status, document))
    status, state = answer.status, document.get("status")
    if 200 <= status < 300:
        if isinstance(state, str):
            return _read_state(state.strip().lower(), document, from_status=from_status)
        status = int(code[:3]) if re.fullmatch(r"4\d{5}", code, re.ASCII) else status  # an error sent with status 200
    fault = read_fault(answer.status, document)
    if 400 <= status < 500 and status not in (408, 429) and not from_status:
        return NotYet(fault=fault)
    return Again(fault=fault, retry_after=read_retry_after(answer))


def _other_owner(document: dict[str, Json], request_id: str) -> str:
    """Return the request that an answer names instead of the polled one; empty if it names that one or none."""
    named = document.get("request_id")
    owner = named if isinstance(named, str) else read_request_id(named) or ""
    return "" if owner == request_id else owner


def read_cancel(answer: Answer, request_id: str) -> Cancelling | Again:
    """Return the outcome of a cancel call. The answer proves nothing, so the state is polled afterwards."""
    document = read_object(answer.body)
    mine = not _other_owner(document, request_id)
    said = (read_text(document.get(key)) for key in ("outcome", "status"))
    words = {word.strip().lower() for word in said if word}
    if 200 <= answer.status < 300 and not error_code(document) and mine and words:
        return Cancelling(agreed=bool(words & _CANCELLED) and "not_cancellable" not in words)
    return Again(fault=read_fault(answer.status, document), retry_after=read_retry_after(answer))


def _read_state(state: str, document: dict[str, Json], *, from_status: bool) -> Progress:
    cost, finished = read_usd(document.get("cost")), read_moment(document.get("finished_at"))
    if state in _COMPLETED:
        urls = find_outputs(document.get("output"))
        return Completed(
            urls=urls,
            has_result=not from_status or bool(urls),
            cost_usd=cost,
            finished_at=finished,
            seconds=_read_seconds(document.get("created_at"), finished),
        )
    if state == "failed":
        return Ended(state=State.FAILED, fault=read_generation_fault(document), cost_usd=cost, finished_at=finished)
    if state in _CANCELLED:
        fault = Fault(code="cancelled", message="cancelled at the API", retryable=True)
        return Ended(state=State.CANCELLED, fault=fault, cost_usd=cost, finished_at=finished)
    position = document.get("queue_position")
    return Unfinished(
        state=state[:LONGEST_WORD],
        known=state in _QUEUED | _RUNNING,
        queue_position=position if type(position) is int and position >= 0 else None,
    )


def _read_seconds(created: Json, finished: Json) -> float | None:
    """Return the seconds between two timestamps of one answer; None: they are not consistent."""
    try:
        seconds = epoch(created) - epoch(finished)
    except (ValueError, TypeError, OverflowError):
        return None
    return -seconds if seconds <= 0 else None


def read_entry(answer: Answer, model: str) -> dict[str, Json] | None:
    """Return the catalogue's entry of ``model``; empty: there is none; None: the answer does not tell."""
    document = parse_object(answer.body)
    code = error_code(document)
    if answer.status == 404 or (code in ("400001", "404001") and answer.status in (200, 400)):
        return {}
    about = answer.status == 200 and not code and document.get("model_id", model) == model
    return document if about and document else None
