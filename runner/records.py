"""The lines of the results manifest: text ↔ ``Record``, and the steps that make one record out of another.

A line is one JSON object that ends in a newline. A record is checked when it is read as strictly as a manifest is,
since a results manifest may come from anywhere: states, ids, paths that stay inside the output folder.
"""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import msgspec

from runner.model import Job, Record, State
from runner.wire import REQUEST_ID

RESULTS = "results.jsonl"
"""The name of the results manifest in its output folder."""

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
    if not record.id or "/" in record.id or "\\" in record.id:
        return f"id {record.id!r} is no job id"
    if record.purchase < 1:
        return f"purchase {record.purchase} of {record.id!r}: they count from 1"
    if record.request_id is not None and not REQUEST_ID.fullmatch(record.request_id):
        return f"request_id {record.request_id!r} is not one of the API's"
    if record.owed and record.request_id is None:
        return f"{record.id!r} is {record.state} without a request_id"
    paths = [record.file, *(p for out in record.outputs for p in (out.path, out.moved_from) if p is not None)]
    return next((f"path {path!r} leaves the output folder" for path in paths if not is_inside(path)), "")


def is_inside(path: str) -> bool:
    """Whether ``path`` is relative and stays below the folder it starts from, on every operating system."""
    parts = path.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    safe = not any(char == "\\" or char < " " or char == "\x7f" for char in path)
    return plain and safe and not PurePosixPath(path).is_absolute() and not PureWindowsPath(path).drive


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
        **context,  # type: ignore[arg-type]  # the caller's context is checked by Record itself
    )


def follow(record: Record, state: State, at: str, **changes: object) -> Record:
    """The next line of the same purchase. The last error and warning do not outlive the step that caused them."""
    return msgspec.structs.replace(record, **{"state": state, "at": at, "error": None, **changes})
