"""JSON Lines on standard error (``--log-format json``). These names are a promise.

Every object has ``at`` (UTC, ``2026-11-22T01:02:03.456Z``) and ``event``. Further fields by event; one in brackets is
there only when it is known:

``run_started``
    ``manifest`` (its path, ``-`` for standard input), ``output``, ``version``
``manifest_warning``
    ``place`` (file:line:column), ``message``, ``advice``
``transition``
    A line that is on the disk now, in the results manifest: ``id``, ``purchase``, ``state``, [``request_id``],
    [``cost_usd``], [``warning``], [``error``: ``code``, ``message``, ``retryable``, [``http_status``]]
``progress``
    Every 30 s: ``done``, ``skipped``, ``paid`` (not on disk yet), ``in_flight``, ``queued``, ``failed``,
    ``cancelled``, ``unknown``, ``missing``, ``total`` (the sum of these nine), ``cost_usd``, ``reserved_usd``,
    [``budget_usd``, ``budget_spent_usd``], [``per_minute``], [``seconds_left``]
``concurrency``
    At the beginning and when it changes: ``limit``, how many requests may be in flight, and ``in_flight``
``paused``
    Nothing is submitted for ``seconds``: ``reason``
``stopping``
    Nothing more is bought in this run: ``reason``, and ``exit_code``, which that alone would give
``log``
    Anything else: ``level`` (``info``, ``warning``, ``error``), ``message``
``run_finished``
    The last one. The fields of ``--json``, ``exit_code``, ``causes`` (``outcome``, ``code``, ``http_status``,
    ``count``, and the id of an ``example``), ``next`` (commands to type). Where the command could not do its work:
    ``exit_code``, ``error``, [``problems``, of a manifest]

No object holds a prompt, the token, or the address of an output (such an address is a key to the picture). With
``--quiet`` only what needs a person is written, and nothing where all that was asked for is done.
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
    "concurrency": {"limit", "in_flight"},
    "paused": {"seconds", "reason"},
    "stopping": {"reason", "exit_code"},
    "log": {"level", "message"},
    "run_finished": {
        *("total", "done", "skipped", "failed", "cancelled", "unknown", "owed", "left", "missing"),
        *("cost_usd", "spent_usd", "seconds", "output", "results", "exit_code", "causes", "next", "error", "problems"),
    },
}
"""Every event and what it may hold beside ``at`` and ``event``."""


class JsonRenderer:
    """Objects for a program that follows the run."""

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
            self._write(now, "concurrency", {"limit": snapshot.concurrency, "in_flight": snapshot.in_flight})
        if now >= self._next:
            self._next = now + PROGRESS_SECONDS
            self._write(now, "progress", progress_fields(snapshot))

    def close(self) -> None:
        """There is nothing to put back."""

    def _write(self, at: float, name: str, fields: dict[str, Json]) -> None:
        known = {key: value for key, value in fields.items() if key in FIELDS[name]}
        self._stream.write(json.dumps({"at": timestamp(at), "event": name, **known}) + "\n")
        self._stream.flush()


def progress_fields(snapshot: Snapshot) -> dict[str, Json]:
    """A snapshot as numbers; what is not known is left out."""
    fields: dict[str, Json] = {**msgspec.structs.asdict(snapshot), "total": snapshot.total}
    if snapshot.cap is not None:
        fields |= {"budget_usd": snapshot.cap.usd, "budget_spent_usd": snapshot.cap.spent_usd}
    wanted = {key: value for key, value in fields.items() if key in FIELDS["progress"] and value is not None}
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in wanted.items()}
