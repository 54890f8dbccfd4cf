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
"""Alerts that stay among the last events when newer events push the others out."""


class Severity(IntEnum):
    """Importance of an event; a renderer skips events below its ``least``."""

    STEP = 0
    """Shown with ``--verbose``, and in JSON Lines."""
    NEWS = 1
    """Shown in the live display as well."""
    NOTICE = 2
    """Shown in a log file as well."""
    ALERT = 3
    """Needs a person; shown with ``--quiet`` as well."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event: ``text`` for a person, ``fields`` for a program."""

    at: float
    """Seconds since the epoch."""
    name: str
    text: str
    weight: Severity = Severity.NOTICE
    cause: str = ""
    """Key that events with the same cause share."""
    fields: Mapping[str, Json] = msgspec.field(default_factory=dict)


class LastEvents:
    """The few events that fit under a progress bar. Other events do not push out alerts."""

    def __init__(self) -> None:
        self._news: deque[tuple[int, Event]] = deque(maxlen=LAST_EVENTS)
        self._alerts: deque[tuple[int, Event]] = deque(maxlen=LAST_ALERTS)
        self._count = 0

    def add(self, event: Event) -> None:
        self._count += 1
        (self._alerts if event.weight is Severity.ALERT else self._news).append((self._count, event))

    def __iter__(self) -> Iterator[Event]:
        """Yield at most ``LAST_EVENTS`` events, the latest last."""
        room = LAST_EVENTS - len(self._alerts)
        news = list(self._news)[-room:] if room else []
        return (event for _, event in sorted(chain(news, self._alerts), key=lambda pair: pair[0]))


def event_of(record: Record, at: float) -> Event:
    """Return the event of a transition. It never holds a prompt, the address of an output, or the token."""
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
    State.UNKNOWN: "unknown outcome, may have been charged",
    State.RELEASED: "refused, not charged",
}


def _words(record: Record) -> str:
    if record.owed and record.error is not None:
        return "stuck, paid but unavailable" if record.stuck else "paid, not downloaded yet"
    if record.state is State.SUBMITTED:
        return f"submitted as request {record.request_id}"
    warning = f", with {warning_words(record.warning)}" if record.warning else ""
    return _WORDS.get(record.state, record.state.value) + warning + _missing(record)


def _missing(record: Record) -> str:
    """Return the number of unavailable outputs, and the error of the first one; empty unless the result is partial."""
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
"""Severity by state."""


def severity_of(record: Record) -> Severity:
    """Return the severity of a transition."""
    if record.error is not None and record.owed:
        return Severity.ALERT if record.stuck else Severity.NOTICE
    weight = _WEIGHTS[record.state]
    return Severity.NOTICE if record.warning and weight is Severity.NEWS else weight
