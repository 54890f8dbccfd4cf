"""Results log as a file: lines are only appended, until the log is compacted as a whole.

A log has three endings:

* Clean: the last line ends in a newline.
* Torn: half a line after the last newline, left by a crash. That line was never acknowledged. The holder of the lock
  saves a copy and cuts the line off; every other reader ignores it.
* Damaged before the tail: the log is refused, because a purchase may be hidden in it.
"""

from __future__ import annotations

import errno
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from runner.core import disk
from runner.core.errors import LedgerCorrupt, LedgerError
from runner.core.models import Record, State
from runner.ledger.file_owners import FileOwners
from runner.ledger.index import Index
from runner.ledger.last_line import is_older_copy, mark_older, note_last_line
from runner.ledger.log_lock import lock_log, open_locked, unlock_log
from runner.ledger.records import BadLine, decode
from runner.ledger.reserve import NO_ROOM, Reserve

logger = logging.getLogger(__name__)


class Log:
    """One open results log. For one writer and the event loop that waits for it, not for two threads at once."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open and read the whole log. Raises ``LedgerCorrupt``, or ``LedgerError`` if the log cannot be opened."""
        self.path = path
        self.index = Index()
        self.file_owners: FileOwners | None = None
        """Owners of the files; None until they are first needed."""
        self.torn = b""
        self.older = False
        """True if the log is an older copy than the last run left."""
        self._newest = ""
        """Latest time of a record."""
        self.api = ""
        self.aliases: frozenset[str] = frozenset()
        """Addresses of the API whose purchases are shown as made at ``api``."""
        self._noting = False
        """True if the last line is noted when the log is closed."""
        self._ended = "" if writable else "opened for reading"
        """Reason why nothing may be written any more; empty while writing is allowed."""
        self._reserve = Reserve(path.parent / ".runner" / f"{path.name}.reserve")
        self.full = False
        """True if the disk was full: purchases are still recorded, but no new intents."""
        self._successor: int | None = None
        """Handle of the compacted log; it keeps that log's lock."""
        self._handle = _open(path, writable=writable)
        try:
            self._identity = None if self._handle is None else disk.identity(self._handle)
            self._end = self._scan()
            if writable:
                self._reserve.release()  # left by a run that crashed
                self._repair_end()
            self.older = is_older_copy(path, self._handle, self._end, self._newest)
            if writable:
                if self.older:
                    mark_older(path)
                self._noting = not self.older
        except OSError as error:
            self.close()
            raise LedgerError(f"{path}: cannot be read: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def _scan(self) -> int:
        """Index every line and return the offset of the next one; a torn line is kept in ``self.torn``.

        A complete record that only lacks its newline is not torn.
        """
        if self._handle is None:
            return 0
        offset = 0
        with open(self._handle, "rb", closefd=False) as file:
            for number, line in enumerate(file, 1):
                ended = line.endswith(b"\n")
                try:
                    record = decode(line)
                except BadLine as error:
                    if not ended:
                        self.torn = line
                        break
                    if line.strip():
                        raise LedgerCorrupt(
                            f"{self.path}:{number}: this line is not a record ({error}). A purchase may be hidden in "
                            "it, so nothing is bought. Restore the file from a copy, or repair it with "
                            "`runner verify --repair-log`."
                        ) from None
                else:
                    self._newest = max(self._newest, record.at)
                    self.index.add(record, offset, len(line) - ended)
                offset += len(line)
        return offset

    def _repair_end(self) -> None:
        """Cut off a torn tail, keeping a copy, and complete a last line without newline, so that appending is safe."""
        if self._handle is None:
            return
        try:
            if self.torn:
                name = f"{self.path.name}.torn-{self._end}-{zlib.crc32(self.torn):08x}"
                mode = os.fstat(self._handle).st_mode & 0o777  # it may contain a prompt that others must not read
                disk.replace_file(self.path.parent / ".runner" / name, self.torn, mode)
                os.ftruncate(self._handle, self._end)
                logger.warning(
                    "%s: an incomplete last line, left by a crash, was removed; a copy is in .runner/%s",
                    self.path,
                    name,
                )
            elif self._end and os.pread(self._handle, 1, self._end - 1) != b"\n":
                os.pwrite(self._handle, b"\n", self._end)
                self._end += 1
            os.fsync(self._handle)
            os.lseek(self._handle, self._end, os.SEEK_SET)
        except OSError as error:
            raise LedgerError(f"{self.path}: cannot be repaired after a crash: {error.strerror}") from error

    def write(self, lines: Sequence[bytes], *, buys: bool = True) -> None:
        """Write and flush all ``lines`` at once. Safe in a thread.

        ``buys``: an intent is among the lines, so the space for the answers is reserved first.

        Raises ``LedgerError``. After a failure nothing is written any more, because the content on the disk is not
        known.
        """
        if self._ended or self._handle is None:
            raise LedgerError(f"{self.path}: {self._ended or 'not open'}; nothing more is bought")
        if buys and not self.full:
            try:
                self._reserve.take()
            except OSError as error:  # purchases in progress can still be recorded
                raise LedgerError(
                    f"{self.path}: no disk space is left to record purchases: {error.strerror}; nothing more is bought"
                ) from error
        try:
            self._require_place()
            self._write(self._handle, b"".join(lines))
        except OSError as error:
            self._ended = f"not durable any more ({error.strerror})"
            with suppress(OSError):
                os.ftruncate(self._handle, self._end)  # lines may be half written
            raise LedgerError(f"{self.path}: cannot be written: {error.strerror}; nothing more is bought") from error

    def _write(self, handle: int, data: bytes) -> None:
        """Write and flush ``data``; if the disk is full, in the reserved space."""
        try:
            disk.write_all(handle, data)
            disk.flush_data(handle)
        except OSError as error:
            if error.errno not in NO_ROOM or not self._reserve.release():
                raise
            self.full = True
            logger.warning("%s: the disk is full; purchases in progress are recorded in the reserved space", self.path)
            os.ftruncate(handle, self._end)
            os.lseek(handle, self._end, os.SEEK_SET)
            disk.write_all(handle, data)
            disk.flush_data(handle)

    def _require_place(self) -> None:
        """Raise ``OSError`` if the file no longer has its name: the next run would not see what is written to it."""
        try:
            here = disk.identity(self.path) == self._identity
        except FileNotFoundError:
            here = False
        if not here:
            raise OSError(errno.ENOENT, "it was moved, replaced or deleted while a run used it")

    def count(self, record: Record, length: int) -> None:
        """Index a record whose line of ``length`` bytes was written by ``write``; call in the order of the lines."""
        number = self.index.add(record, self._end, length - 1)
        self._end += length
        self._newest = max(self._newest, record.at)
        if self.file_owners is not None:
            self.file_owners.note(record, number)

    def read(self, span: tuple[int, int]) -> Record:
        """Return the record at an offset and length of the index. Raises ``LedgerError`` if the file was altered."""
        try:
            record = decode(self.read_bytes(span))
        except BadLine as error:
            raise LedgerError(f"{self.path} was altered while it was in use ({error}); run again") from None
        return msgspec.structs.replace(record, api=self.api) if record.api in self.aliases else record

    def purchase(self, number: int) -> Record | None:
        """Return the purchase of that number in the index; None: it continues under another id."""
        span = self.index.span(number)
        return None if span is None else self.read(span)

    def read_bytes(self, span: tuple[int, int]) -> bytes:
        if self._handle is None:
            raise LedgerError(f"{self.path} is not open")
        return os.pread(self._handle, span[1], span[0])

    def latest(self) -> Iterator[Record]:
        """Yield the last record of every purchase, in order of first appearance."""
        return map(self.read, self.index.all())

    def unclaimed(self) -> Iterator[Record]:
        """Yield the last record of every purchase whose job was not marked with ``index.claim``."""
        return map(self.read, self.index.unclaimed())

    def unsettled(self, *states: State) -> list[Record]:
        """Return the purchases whose last line is in one of ``states`` (owed or an intent), oldest first."""
        records = [self.read(span) for span in self.index.unsettled(*states)]
        return sorted(records, key=lambda record: record.submitted_at or record.at)  # a rename moves lines to the end

    def compact(self) -> None:
        """Rewrite the log without superseded lines, if they are more than half. On failure the old file stays.

        After that nothing can be written: the open handle is that of the old file.
        """
        if self._ended or self.index.lines <= 2 * len(self.index) or not self._note_last_line():
            return
        temporary = _temporary(self.path)
        try:
            temporary.unlink(missing_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._successor = handle
            lock_log(handle, temporary, tell=False)
            with open(handle, "wb", closefd=False) as file:
                file.writelines(self.read_bytes(span) + b"\n" for span in self.index.all())
                file.flush()
                os.fsync(handle)
            temporary.chmod(self.path.stat().st_mode & 0o777)
            temporary.replace(self.path)
            self._ended = "rewritten, and to be opened again"
            disk.flush_folder(self.path.parent)
        except OSError as error:
            logger.warning("%s: could not be compacted, and stays as it is: %s", self.path, error.strerror)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _note_last_line(self) -> bool:
        """Note the last line, and tell whether the next run can tell an older copy from this log."""
        if not self._noting or self._handle is None:
            return False
        try:
            here = disk.identity(self.path) == self._identity
            return here and note_last_line(self.path, self._handle, self._end, self._newest)
        except OSError:
            return False

    def close(self) -> None:
        self._reserve.close()
        if self._noting and not self._ended:
            self._note_last_line()
        for handle in filter(None, (self._handle, self._successor)):
            unlock_log(handle)
            os.close(handle)
        self._handle = self._successor = None


def _open(path: Path, *, writable: bool) -> int | None:
    """Return a handle on the log; None for a reader if there is no log yet."""
    try:
        if not writable:
            return os.open(path, os.O_RDONLY)
        path.parent.joinpath(".runner").mkdir(parents=True, exist_ok=True)
        handle = open_locked(path)
        try:
            with suppress(OSError):
                _temporary(path).unlink(missing_ok=True)  # left by a compaction that crashed
            disk.flush_folder(path.parent)
        except BaseException:
            os.close(handle)  # otherwise the log stays locked as long as this process lives
            raise
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not writable:
            return None
        if error.errno == errno.ELOOP:
            raise LedgerError(
                f"{path}: is a link; results are written to the output folder only. Remove the link"
            ) from error
        raise LedgerError(f"{path}: cannot be opened: {error.strerror}") from error
    return handle


def _temporary(path: Path) -> Path:
    """Return the path at which the log is rewritten before it replaces ``path``."""
    return path.parent / ".runner" / f"{path.name}.tmp"
