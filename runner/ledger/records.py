"""Records as lines of the results log, and the steps that derive one record from another.

A line is one JSON object that ends in a newline. A record that is read is checked as strictly as a manifest, since a
results log may come from anywhere: states, ids, paths that stay inside the output folder.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from operator import methodcaller

import msgspec

from runner.core.models import MOST_USD, REQUEST_ID, Fault, Job, Record, State
from runner.core.nesting import TooDeep, any_too_deep, check_nesting

RESULTS = "results.jsonl"
"""Name of the results log in its output folder."""

LEDGER = re.compile(r"results(?:\.([1-9][0-9]{0,3})-of-([1-9][0-9]{0,3}))?\.jsonl")
"""Name of any results log: the folder's, or that of one of its shards."""

LARGEST_PURCHASE = 100_000
"""Largest number of a purchase: a higher one is not a count, and looking through so many would take too long."""

QUOTED = 100
"""Characters of a bad value that a message shows."""

# One expression for a whole path: records are read by the million. A part is neither empty nor `.` nor `..`.
_PART = r"(?!\.\.?(?:[/\n]|\Z))[^/\\\x00-\x1f\x7f]++"
_ID = re.compile(_PART)
_INSIDE = re.compile(rf"(?![A-Za-z]:){_PART}(?:/{_PART})*")
_OURS = re.compile(r"results(?:\.[0-9]+-of-[0-9]+)?\.jsonl|\.runner|\.replaced", re.IGNORECASE)
"""First parts of paths that no output may replace: the state and the archive."""
_TARGET = rf"(?!(?=[.rR])(?i:{_OURS.pattern})(?:[/\n]|\Z))(?![A-Za-z]:){_PART}(?:/{_PART})*"
_NAMES = re.compile(rf"{_PART}(?:\n{_TARGET})+")
"""An id and its paths, a line each."""

_ALL_NAMES = re.compile(rf"(?:{_PART}(?:\n{_TARGET})+\n\n)*")
"""An id and its paths, a line each, and an empty line; for many records."""
_ALL_REQUESTS = re.compile(rf"(?:{REQUEST_ID.pattern}\n)*")

DOUBT = "the process ended between the intent and the answer; the request may have been bought"
"""Message of an intent without an answer."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)
_begins_well = methodcaller("startswith", b"{")
_ends_well = methodcaller("endswith", (b"}\n", b"}"))


class BadLine(ValueError):
    """Line that is not a valid record; ``str()`` gives the reason."""


def encode(record: Record) -> bytes:
    """Return the line of ``record``, newline included."""
    return _encoder.encode(record) + b"\n"


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
    fault = _why_not(record)
    if fault:
        raise BadLine(fault)


def decode_all(lines: list[bytes]) -> list[Record]:
    """Return the records in ``lines``, in half the time of ``decode``; empty if any line is not a valid record.

    The caller then uses ``decode`` to find the line.
    """
    if not (all(map(_begins_well, lines)) and all(map(_ends_well, lines))):
        return []  # otherwise two objects in one line and an empty line would count as two lines
    if any_too_deep(lines):
        return []
    try:
        records = _decoder.decode_lines(b"".join(lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a torn line may leave brackets open
        return []
    return records if len(records) == len(lines) and _are_good(records) else []


def _are_good(records: list[Record]) -> bool:
    """Tell whether ``_why_not`` finds no problem: names of plain records are checked together, others one by one."""
    names: list[str] = []
    requests: list[str] = []
    for record in records:
        if not _is_plain(record):
            if _why_not(record):
                return False
            continue
        names += record.id, record.file
        for output in record.outputs:
            if output.path is not None:
                names.append(output.path)
            if output.moved_from is not None and _why_not(record):
                return False
        names.append("")
        if record.request_id is not None:
            requests.append(record.request_id)
    return _all_match(_ALL_NAMES, names) and _all_match(_ALL_REQUESTS, requests)


def _is_plain(record: Record) -> bool:
    """Tell whether only the names of ``record`` can be wrong; False: it needs a full check."""
    if record.numbered_at or record.purchase != 1 or record.renamed_from is not None or record.redo or record.redone:
        return False
    if not (0 <= (record.reserved_usd or 0) <= MOST_USD and 0 <= (record.cost_usd or 0) <= MOST_USD):
        return False
    return record.request_id is not None or not record.owed


def _all_match(pattern: re.Pattern[str], lines: list[str]) -> bool:
    lines.append("")
    text = "\n".join(lines)
    return text.count("\n") == len(lines) - 1 and pattern.fullmatch(text) is not None


def reread(line: bytes) -> Record:
    """Return the record in a line that was decoded or encoded before, without checks. Raises ``BadLine``."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(str(error)) from None


