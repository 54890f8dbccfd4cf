"""Models: the frozen values that every package uses. A change makes a new value (``msgspec.structs.replace``).

Terms: a *job* is an entry of the manifest, a *request* is a call accepted by the API. A *purchase* is one attempt of a
job to buy. An *output* is a URI, a *file* is on disk. *Owed* means paid and not downloaded yet.

Most values are Structs, because each dataclass adds a millisecond to every start. Values that callers of the library
set or read (``RunOptions``, ``Report``, ``Budget``, ``ManifestError.problems``) are dataclasses.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from runner.core.copies import CopyFile, CopyRecipe, at_places
from runner.core.text import CONTROL

Json = Any  # a JSON value: None, bool, int, float, str, or lists and string-keyed dicts of these


class State(StrEnum):
    """State of a purchase. The page ``money`` of the guide lists what a later run does in each state."""

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
"""States of a purchase that may have been paid. An intent without a later record means the same as ``unknown``."""

MAX_FAULT = 2000
"""Maximum length of the texts of a ``Fault``, in characters."""

UNDELIVERABLE = "undeliverable"
"""Code of a purchase whose files were wrong or gone in two runs."""
STUCK_CODES = frozenset({"expired", "no_output", "wrong_output", UNDELIVERABLE})
"""Errors of owed purchases that do not resolve by themselves and wait for the user's decision."""
TIMEOUT = "timeout"
"""Code of a request that did not end in time."""
UNEXPLAINED = "generation_failed"
"""Code of a failure for which the API gives no code."""
LOST = "lost"
"""Code of a purchase that the user has given up. The purchase counts neither as an attempt of the service nor as an
answer to a redo."""
DISK = "disk"
"""Code of a purchase whose files could not be written to this machine's disk; nothing more should be bought."""
INTERNAL = "internal"
"""Code of a purchase that met a bug in the runner; the exit code of such a run is 70."""
ITS_OWN_CODES = STUCK_CODES | {"bad_file", "too_large", "untrusted_host", "file_in_the_way", INTERNAL}
"""Errors of owed purchases that concern one purchase alone, not the storage or the network."""
OUR_CODES = STUCK_CODES | {TIMEOUT, LOST, DISK, INTERNAL}
"""Codes that the runner acts on. The API may use the same words for its errors; ``api/fields`` separates the two."""


