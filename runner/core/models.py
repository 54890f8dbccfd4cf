"""Models: the frozen values that every package uses. A change is a new value (``msgspec.structs.replace``).

Words: a *job* is ours, a *request* theirs; a *purchase* is one job's try at buying; an *output* is a URI, a
*file* is on disk. *Owed* means bought and not yet delivered.

Values are Structs: there are many, and a dataclass takes a millisecond of every start to define. What callers of the
library set or read whole (``RunOptions``, ``Report``, ``Budget``, ``ManifestError.problems``) are dataclasses.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from runner.core.text import CONTROL

Json = Any  # a JSON value: None, bool, int, float, str, or lists and string-keyed dicts of these


class State(StrEnum):
    """Where a purchase stands; the table of the README says what a later run does with each."""

    SUBMITTING = "submitting"
    RELEASED = "released"
    SUBMITTED = "submitted"
    GENERATED = "generated"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


OWED = frozenset({State.SUBMITTED, State.GENERATED})
OPEN = frozenset({State.SUBMITTING, State.UNKNOWN})
"""Perhaps bought: an intent that nothing followed means the same as ``unknown``."""

MAX_FAULT = 2000
"""Characters that a fault's text may have."""

STUCK_CODES = frozenset({"expired", "no_output", "wrong_output"})
"""Errors of owed purchases that do not heal by themselves and wait for the user's word."""
TIMEOUT = "timeout"
"""The code of a request that did not end in its time."""
LOST = "lost"
"""The code of a purchase that the user has given up: no try of the service's, and no answer to a redo."""
NO_CODE = "generation_failed"
"""The code of a failed request of which the API says no code: at most one more purchase is made of it."""
DISK = "disk"
"""The code of a purchase that this machine's disk did not take; nothing more should be bought."""
INTERNAL = "internal"
"""The code of a purchase whose steps met a bug of the runner's own; the exit code of such a run is 70."""
OUR_CODES = STUCK_CODES | {TIMEOUT, LOST, DISK, INTERNAL}
"""Codes that decide something. The API may use the same words for its own errors: ``api/fields`` tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position in a text, counted from 1 in characters; ``line`` 0 means the file as a whole."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault of a manifest: where it is, what is wrong, and what would be right."""

    place: Position
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f" ({self.advice})" if self.advice else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that a folder may cost in USD: ever, or in a day of the API's clock."""

    usd: float
    per_day: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """When to stop buying because too much fails: at ``count`` failures, or at ``share`` (0 to 1) of what finished."""

    count: int | None = None
    share: float | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One picture (or set) that the manifest asks for, with everything that is sent and where it goes."""

    id: str
    model: str
    inputs: dict[str, Json]
    """What is sent, defaults of a bundled schema filled in."""
    fingerprint: str
    """``sha256:…`` over model and inputs."""
    file: str
    """Where the result goes: a stem relative to the output folder, with ``/`` and without an extension."""
    numbered_at: tuple[int, ...] = ()
    """Where in ``file``, in characters, the number of the output stands (1 there); else further ones get an ending."""
    line: int = 0
    column: int = 0
    checked: bool = False
    """Whether the inputs were read by a live schema, which may not be there the next time."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a purchase is where it is: the ``error`` of a record. No control characters, whoever's words these are."""

    code: str
    message: str
    retryable: bool = False
    http_status: int | None = None

    def __post_init__(self) -> None:
        for name in ("code", "message"):
            text = CONTROL.sub(" ", getattr(self, name)[:MAX_FAULT])
            msgspec.structs.force_setattr(self, name, text)


class Output(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of a request: its URI at the storage and, once it is known, the file that holds it."""

    url: str
    path: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    moved_from: str | None = None
    """The path that the file is being renamed from; the move is repeated if ``path`` is not there."""
    unchecked: bool = False
    """Whether the file is of a kind of which only the length is known to be right."""
    error: Fault | None = None
    """Why there is no file, where it could not be had."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the results manifest: a purchase as it stood at ``at``. The last line of a purchase wins."""

    id: str
    purchase: int
    state: State
    at: str
    api: str
    manifest: str
    model: str
    inputs: dict[str, Json]
    fingerprint: str
    file: str
    numbered_at: tuple[int, ...] = ()
    reserved_usd: float | None = None
    request_id: str | None = None
    cost_usd: float | None = None
    day: str | None = None
    """The API's day (UTC) when the purchase was made; a daily budget counts by it."""
    submitted_at: str | None = None
    completed_at: str | None = None
    outputs: tuple[Output, ...] = ()
    error: Fault | None = None
    warning: str | None = None
    renamed_from: str | None = None
    """The id that this purchase was recorded under before; that id's line is superseded."""
    renamed_purchase: int | None = None
    """Its number under that id, where it has another one here."""
    restored_from: int | None = None
    """The purchase whose files this line puts in force again; it was paid there."""
    trusted_hosts: tuple[str, ...] = ()
    max_file_bytes: int | None = None
    max_pixels: int | None = None
    """What pictures may have; None: the default."""
    strict_size: bool = False
    checked: bool = False
    """Whether the inputs were read by a live schema; without it the same manifest may look different."""
    intended_at: str | None = None
    """When the intent was written, on a purchase whose outcome could not be read."""
    rebuy: bool = False
    """The user's word on an open question: it stays as it is and counts as spent, and the job is bought anew."""
    redo: int = 0
    """On a done purchase: the number of the redo that chose its job; the purchase which that makes is ``redone``."""
    redo_chosen: bool = False
    """With the last job that its redo chose: from this line on that redo buys, and chooses no more."""
    redo_closed: bool = False
    """With any one of its marks: the redo is over."""
    same_apis: tuple[str, ...] = ()
    """Addresses of the API that the user has said to be one service; one line says so for the whole folder."""
    redone: int = 0
    """The number of the redo that made this purchase; on a mark of the same number: that mark counts no more."""

    def stem(self, number: int) -> str:
        """Where output ``number`` (from 1) goes, without an extension: ``mug``, ``mug-2`` or what ``file`` asks for."""
        if not self.numbered_at:
            return self.file if number == 1 else f"{self.file}-{number}"
        ends = (0, *(place + 1 for place in self.numbered_at))
        parts = [self.file[end:place] for end, place in zip(ends, (*self.numbered_at, None), strict=True)]
        return str(number).join(parts)

    @property
    def owed(self) -> bool:
        return self.state in OWED

    @property
    def stuck(self) -> bool:
        return self.error is not None and self.owed and self.error.code in STUCK_CODES

    @property
    def open(self) -> bool:
        return self.state in OPEN

    @property
    def question(self) -> bool:
        """Tell whether it waits for the user's word: perhaps bought, or stuck, and not passed over by ``rebuy``."""
        return (self.open or self.stuck) and not self.rebuy


def kind_of(source: Job | Record) -> Hashable:
    """What those have in common that should cost the same and take about as long: the model, and width and height."""
    width, height = source.inputs.get("width"), source.inputs.get("height")
    return source.model, width if isinstance(width, int) else None, height if isinstance(height, int) else None


MOST_USD = 1e9
"""Nothing that is bought or reserved here costs more: beyond it a number is damage, and no sum could be trusted."""


REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


MAX_OUTPUTS = 1000
"""More URIs than any model gives; what comes beyond is not looked at."""


PARTIAL = "partial"
"""The warning of a done purchase some of whose outputs could not be had: each of them has its ``error``."""


MAX_AUTO_CONCURRENCY = 256


EMULATOR = "emulator"
"""What the results manifest calls the emulator inside the process, whose port changes with every run."""
