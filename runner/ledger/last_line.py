"""Last line of a results log as a run left it, noted in ``.runner/``: a log without that line is an older copy.

A copy that is put back later lacks purchases, and what it lacks would be bought again. The note is written when a log
is closed and before it is compacted, which keeps that line. Where there is no note nothing is concluded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from runner.core import disk
from runner.ledger.layout import look, path_of
from runner.ledger.records import BadLine, reread

BLOCK = 1 << 20
"""So many bytes of a log are read at once."""


class LastLine(msgspec.Struct, frozen=True, kw_only=True):
    """The line, and what was found out about the log since."""

    sha256: str
    at: str
    """The record's time: a log whose last line is younger was written elsewhere, and is no older copy."""
    older: bool = False
    """Whether an older copy was found in its place: then only the line itself proves that the log is back."""


def note_last_line(log: Path, handle: int, end: int) -> bool:
    """Note the last line of the open log, which ends at ``end``; whether that is durable."""
    line = _last_line(handle, end)
    if line is None:
        return True
    found = LastLine(sha256=_hash(line), at=_time(line))
    return found == _noted(log) or _write(log, found)


def is_older_copy(log: Path, handle: int, end: int) -> bool:
    """Whether the open log is older than the one that the last run left, or empty in its place. Raises ``OSError``."""
    noted = _noted(log)
    if noted is None:
        return False
    line = _last_line(handle, end)
    if line is not None and _hash(line) == noted.sha256:
        return False
    if line is not None and not noted.older and _time(line) >= noted.at:
        return False
    return all(_hash(other) != noted.sha256 for other in _lines(handle))


def _lines(handle: int) -> Iterator[bytes]:
    """Every line, without a change of where the next one is written."""
    offset, rest = 0, b""
    while block := os.pread(handle, BLOCK, offset):
        offset += len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    yield rest


def find_older_copy(root: Path) -> Path | None:
    """A log of the folder that is older than the last run left it, or gone; None where there is none, or no telling."""
    for log in [path_of(root, shard) for shard in look(root).shards or (None,)]:
        try:
            handle = os.open(log, os.O_RDONLY)
        except OSError:
            if _noted(log) is not None and not log.exists():
                return log
            continue
        try:
            if is_older_copy(log, handle, os.fstat(handle).st_size):
                return log
        except OSError:
            continue
        finally:
            os.close(handle)
    return None


def mark_older(log: Path) -> None:
    """Remember that an older copy stands in the place of the log, whatever is appended to it from now on."""
    noted = _noted(log)
    if noted is not None and not noted.older:
        _write(log, msgspec.structs.replace(noted, older=True))


def forget_last_line(log: Path) -> None:
    """Take the log as it is, or as it will be written anew. Raises ``OSError``."""
    _path(log).unlink(missing_ok=True)


def older_words(log: Path) -> str:
    """What a person is told of an older copy, and what to restore."""
    return (
        f"{log} is older than the last run left it, or was emptied: purchases are missing in it, and would be bought "
        "again. Put its newest copy back. If there is none, `runner verify --repair-log` goes on with this one."
    )


def _path(log: Path) -> Path:
    return log.parent / ".runner" / f"{log.name}.last"


def _noted(log: Path) -> LastLine | None:
    try:
        return msgspec.json.decode(_path(log).read_bytes(), type=LastLine)
    except (OSError, ValueError):
        return None


def _write(log: Path, found: LastLine) -> bool:
    with suppress(OSError):
        disk.replace_file(_path(log), msgspec.json.encode(found))
        return True
    return False


def _last_line(handle: int, end: int) -> bytes | None:
    """The bytes of the last line before ``end``; None in an empty log."""
    length = 1 << 12
    while end:
        start = max(0, end - length)
        _, newline, line = os.pread(handle, end - start, start).rstrip(b"\n").rpartition(b"\n")
        if newline or not start:
            return line
        length *= 4
    return None


def _hash(line: bytes) -> str:
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def _time(line: bytes) -> str:
    try:
        return reread(line).at
    except BadLine:
        return ""
