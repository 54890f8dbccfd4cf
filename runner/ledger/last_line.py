"""Last line of a results log as a run left it, noted in ``.runner/``: a log without that line is an older copy.

A copy that is restored later lacks purchases, and these would be bought again. The note is written when a log is
closed, and before the log is compacted; compacting keeps that line. Without a note the log is accepted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from runner.core import disk

BLOCK = 1 << 20
"""Bytes of a log that are read at once."""


class LastLine(msgspec.Struct, frozen=True, kw_only=True):
    """Noted line, and later findings about the log."""

    sha256: str
    at: str
    """Latest time of a record: a log with a later record was written elsewhere, and is not an older copy."""
    older: bool = False
    """True if an older copy was found in place of the log: then only the line itself proves that the log is back."""


def note_last_line(log: Path, handle: int, end: int, newest: str) -> bool:
    """Note the last line of the open log, which ends at ``end``, and tell whether the note is durable.

    ``newest`` is the latest time of a record in the log. The time of the last line may be earlier, for example after a
    rename.
    """
    line = _last_line(handle, end)
    if line is None:
        return True
    found = LastLine(sha256=_hash(line), at=newest)
    return found == _noted(log) or _write(log, found)


def is_older_copy(log: Path, handle: int | None, end: int, newest: str) -> bool:
    """Tell whether the open log is older than the last run left it, or empty, or missing. Raises ``OSError``."""
    noted = _noted(log)
    if noted is None:
        return False
    line = None if handle is None else _last_line(handle, end)
    if handle is None or line is None:
        return True
    if _hash(line) == noted.sha256 or (not noted.older and newest >= noted.at):
        return False
    return all(_hash(other) != noted.sha256 for other in _lines(handle))


def _lines(handle: int) -> Iterator[bytes]:
    """Yield every line, without moving the position of the handle."""
    offset, rest = 0, b""
    while block := os.pread(handle, BLOCK, offset):
        offset += len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    yield rest


def mark_older(log: Path) -> None:
    """Note that the log is an older copy, whatever is appended to it from now on."""
    noted = _noted(log)
    if noted is not None and not noted.older:
        _write(log, msgspec.structs.replace(noted, older=True))


def forget_last_line(log: Path) -> None:
    """Remove the note: the log is accepted as it is, or will be written anew. Raises ``OSError``."""
    _path(log).unlink(missing_ok=True)


def older_words(log: Path) -> str:
    """Return the message about an older copy, with the way to restore the log."""
    return (
        f"{log} is older than the last run left it, or was emptied. Purchases are missing in it and would be bought "
        "again. Restore its newest copy. If there is none, accept this one with `runner verify --repair-log`."
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
    """Return the bytes of the last line before ``end``; None: the log is empty."""
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