_FILE_BYTES = re.compile(r"base64,[A-Za-z0-9+/=_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Position in a text, counted from 1 in characters; ``line`` 0 means the whole file."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of a manifest: its position, a description, and advice."""

    place: Position
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f" ({self.advice})" if self.advice else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Maximum cost of an output folder in USD: in total, or in a day by the API's clock."""

    usd: float
    per_day: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Limit of failures at which buying stops: ``count`` failures, or ``share`` (0 to 1) of the finished jobs."""

    count: int | None = None
    share: float | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One picture (or set of pictures) of the manifest, with all inputs to send and the path of the result."""

    id: str
    model: str
    inputs: dict[str, Json]
    """Inputs to send, including the defaults of a bundled schema."""
    fingerprint: str
    """``sha256:…`` over model and inputs."""
    file: str
    """Path of the result relative to the output folder, with ``/`` and without an extension."""
    numbered_at: tuple[int, ...] = ()
    """Character positions in ``file`` of the output number (``file`` holds 1); empty: outputs from the second on get a
    suffix."""
    line: int = 0
    column: int = 0
    checked: bool = False
    """True if the inputs were read with a live schema, which may be unavailable the next time."""
    local: dict[str, tuple[str, ...]] = {}
    """Inputs with files of this machine, as ``core/local_inputs.py: reference`` writes them: for each, the media types
    of its files, in order."""
    copies: tuple[CopyRecipe, ...] = ()
    """Copies to make of each picture."""
    sidecar: bool = False
    """True if each file gets a JSON file beside it that says how it was made."""

    @property
    def publishes(self) -> bool:
        """Return True if anything is made of the files of this job."""
        return self.sidecar or bool(self.copies)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Reason for the state of a purchase: the ``error`` of a record. Control characters are replaced in all texts.

    The bytes of files are left out, since a service may repeat the inputs in its message.
    """

    code: str
    message: str
    retryable: bool = False
    http_status: int | None = None

    def __post_init__(self) -> None:
        for name in ("code", "message"):
            text = CONTROL.sub(" ", getattr(self, name)[:MAX_FAULT])
            if "base64," in text:
                text = _FILE_BYTES.sub("base64,…", text)
            msgspec.structs.force_setattr(self, name, text)


class Output(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of a request: its URI at the storage and, after the download, its file."""

    url: str
    path: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    moved_from: str | None = None
    """Path that the file is being renamed from; the move is repeated if ``path`` does not exist."""
    unchecked: bool = False
    """True if only the length of the file was checked, because its format has no further check."""
    error: Fault | None = None
    """Reason why there is no file; None: no error."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the results log: the state of a purchase at ``at``. The last line of a purchase is in force."""

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
    priced_seconds: int | None = None
    """Duration that ``reserved_usd`` covers, for models priced by the second."""
    request_id: str | None = None
    cost_usd: float | None = None
    day: str | None = None
    """Day of the purchase by the API's clock (UTC), for daily budgets."""
    submitted_at: str | None = None
    completed_at: str | None = None
    outputs: tuple[Output, ...] = ()
    copies: tuple[CopyFile, ...] = ()
    """Copies and sidecars of the outputs. Each is recorded before it gets its name."""
    error: Fault | None = None
    warning: str | None = None
    renamed_from: str | None = None
    """Earlier id of this purchase; this line replaces the line under the earlier id."""
    renamed_purchase: int | None = None
    """Number of the purchase under the earlier id, if the number differs."""
    restored_from: int | None = None
    """Number of the purchase whose files this line puts in force again; the cost is in the records of that purchase."""
    trusted_hosts: tuple[str, ...] = ()
    max_file_bytes: int | None = None
    max_pixels: int | None = None
    """Maximum pixels of a picture; None: the default."""
    strict_size: bool = False
    checked: bool = False
    """True if the inputs were read with a live schema; without the schema the same manifest may give other inputs."""
    intended_at: str | None = None
    """Time of the intent, on a purchase whose outcome could not be read."""
    rebuy: bool = False
    """True if the user resolved this open purchase by buying again: the purchase keeps its state and counts as spent,
    and the job is bought anew."""
    redo: int = 0
    """On a done purchase: number of the redo that chose its job. The purchase of this redo has the number as
    ``redone``."""
    redo_chosen: bool = False
    """True on the last job that a redo chose: from this line on the redo buys and chooses no more jobs."""
    redo_closed: bool = False
    """True on any mark of a redo: the redo has ended."""
    same_apis: tuple[str, ...] = ()
    """Addresses of the API that the user declared to be one service; one line is valid for the whole folder."""
    redone: int = 0
    """Number of the redo that made this purchase; on a mark of the same number: the mark is no longer in force."""

    def stem(self, number: int) -> str:
        """Return the path of output ``number`` (from 1) without an extension: ``mug``, ``mug-2``, or as in ``file``."""
        if not self.numbered_at:
            return self.file if number == 1 else f"{self.file}-{number}"
        return at_places(self.file, self.numbered_at, number)

    @property
    def owed(self) -> bool:
        return self.state in OWED

    @property
    def stuck(self) -> bool:
        return self.error is not None and self.owed and self.error.code in STUCK_CODES

    @property
    def has_own_trouble(self) -> bool:
        """Return True if the purchase is owed because of an error that concerns this purchase alone."""
        return self.error is not None and self.owed and self.error.code in ITS_OWN_CODES

    @property
    def accepted(self) -> bool:
        """Return True if the user has accepted the purchase as it is: nothing more is downloaded or bought for it."""
        return self.state is State.DONE and self.warning == ACCEPTED

    @property
    def open(self) -> bool:
        return self.state in OPEN

    @property
    def question(self) -> bool:
        """Return True if the purchase waits for the user's decision: open or stuck, and not resolved by ``rebuy``."""
        return (self.open or self.stuck) and not self.rebuy


def kind_of(source: Job | Record) -> Hashable:
    """Return a key of jobs that should cost the same and take about as long: the model, width and height."""
    width, height = source.inputs.get("width"), source.inputs.get("height")
    return source.model, width if isinstance(width, int) else None, height if isinstance(height, int) else None


MOST_USD = 1e9
"""Upper limit of a cost or a reservation. A larger number is treated as damage, since no sum with it is reliable."""


REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


MAX_OUTPUTS = 1000
"""Maximum number of URIs of a request, more than any model returns; further ones are ignored."""


PARTIAL = "partial"
"""Warning of a done purchase with unavailable outputs: each of these outputs has its ``error``."""


ACCEPTED = "accepted"
"""Warning of a purchase that the user accepted as it is with ``reconcile --accept``."""


MAX_AUTO_CONCURRENCY = 256


EMULATOR = "emulator"
"""Name of the in-process emulator in the results log, since its port changes with every run."""
