"""JSON Lines on standard error (``--log-format json``). The names of events and fields are stable.

Every object has ``at`` (UTC, ``2026-11-22T01:02:03.456Z``) and ``event``. The other fields depend on the event. A
field in brackets is present only if its value is known:

``run_started``
    ``manifest`` (its path, ``-`` for standard input), ``output``, ``version``
``manifest_warning``
    ``place`` (file:line:column), ``message``, ``advice``
``transition``
    A change of state that is on disk now, in the results log: ``id``, ``purchase``, ``state``, [``request_id``],
    [``cost_usd``], [``warning``], [``error``: ``code``, ``message``, ``retryable``, [``http_status``]]
``progress``
    Every 30 s: ``done``, ``skipped``, ``paid`` (not downloaded yet), ``in_flight``, ``queued``, ``failed``,
    ``cancelled``, ``unknown``, ``missing``, ``total`` (the sum of these nine), ``cost_usd``, ``reserved_usd``,
    [``budget_usd``, ``budget_spent_usd``], [``per_minute``], [``seconds_left``]
``concurrency``
    At the beginning and when the limit changes: ``limit`` (requests that may be in flight), ``in_flight``, and
    [``reason``], why it has this value with ``concurrency: auto``
``paused``
    Nothing is submitted for ``seconds``: ``reason``
``stopping``
    Nothing more is bought in this run: ``reason``, ``exit_code`` (the exit code that this reason alone leads to)
``log``
    Any other message: ``level`` (``info``, ``warning``, ``error``), ``message``
``run_finished``
    The last object: the fields of ``--json``, ``exit_code``, ``causes`` (``outcome``, ``code``, ``http_status``,
    ``count``, and the id of an ``example``), ``next`` (commands to type). If the command failed: ``exit_code``,
    ``error``, [``problems``, of a manifest]

No object holds a prompt, the token, or the address of an output (anyone who has such an address can get the picture).
With ``--quiet`` only events that need a person are written, and nothing if everything that was asked for is done.
"""

from __future__ import annotations

import json
from typing import TextIO

import msgspec

from runner.cli.display.events import Event, Severity
from runner.cli.display.progress import Snapshot
from runner.core.clock import timestamp
from runner.core.models import Json

PROGRESS_SECONDS = 30.0

FIELDS: dict[str, set[str]] = {
    "run_started": {"manifest", "output", "version"},
    "manifest_warning": {"place", "message", "advice"},
    "transition": {"id", "purchase", "state", "request_id", "cost_usd", "warning", "error"},
    "progress": {
        *("done", "skipped", "paid", "in_flight", "queued", "failed", "cancelled", "unknown", "missing", "total"),
        *("cost_usd", "reserved_usd", "budget_usd", "budget_spent_usd", "per_minute", "seconds_left"),
    },
    "concurrency": {"limit", "in_flight", "reason"},
    "paused": {"seconds", "reason"},
    "stopping": {"reason", "exit_code"},
    "log": {"level", "message"},
    "run_finished": {
        *("total", "done", "skipped", "failed", "cancelled", "unknown", "owed", "left", "missing"),
        *("cost_usd", "spent_usd", "seconds", "output", "results", "exit_code", "causes", "next", "error", "problems"),
        *("copies", "copies_failed"),
    },
}
"""Names of the fields that each event may have besides ``at`` and ``event``."""


class JsonRenderer:
    """Renderer of JSON objects for a program that follows the run."""

    tick_seconds = 1.0

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self.least = Severity.ALERT if quiet else Severity.STEP
        self._quiet = quiet
        self._next = float("-inf")
        self._limit: int | None = None

    def tell(self, event: Event) -> None:
        if event.weight < self.least and event.name != "manifest_warning":
            return
        self._write(event.at, event.name, dict(event.fields))

    def show(self, snapshot: Snapshot, now: float) -> None:
        if self._quiet or not snapshot.total:
            return
        if snapshot.concurrency is not None and snapshot.concurrency != self._limit:
            self._limit = snapshot.concurrency
            fields: dict[str, Json] = {"limit": snapshot.concurrency, "in_flight": snapshot.in_flight}
            if snapshot.concurrency_reason:
                fields["reason"] = snapshot.concurrency_reason
            self._write(now, "concurrency", fields)
        if now >= self._next:
            self._next = now + PROGRESS_SECONDS
            self._write(now, "progress", progress_fields(snapshot))

    def close(self) -> None:
        """Do nothing: this renderer leaves nothing to restore."""

    def _write(self, at: float, name: str, fields: dict[str, Json]) -> None:
        known = {key: value for key, value in fields.items() if key in FIELDS[name]}
        self._stream.write(json.dumps({"at": timestamp(at), "event": name, **known}) + "\n")
        self._stream.flush()


def progress_fields(snapshot: Snapshot) -> dict[str, Json]:
    """Return the fields of a ``progress`` event. Unknown values are left out; floats are rounded to 6 decimals."""
    fields: dict[str, Json] = {**msgspec.structs.asdict(snapshot), "total": snapshot.total}
    if snapshot.cap is not None:
        fields |= {"budget_usd": snapshot.cap.usd, "budget_spent_usd": snapshot.cap.spent_usd}
    wanted = {key: value for key, value in fields.items() if key in FIELDS["progress"] and value is not None}
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in wanted.items()}
