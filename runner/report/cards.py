"""Cards of the report: one per file, and one per purchase without a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TypeGuard

from runner.core.clock import epoch
from runner.core.media_formats import PICTURES
from runner.core.models import Fault, Json, Output, Record, State
from runner.engine.billing.costs import spent
from runner.engine.billing.receipts import LARGEST
from runner.engine.summary import outcome_of_record, warning_words
from runner.ledger.records import DOUBT
from runner.report.products import Place, as_text
from runner.report.thumbnails import NOTHING, Look, PictureCondition

STATES = ("failed", "unknown", "stuck", "altered", "missing", "owed", "cancelled", "left", "running", "done")
"""States in the order in which they are shown: states that need a person come first."""
STATE_NAMES = {"owed": "not downloaded", "running": "in flight", "left": "not bought"}
"""Names of states in words, where they differ."""
PICTURED = ("done", "altered")
LATEST = epoch("9999-12-31T00:00:00Z")
"""Latest time of an end that is accepted, in seconds since the epoch; later times cannot be formatted."""
_PICTURE_TYPES = frozenset(kind.media_type for kind in PICTURES.values())
_DRAWINGS = (".svg", ".svgz")
_TOLD = ("prompt", "width", "height")
"""Inputs that have a place of their own on a card."""


class Kind(StrEnum):
    """Kind of display of a file."""

    PICTURE = "picture"
    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    FILE = "file"
    """Name, type and length only: a scene, an archive, or a drawing that could hold scripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OlderFile:
    """File of an earlier purchase, in the archive of the output folder."""

    purchase: int
    path: str


