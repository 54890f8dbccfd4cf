"""Records as lines of the results log, and the steps that derive one record from another.

A line is one JSON object that ends in a newline. A record that is read is checked as strictly as a manifest, since a
results log may come from anywhere: states, ids, paths that stay inside the output folder.
"""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec

from runner.core.errors import LedgerError
from runner.core.models import MOST_USD, REQUEST_ID, Fault, Job, Record, State
from runner.core.nesting import TooDeep, check_nesting

RESULTS = "results.jsonl"
"""Name of the results log in its output folder."""

LEDGER = re.compile(r"results(?:\.([1-9][0-9]{0,3})-of-([1-9][0-9]{0,3}))?\.jsonl")
"""Name of any results log: the folder's, or that of one of its shards."""

LARGEST_PURCHASE = 100_000
"""Largest number of a purchase: a higher one is not a count, and looking through so many would take too long."""

QUOTED = 100
"""Characters of a bad value that a message shows."""

# A part of a path is neither empty nor `.` nor `..`.
_PART = r"(?!\.\.?(?:/|\Z))[^/\\\x00-\x1f\x7f]++"
_ID = re.compile(_PART)
_INSIDE = re.compile(rf"(?![A-Za-z]:){_PART}(?:/{_PART})*")
_RESERVED = re.compile(r"(?:results(?:\.[0-9]+-of-[0-9]+)?\.jsonl|\.runner|\.replaced)(?:/|\Z)", re.IGNORECASE)
"""Beginnings of paths that no output may replace: the state and the archive."""

DOUBT = "the process ended between the intent and the answer; the request may have been bought"
"""Message of an intent without an answer."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


class BadLine(ValueError):
    """Line that is not a valid record; ``str()`` gives the reason."""


def encode(record: Record) -> bytes:
    """Return the line of ``record``, newline included."""
    return _encoder.encode(record) + b"\n"


def line_of(record: Record) -> bytes:
    """Return the line of ``record``. Raises ``LedgerError`` for a record that would make the log unreadable.

    Values from a manifest are decoded again once, with the intent. Later lines carry the same values.
    """
    try:
        line = encode(record)
        if record.state is State.SUBMITTING:
            decode(line)
        else:
            check(record)
    except (ValueError, TypeError, RecursionError) as error:
        raise LedgerError(f"{record.id!r} cannot be recorded as {record.state}: {error}") from error
    return line


def decode(line: bytes) -> Record:
    """Return the record in ``line``. Raises ``BadLine`` for a line that must not be trusted."""
    try:
        check_nesting(line)
        record = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep) as error:
        raise BadLine(str(error)) from None
    check(record)
    return record


def check(record: Record) -> None:
    """Raise ``BadLine`` for a record that must not be trusted."""
    for job_id in (record.id, record.renamed_from):
        if job_id is not None and not _ID.fullmatch(job_id):
            raise BadLine(f"id {_quoted(job_id)} is not a job id")
    if not 1 <= record.purchase <= LARGEST_PURCHASE:
        raise BadLine(
            f"{_quoted(record.id)}: purchase {_quoted(record.purchase)} is not between 1 and {LARGEST_PURCHASE:,}"
        )
    if record.request_id is not None and not REQUEST_ID.fullmatch(record.request_id):
        raise BadLine(f"request_id {_quoted(record.request_id)} is not one of the API's")
    if record.owed and record.request_id is None:
        raise BadLine(f"{_quoted(record.id)} is {record.state} without a request_id")
    _check_numbers(record)
    _check_paths(record)


def _check_numbers(record: Record) -> None:
    for amount in (record.reserved_usd, record.cost_usd):
        if amount is not None and not 0 <= amount <= MOST_USD:
            raise BadLine(f"{_quoted(record.id)}: {'negative' if amount < 0 else 'impossibly high'} cost")
    if record.redo < 0 or record.redone < 0:
        raise BadLine(f"{_quoted(record.id)}: negative number of a redo")
    places = record.numbered_at
    ascending = all(before < after for before, after in pairwise((-1, *places)))
    if not ascending or any(record.file[place : place + 1] != "1" for place in places):
        raise BadLine(f"numbered_at {_quoted(places)} does not give the places of a 1 in file {_quoted(record.file)}")


def _check_paths(record: Record) -> None:
    _check_target(record.file)
    for output in record.outputs:
        if output.path is not None:
            _check_target(output.path)
        if output.moved_from is not None and not is_inside(output.moved_from):
            raise BadLine(f"path {_quoted(output.moved_from)} leaves the output folder")
    for made in record.copies:
        _check_target(made.path)


def _check_target(path: str) -> None:
    if not is_inside(path):
        raise BadLine(f"path {_quoted(path)} leaves the output folder")
    if _RESERVED.match(path):
        raise BadLine(f"path {_quoted(path)} is reserved for the runner")


def _quoted(value: object) -> str:
    """Return ``value`` for a message, shortened: a line from elsewhere may have megabytes of it."""
    text = repr(value[:QUOTED] if isinstance(value, str | tuple) else value)
    return text if len(text) <= 2 * QUOTED else f"{text[:QUOTED]}…"


def is_inside(path: str) -> bool:
    """Tell whether ``path`` is relative and stays below the folder it starts from, on every operating system."""
    return _INSIDE.fullmatch(path) is not None


def is_target(path: str) -> bool:
    """Tell whether a file of a purchase may be at ``path``: below the folder, and not reserved for the runner."""
    return is_inside(path) and not _RESERVED.match(path)


def intent(job: Job, purchase: int, **context: object) -> Record:
    """Return the record that must be durable before a submission is sent: all that polling and delivery need."""
    return Record(
        id=job.id,
        purchase=purchase,
        state=State.SUBMITTING,
        model=job.model,
        inputs=job.inputs,
        fingerprint=job.fingerprint,
        file=job.file,
        numbered_at=job.numbered_at,
        checked=job.checked,
        **context,  # type: ignore[arg-type]  # the caller's context is checked by Record itself
    )


def follow(record: Record, state: State, at: str, **changes: object) -> Record:
    """Return the next line of the same purchase. The last error and warning end with the step that caused them.

    An intent whose outcome is uncertain keeps the time at which it was written: people search for it by that time.
    """
    if state is State.UNKNOWN and record.state is State.SUBMITTING:
        changes["intended_at"] = record.at
    changes.setdefault("error", None)
    return msgspec.structs.replace(record, state=state, at=at, **changes)


def in_doubt(record: Record, at: str) -> Record:
    """Return an intent without an answer as ``unknown``; any other record unchanged."""
    if record.state is not State.SUBMITTING:
        return record
    return follow(record, State.UNKNOWN, at, error=Fault(code="interrupted", message=DOUBT))
