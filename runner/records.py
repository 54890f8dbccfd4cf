"""The lines of the results manifest: text ↔ ``Record``, and the steps that make one record out of another.

A line is one JSON object that ends in a newline. A record is checked when it is read as strictly as a manifest is,
since a results manifest may come from anywhere: states, ids, paths that stay inside the output folder.
"""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec

from runner.model import Job, Record, State
from runner.wire import REQUEST_ID

RESULTS = "results.jsonl"
"""The name of the results manifest in its output folder."""

LEDGER = re.compile(r"results(?:\.([1-9][0-9]{0,3})-of-([1-9][0-9]{0,3}))?\.jsonl")
"""The name of any: the folder's, or that of one of its shards."""

MAX_PURCHASES = 100_000
"""Of one job: a number beyond it is no count, and looking through so many would take for ever."""

# One expression for a whole path: records are read by the million. A part is neither empty nor `.` nor `..`.
_PART = r"(?!\.{1,2}(?:[/\n]|\Z))[^/\\\x00-\x1f\x7f]+"
_ID = re.compile(_PART)
_INSIDE = re.compile(rf"(?![A-Za-z]:){_PART}(?:/{_PART})*")
_OURS = re.compile(r"results(?:\.[0-9]+-of-[0-9]+)?\.jsonl|\.runner|\.replaced", re.IGNORECASE)
"""What no picture of ours may replace: the state, and what was set aside."""
_TARGET = rf"(?!(?i:{_OURS.pattern})(?:[/\n]|\Z))(?![A-Za-z]:){_PART}(?:/{_PART})*"
_NAMES = re.compile(rf"{_PART}(?:\n{_TARGET})+")
"""An id and its paths, a line each."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


class BadLine(ValueError):
    """A line that is no record; ``str()`` says why."""


def encode(record: Record) -> bytes:
    """The line of ``record``, newline included."""
    return _encoder.encode(record) + b"\n"


def decode(line: bytes) -> Record:
    """The record in ``line``. Raises ``BadLine`` for anything that must not be trusted."""
    try:
        record = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLine(str(error)) from None
    fault = _why_not(record)
    if fault:
        raise BadLine(fault)
    return record


def _why_not(record: Record) -> str:
    if _has_plain_names(record):
        return _why_not_request(record) or _why_not_numbers(record)
    for job_id in (record.id, record.renamed_from):
        if job_id is not None and not _is_id(job_id):
            return f"id {job_id!r} is no job id"
    return _why_not_request(record) or _why_not_numbers(record) or _why_not_paths(record)


def _has_plain_names(record: Record) -> bool:
    """Whether all its names are good, seen at one look; False leaves it to a closer one."""
    if record.numbered_at or record.renamed_from is not None:
        return False
    names = [record.id, record.file]
    for output in record.outputs:
        if output.moved_from is not None:
            return False
        if output.path is not None:
            names.append(output.path)
    text = "\n".join(names)
    return text.count("\n") == len(names) - 1 and _NAMES.fullmatch(text) is not None


def _why_not_request(record: Record) -> str:
    if not 1 <= record.purchase <= MAX_PURCHASES:
        return f"purchase {record.purchase} of {record.id!r}: they count from 1"
    if record.request_id is not None and not REQUEST_ID.fullmatch(record.request_id):
        return f"request_id {record.request_id!r} is not one of the API's"
    if record.owed and record.request_id is None:
        return f"{record.id!r} is {record.state} without a request_id"
    return ""


def _why_not_numbers(record: Record) -> str:
    if (record.reserved_usd or 0) < 0 or (record.cost_usd or 0) < 0:
        return f"{record.id!r} cost less than nothing"
    return f"{record.id!r}: redos count from 1" if min(record.redo, record.redone) < 0 else ""


def _why_not_paths(record: Record) -> str:
    if not _are_numbers(record.file, record.numbered_at):
        return f"numbered_at {record.numbered_at} of file {record.file!r}: there is no number of an output"
    targets = [record.file, *(out.path for out in record.outputs if out.path is not None)]
    sources = [out.moved_from for out in record.outputs if out.moved_from is not None]
    for path in [*targets, *sources]:
        if not is_inside(path):
            return f"path {path!r} leaves the output folder"
    ours = next((path for path in targets if _OURS.fullmatch(path.partition("/")[0])), None)
    return f"path {ours!r} is one that runner keeps for itself" if ours is not None else ""


def _are_numbers(file: str, places: tuple[int, ...]) -> bool:
    """Whether a 1 stands at each of ``places``, which ascend."""
    ascending = all(before < after for before, after in pairwise((-1, *places)))
    return ascending and all(file[place : place + 1] == "1" for place in places)


def _is_id(text: str) -> bool:
    """Whether ``text`` can be a job's id: the name of a folder of its own, under ``.replaced`` say."""
    return _ID.fullmatch(text) is not None


def is_inside(path: str) -> bool:
    """Whether ``path`` is relative and stays below the folder it starts from, on every operating system."""
    return _INSIDE.fullmatch(path) is not None


def intent(job: Job, purchase: int, **context: object) -> Record:
    """The record that must be durable before a submission leaves: all that collecting and delivering will need."""
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
    """The next line of the same purchase. The last error and warning do not outlive the step that caused them.

    What became of an intent in doubt keeps the time when that was written: people look for it by that.
    """
    if record.state is State.SUBMITTING and state is State.UNKNOWN:
        changes["intended_at"] = record.at
    return msgspec.structs.replace(record, **{"state": state, "at": at, "error": None, **changes})
