"""The results manifest as a file: a log of lines that only ever grows, until it is rewritten whole.

A log has three endings. Clean: its last line ends in a newline. Torn: what follows the last newline is half a line
that a crash left; it was never acknowledged, so it is set aside and cut by the holder of the lock, and ignored by
everyone else. Damaged before the tail: refused, because a purchase may be hidden in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from runner import disk
from runner.errors import LedgerCorrupt, LedgerError
from runner.ledger.index import Index
from runner.model import Record, State
from runner.records import RESULTS, BadLine, decode, encode


class Log:
    """One open results manifest. Not for two threads at once, but for one writer and the event loop that waits."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open and read the whole log. Raises ``LedgerCorrupt``, or ``LedgerError`` where it cannot be opened."""
        self.path = path
        self.index = Index()
        self.torn = b""
        self._failed: OSError | None = None
        self._handle = _open(path, writable=writable)
        try:
            self._end = self._scan()
            if writable:
                self._mend()
        except BaseException:
            self.close()
            raise

    def _scan(self) -> int:
        """Index every line and return where the next one goes; what is torn is kept in ``self.torn``."""
        if self._handle is None:
            return 0
        offset = 0
        with open(self._handle, "rb", closefd=False) as lines:  # noqa: PTH123 - a handle, not a path
            for number, line in enumerate(lines, 1):
                if not self._take(line, offset, number):
                    self.torn = line
                    break
                offset += len(line)
        return offset

    def _take(self, line: bytes, offset: int, number: int) -> bool:
        """Index one line; False for a torn one. A whole record that lacks only its newline is no loss."""
        try:
            self.index.add(decode(line), offset, len(line.rstrip(b"\n")))
        except BadLine as error:
            if not line.endswith(b"\n"):
                return False
            if not line.strip():
                return True
            raise LedgerCorrupt(
                f"{self.path}:{number}: this line is no record ({error}); a purchase may be hidden in it, so nothing "
                "is bought. Restore the file from a copy, or mend it with `runner verify --repair-log`."
            ) from None
        return True

    def _mend(self) -> None:
        """Cut a torn tail, keeping a copy, and end an unended last line, so that appending is safe again."""
        if self._handle is None:
            return
        try:
            if self.torn:
                aside = self.path.parent / ".runner" / f"{RESULTS}.torn-{self._end}"
                disk.replace_file(aside, self.torn)
                os.ftruncate(self._handle, self._end)
            elif self._end and os.pread(self._handle, 1, self._end - 1) != b"\n":
                os.pwrite(self._handle, b"\n", self._end)
                self._end += 1
            os.fsync(self._handle)
            os.lseek(self._handle, self._end, os.SEEK_SET)
        except OSError as error:
            raise LedgerError(f"{self.path}: cannot be mended after a crash: {error.strerror}") from error

    def write(self, records: list[Record]) -> list[int]:
        """Write and flush all ``records`` in one go and return the lengths of their lines. Safe in a thread.

        Raises ``LedgerError``; after a failure nothing is written ever again, since what the disk holds is not known.
        """
        if self._failed is not None or self._handle is None:
            raise LedgerError(f"{self.path}: not durable any more ({self._failed}); nothing more is bought")
        lines = [encode(record) for record in records]
        try:
            disk.write_all(self._handle, b"".join(lines))
            disk.flush_data(self._handle)
        except OSError as error:
            self._fail(error)
            raise LedgerError(
                f"{self.path}: cannot be written: {error.strerror}; nothing more is bought"
            ) from error
        return [len(line) for line in lines]

    def count(self, records: list[Record], lengths: list[int]) -> None:
        """Index what ``write`` has written."""
        for record, length in zip(records, lengths, strict=True):
            self.index.add(record, self._end, length - 1)
            self._end += length

    def _fail(self, error: OSError) -> None:
        """Remember the failure, and take back what may stand half written."""
        self._failed = error
        with suppress(OSError):
            os.ftruncate(self._handle or 0, self._end)

    def read(self, span: tuple[int, int]) -> Record:
        """The record at an offset and length of the index."""
        return decode(self.read_bytes(span))

    def read_bytes(self, span: tuple[int, int]) -> bytes:
        if self._handle is None:
            raise LedgerError(f"{self.path} is not open")
        return os.pread(self._handle, span[1], span[0])

    def latest(self) -> Iterator[Record]:
        """Every purchase as it stands, in order of first appearance."""
        return map(self.read, self.index.all())

    def unsettled(self, *states: State) -> list[Record]:
        return [self.read(span) for span in self.index.unsettled(*states)]

    def compact(self) -> None:
        """Rewrite the log without superseded lines, if they are more than half. A failure keeps the old file."""
        if self.index.lines <= 2 * len(self.index) or self._failed is not None:
            return
        temporary = self.path.parent / ".runner" / f"{RESULTS}.tmp"
        with suppress(OSError):
            with temporary.open("wb") as file:
                file.writelines(self.read_bytes(span) + b"\n" for span in self.index.all())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            disk.flush_folder(self.path.parent)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _open(path: Path, *, writable: bool) -> int | None:
    """A handle on the log; None for a reader where there is none yet."""
    try:
        if not writable:
            return os.open(path, os.O_RDONLY)
        path.parent.joinpath(".runner").mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        disk.flush_folder(path.parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"{path}: cannot be opened: {error.strerror}") from error
    return handle