NOWHERE = Place(group=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSources:
    """Sources of cards beside the records."""

    looks: Mapping[tuple[str, int], Look] = field(default_factory=dict)
    """Condition and preview of each file, by job id and number of the file."""
    places: Mapping[str, Place] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    """Number of each job's product, by id."""
    older: Mapping[tuple[str, int], Sequence[OlderFile]] = field(default_factory=dict)
    busy: bool = False
    """True if a run is going on in the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One file, or one purchase without a file. The texts are unescaped; the page escapes them."""

    id: str
    part: str
    """``2 of 3`` if the request has several files, else empty."""
    state: str
    prompt: str
    inputs: str
    """The other inputs, as ``name: value``."""
    model: str
    size: str
    pixels: int
    cost_usd: float
    cost: str
    seconds: float | None
    at: str
    path: str
    kind: Kind
    label: str
    """Extension of the file in capitals; ``FILE`` if there is no usable one."""
    other: str
    """Type and length of a file that is neither a picture nor a video."""
    look: Look
    request_id: str
    why: str
    means: str
    """Meaning of the state for the cost."""
    advice: str
    warning: str
    code: str
    """Code and HTTP status of the error; empty without an error."""
    sha256: str
    """SHA-256 of the file that is there, in hex; empty without one."""
    group: int
    """Number of the card's product."""
    keys: Mapping[str, str]
    """Keys of the matrix, as ``{"view": "front"}``."""
    copies: Sequence[str]
    """Paths of the copies of the file."""
    older: Sequence[OlderFile]
    """Files of earlier purchases that this file replaced, the newest first."""

    @property
    def pictured(self) -> bool:
        return self.state in PICTURED


def files_of(record: Record) -> Sequence[Output | None]:
    """Return one entry per card of ``record``: its files if it is done and has files, else a single None."""
    return record.outputs if record.state is State.DONE and record.outputs else (None,)


def make_cards(records: Sequence[Record], sources: CardSources) -> list[Card]:
    """Return the cards of ``records``, in their order."""
    return [
        _card(record, number, output, sources)
        for record in records
        for number, output in enumerate(files_of(record), 1)
    ]


def _card(record: Record, number: int, output: Output | None, sources: CardSources) -> Card:
    look = sources.looks.get((record.id, number), NOTHING)
    state = _state(record, look, busy=sources.busy)
    several = len(record.outputs) > 1 and output is not None
    width, height = _size(record, output)
    means, advice = _words(record, state)
    error = record.error or (output.error if output is not None else None)
    return Card(
        id=record.id,
        part=f"{number} of {len(record.outputs)}" if several else "",
        state=state,
        prompt=as_text(record.inputs.get("prompt", "")),
        inputs=", ".join(f"{name}: {as_text(value)}" for name, value in record.inputs.items() if name not in _TOLD),
        model=record.model,
        size=f"{width}×{height}" if width and height else "",
        pixels=width * height,
        cost_usd=spent(record) if number == 1 else 0.0,
        cost=_cost(record, number),
        seconds=seconds_taken(record),
        at=record.completed_at or record.submitted_at or record.intended_at or record.at,
        path=(output.path or "") if output is not None else "",
        kind=_kind(output, look),
        label=_label(output),
        other=_other(output),
        look=look,
        request_id=record.request_id or "",
        why=(why(record) or (error.message if error is not None else "")) if state != "running" else "",
        means=means,
        advice=advice,
        warning=warning_words(record.warning) if record.warning else "",
        code=_code(error) if error is not None else "",
        sha256=look.sha256,
        group=sources.groups.get(record.id, 0),
        keys=sources.places.get(record.id, NOWHERE).keys,
        copies=[c.path for c in record.copies if output is not None and c.of == output.sha256],
        older=sources.older.get((record.id, number), ()),
    )


def _state(record: Record, look: Look, *, busy: bool) -> str:
    """Return the state to show. While a run is going on, what it works on is neither in doubt nor left behind."""
    if busy and not record.rebuy and not record.stuck and (record.owed or record.state is State.SUBMITTING):
        return "running"
    outcome = "stuck" if record.stuck and not record.rebuy else outcome_of_record(record)
    if outcome != "done":
        return outcome
    return {PictureCondition.MISSING: "missing", PictureCondition.ALTERED: "altered"}.get(look.stand, "done")


def _words(record: Record, state: str) -> tuple[str, str]:
    """Return what the state means for the cost, and what to do."""
    if state != "failed":
        return _WORDS[state]
    refused = record.request_id is None
    heals = record.error is not None and record.error.retryable
    return (
        "Refused: nothing was made and nothing is paid." if refused else "Its cost is what the API bills for it.",
        "It may work unchanged: the next run buys it again, a few times at most." if heals else "Change its inputs.",
    )


_WORDS = {
    "unknown": (
        "Perhaps bought: it counts at its reserve, and is not bought again unasked.",
        "Look for it on RunComfy's Generations page, by time and prompt; then resolve it with “runner reconcile”.",
    ),
    "stuck": (
        "Paid, and it cannot be had as things are.",
        "Every run asks again, free. Give it up or buy it anew with “runner reconcile”.",
    ),
    "missing": (
        "Paid; the file is not in its place.",
        "The next run or “runner verify --repair” downloads it again while the API has it, free.",
    ),
    "altered": ("Paid; the file is not the one that came.", "“runner verify --repair” brings the original back, free."),
    "owed": ("Paid, and not on disk yet.", "Run the same command again to fetch it, free."),
    "cancelled": ("Cancelled: nothing is paid for it.", "The next run buys it."),
    "left": ("Nothing was bought.", "The next run buys it."),
    "running": ("The run that is going on makes or downloads it.", ""),
    "done": ("", ""),
}


def why(record: Record) -> str:
    """Return the error of ``record``, its code first; empty without an error.

    A purchase in state submitting has no error, and gets the text that it may have been bought.
    """
    if record.error is None:
        return DOUBT if record.state is State.SUBMITTING else ""
    return f"{_code(record.error)}: {record.error.message}"


def _code(error: Fault) -> str:
    return f"{error.code} (HTTP {error.http_status})" if error.http_status else error.code


def _cost(record: Record, number: int) -> str:
    if number > 1:
        return "with the first"
    if record.cost_usd is None and spent(record):
        return f"≤ ${spent(record):.4f}"
    return f"${spent(record):.4f}"


def seconds_taken(record: Record) -> float | None:
    """Return the seconds from acceptance to the final state; None if unknown."""
    times = interval(record)
    return times[1] - times[0] if times is not None else None


def interval(record: Record) -> tuple[float, float] | None:
    """Return the times at which a request was accepted and ended, in seconds since the epoch; None if unknown."""
    try:
        start, end = epoch(record.submitted_at or ""), epoch(record.completed_at or "")
    except ValueError:
        return None
    return (start, end) if LATEST >= end >= start >= 0 else None


def _size(record: Record, output: Output | None) -> tuple[int, int]:
    """Return width and height of the file, else those in the inputs; zeros if neither is a valid size."""
    asked = record.inputs.get("width"), record.inputs.get("height")
    for width, height in ((output.width, output.height), asked) if output is not None else (asked,):
        if _is_side(width) and _is_side(height):
            return width, height
    return 0, 0


def _other(output: Output | None) -> str:
    """Return ``audio/wav, 1,234 bytes``; empty for a picture, for a video, and without a file."""
    kind = (output.media_type or "") if output is not None else ""
    if output is None or output.path is None or kind.startswith("video/") or not kind or output.width is not None:
        return ""
    return f"{kind}, {output.bytes or 0:,} bytes"


def _kind(output: Output | None, look: Look) -> Kind:
    """Return the kind of display of a file, by its recorded type and by the content that was found."""
    media_type = ((output.media_type or "") if output is not None else "").lower()
    if output is None or output.path is None:
        return Kind.PICTURE
    if PurePosixPath(output.path).suffix.lower() in _DRAWINGS:
        return Kind.FILE  # regardless of the recorded type, because a browser goes by the name
    if look.thumbnail is not None or media_type in _PICTURE_TYPES:
        return Kind.PICTURE
    if look.text:
        return Kind.TEXT
    family = media_type.partition("/")[0]
    return {"video": Kind.VIDEO, "audio": Kind.AUDIO}.get(family, Kind.FILE)


def _label(output: Output | None) -> str:
    ending = PurePosixPath(output.path or "").suffix[1:] if output is not None else ""
    return ending.upper() if re.fullmatch(r"[A-Za-z0-9]{1,6}", ending) else "FILE"


def _is_side(value: Json) -> TypeGuard[int]:
    return type(value) is int and 0 < value < LARGEST