def _why_not(record: Record) -> str:
    if _has_plain_names(record):
        plain = _is_plain(record)
        return _why_not_request(record) if plain else _why_not_purchase(record) or _why_not_numbers(record)
    for job_id in (record.id, record.renamed_from):
        if job_id is not None and not _is_id(job_id):
            return f"id {_quoted(job_id)} is no job id"
    return _why_not_purchase(record) or _why_not_numbers(record) or _why_not_paths(record)


def _has_plain_names(record: Record) -> bool:
    """Tell whether all names are good in one quick check; False: they need a full check."""
    if record.numbered_at or record.renamed_from is not None:
        return False
    paths = []
    for output in record.outputs:
        if output.moved_from is not None:
            return False
        if output.path is not None:
            paths.append(output.path)
    return _are_plain(record.id, record.file, *paths)


@lru_cache(maxsize=1024)
def _are_plain(*names: str) -> bool:
    """Tell whether an id and its paths are good. The lines of one purchase have mostly the same names."""
    text = "\n".join(names)
    return text.count("\n") == len(names) - 1 and _NAMES.fullmatch(text) is not None


def _why_not_purchase(record: Record) -> str:
    """Return the problem with the purchase number or the request; empty if there is none."""
    if not 1 <= record.purchase <= LARGEST_PURCHASE:
        return f"purchase {_quoted(record.purchase)} of {_quoted(record.id)}: they count from 1"
    return _why_not_request(record)


def _why_not_request(record: Record) -> str:
    if record.request_id is not None and not REQUEST_ID.fullmatch(record.request_id):
        return f"request_id {_quoted(record.request_id)} is not one of the API's"
    if record.owed and record.request_id is None:
        return f"{_quoted(record.id)} is {record.state} without a request_id"
    return ""


def _why_not_numbers(record: Record) -> str:
    amounts = record.reserved_usd or 0, record.cost_usd or 0
    if min(amounts) < 0:
        return f"{_quoted(record.id)} cost less than nothing"
    if max(amounts) > MOST_USD:
        return f"{_quoted(record.id)} cost more than anything does"
    return f"{_quoted(record.id)}: redos count from 1" if min(record.redo, record.redone) < 0 else ""


def _why_not_paths(record: Record) -> str:
    if not _are_numbers(record.file, record.numbered_at):
        return (
            f"numbered_at {_quoted(record.numbered_at)} of file {_quoted(record.file)}: there is no number of an output"
        )
    targets = [record.file, *(out.path for out in record.outputs if out.path is not None)]
    sources = [out.moved_from for out in record.outputs if out.moved_from is not None]
    for path in [*targets, *sources]:
        if not is_inside(path):
            return f"path {_quoted(path)} leaves the output folder"
    ours = next((path for path in targets if _OURS.fullmatch(path.partition("/")[0])), None)
    return f"path {_quoted(ours)} is one that runner keeps for itself" if ours is not None else ""


def _are_numbers(file: str, places: tuple[int, ...]) -> bool:
    """Tell whether there is a 1 at each of ``places``, and whether these ascend."""
    ascending = all(before < after for before, after in pairwise((-1, *places)))
    return ascending and all(file[place : place + 1] == "1" for place in places)


def _quoted(value: object) -> str:
    """Return ``value`` for a message, shortened: a line from elsewhere may have megabytes of it."""
    text = repr(value[:QUOTED] if isinstance(value, str | tuple) else value)
    return text if len(text) <= 2 * QUOTED else f"{text[:QUOTED]}…"


def _is_id(text: str) -> bool:
    """Tell whether ``text`` can be the id of a job: it names a folder of its own, for example under ``.replaced``."""
    return _ID.fullmatch(text) is not None


def is_inside(path: str) -> bool:
    """Tell whether ``path`` is relative and stays below the folder it starts from, on every operating system."""
    return _INSIDE.fullmatch(path) is not None


def is_target(path: str) -> bool:
    """Tell whether a file of a purchase may be at ``path``: below the folder, and not reserved for the runner."""
    return is_inside(path) and not _OURS.fullmatch(path.partition("/")[0])


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
