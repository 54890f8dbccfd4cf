"""Events of a run: as text, as fields, and with a severity."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from enum import IntEnum
from itertools import chain

import msgspec

from runner.cli.console import plain
from runner.core.models import PARTIAL, Json, Record, State
from runner.engine.summary import warning_words

LAST_EVENTS = 4
LAST_ALERTS = 2
"""So many of the last events may be older ones that need a person."""


class Severity(IntEnum):
    """Who should hear of an event."""

    STEP = 0
    """Whoever asks for everything."""
    NEWS = 1
    """Whoever is looking."""
    WORD = 2
    """Whoever reads the log."""
    ALERT = 3
    """It needs a person."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, in words and, for a program, in ``fields``."""

    at: float
    """Seconds since the epoch."""
    name: str
    text: str
    weight: Severity = Severity.WORD
    cause: str = ""
    """What events of the same trouble have in common."""
    fields: Mapping[str, Json] = msgspec.field(default_factory=dict)


class LastEvents:
    """The few events that fit under a progress bar. What needs a person is not pushed out by what does not."""

    def __init__(self) -> None:
        self._news: deque[tuple[int, Event]] = deque(maxlen=LAST_EVENTS)
        self._alerts: deque[tuple[int, Event]] = deque(maxlen=LAST_ALERTS)
        self._count = 0

    def add(self, event: Event) -> None:
        self._count += 1
        (self._alerts if event.weight is Severity.ALERT else self._news).append((self._count, event))

    def __iter__(self) -> Iterator[Event]:
        """At most ``LAST_EVENTS``, the latest last."""
        room = LAST_EVENTS - len(self._alerts)
        news = list(self._news)[-room:] if room else []
        return (event for _, event in sorted(chain(news, self._alerts), key=lambda pair: pair[0]))


def event_of(record: Record, at: float) -> Event:
    """What a transition is for a person and for a program: never a prompt, an output's address, or the token."""
    error = record.error
    why = plain(error.message, record) if error is not None else ""
    fields: dict[str, Json] = {"id": record.id, "purchase": record.purchase, "state": record.state.value}
    optional = {"request_id": record.request_id, "cost_usd": record.cost_usd, "warning": record.warning}
    fields |= {name: value for name, value in optional.items() if value is not None}
    if error is not None:
        known = {"code": error.code, "message": why, "retryable": error.retryable, "http_status": error.http_status}
        fields["error"] = {name: value for name, value in known.items() if value is not None}
    return Event(
        at=at,
        name="transition",
        text=f"{record.id}: {_words(record)}" + (f" ({plain(error.code)[:40]}): {why}" if error is not None else ""),
        weight=severity_of(record),
        cause=f"{record.state} {error.code}" if error is not None else record.state.value,
        fields=fields,
    )


_WORDS = {
    State.UNKNOWN: "may have been bought, its answer was lost",
    State.RELEASED: "refused, nothing was bought",
}


def _words(record: Record) -> str:
    if record.owed and record.error is not None:
        return "stuck" if record.stuck else "paid, and not on disk yet"
    if record.state is State.SUBMITTED:
        return f"submitted as request {record.request_id}"
    warning = f", with {warning_words(record.warning)}" if record.warning else ""
    return _WORDS.get(record.state, record.state.value) + warning + _missing(record)


def _missing(record: Record) -> str:
    """Why the first output that is missing could not be had."""
    if record.warning != PARTIAL:
        return ""
    faults = [output.error for output in record.outputs if output.error is not None]
    return f" ({len(faults)} of {len(record.outputs)}): {plain(faults[0].message, record)}" if faults else ""


_WEIGHTS = dict.fromkeys(State, Severity.STEP) | {
    State.DONE: Severity.NEWS,
    State.FAILED: Severity.ALERT,
    State.CANCELLED: Severity.ALERT,
    State.UNKNOWN: Severity.ALERT,
}
"""A table: on Python 3.11 each word of an enumeration costs more than a look at it, and every line passes here."""


def severity_of(record: Record) -> Severity:
    """Who should hear of a transition."""
    if record.error is not None and record.owed:
        return Severity.ALERT if record.stuck else Severity.WORD
    weight = _WEIGHTS[record.state]
    return Severity.WORD if record.warning and weight is Severity.NEWS else weight
