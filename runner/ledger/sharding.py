"""Splitting of a results log into one log for each shard, and merging.

Both write each purchase's last line in order of first appearance, completely and durably, under names that do not count
yet. Then a single step makes the change: a split removes ``results.jsonl``, a merge renames the new log to that name.
If the process ends before that step, the folder is unchanged. If it ends after it, only stale results logs of shards
remain. ``tidy`` removes these after checking that they contain nothing else.

Both need the folder's lock, and that no shard is in use.
"""

from __future__ import annotations

import heapq
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import msgspec

from runner.core import disk
from runner.core.errors import ConflictError, LedgerError
from runner.core.models import Record
from runner.core.shards import Shard, shard_of
from runner.ledger.index import RedoState
from runner.ledger.last_line import forget_last_line, older_words
from runner.ledger.layout import ledgers_of_shards, path_of, shard_named
from runner.ledger.lockfile import FOLDER
from runner.ledger.log import Log
from runner.ledger.records import RESULTS, encode
from runner.ledger.salvage import Key

BUFFER = 1 << 18
"""Bytes that are written at once."""
AT_ONCE = 64
"""Number of results logs written in one pass: the number of open files of a process is limited."""


def make_shards(root: Path, shards: tuple[Shard, ...]) -> None:
    """Create an empty results log for every shard, all before any is written to: one that is missing later was lost."""
    try:
        made(root).unlink(missing_ok=True)
        for shard in shards:
            flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            os.close(os.open(path_of(root, shard), flags, 0o644))
        disk.flush_folder(root)
        _note_made(root, shards)
    except OSError as error:
        raise LedgerError(f"{root}: cannot be written: {error.strerror}. Nothing was bought.") from error


def made(root: Path) -> Path:
    """Return the path of the note about created shards: once all have a results log, it contains their number."""
    return root / FOLDER / "shards"


def _note_made(root: Path, shards: Sequence[Shard]) -> None:
    disk.replace_file(made(root), str(len(shards)).encode())


def split(root: Path, shards: tuple[Shard, ...]) -> None:
    """Divide a whole folder's results among ``shards``. Raises ``LedgerError``; the folder then stays whole."""
    tidy(root)
    log = Log(root / RESULTS, writable=True)
    try:
        _refuse_older(log)
        for shard in shards:
            forget_last_line(path_of(root, shard))  # left by an earlier split
        for first in range(0, len(shards), AT_ONCE):
            _write_shards(log, shards[first : first + AT_ONCE])
        disk.flush_folder(root)
        _note_made(root, shards)
        (root / RESULTS).unlink()
        disk.flush_folder(root)
    except OSError as error:
        raise LedgerError(
            f"{root}: cannot be split into shards: {error.strerror}. The folder stays whole, and nothing was bought."
        ) from error
    finally:
        log.close()


def _write_shards(log: Log, shards: Sequence[Shard]) -> None:
    """Write the results logs of some shards, in one pass over all purchases."""
    root, mode = log.path.parent, _mode_of(log.path)
    with ExitStack() as stack:
        files = {shard.index: stack.enter_context(_whole_file(path_of(root, shard), mode)) for shard in shards}
        for record in log.latest():
            file = files.get(shard_of(record.id, shards[0].of))
            if file is not None:
                file.write(encode(_with_redo(record, log.index.redo.get(record.api, RedoState()))))


def _with_redo(record: Record, redo: RedoState) -> Record:
    """Return a record whose mark includes the state of its redo: the line with that state may go to another shard."""
    if not record.redo:
        return record
    newest = record.redo == redo.number
    return msgspec.structs.replace(
        record,
        redo_chosen=record.redo_chosen or not newest or redo.chosen,
        redo_closed=record.redo_closed or not newest or redo.closed,
    )


def merge(root: Path, shards: tuple[Shard, ...]) -> None:
    """Merge the results logs of ``shards`` into one.

    Raises ``LedgerError``, ``LedgerCorrupt``, or ``ConflictError`` while a redo is not finished. The folder then stays
    split.
    """
    with ExitStack() as stack:
        logs = []
        for shard in shards:
            logs.append(Log(path_of(root, shard), writable=True))
            stack.callback(logs[-1].close)
        _refuse_unfinished(logs, shards)
        for log in logs:
            _refuse_older(log)
        try:
            forget_last_line(root / RESULTS)
            with _whole_file(root / RESULTS, min(_mode_of(log.path) for log in logs)) as file:
                file.writelines(_in_order(logs))
            disk.flush_folder(root)
            _remove(root, shards)
            _clear(root)
        except OSError as error:
            raise LedgerError(
                f"{root}: cannot be merged: {error.strerror}. Nothing is lost; repeat the merge."
            ) from error


def _refuse_older(log: Log) -> None:
    """Refuse an older copy: after rewriting, it could no longer be recognised as one."""
    if log.older:
        raise ConflictError(f"{older_words(log.path)} Nothing was changed.")


def _refuse_unfinished(logs: Iterable[Log], shards: Iterable[Shard]) -> None:
    """Refuse a merge while a redo is unfinished.

    Each shard numbers its redos by itself. The numbers no longer matter once all redos are finished.
    """
    open_ = [
        shard
        for shard, log in zip(shards, logs, strict=True)
        if not all(redo.closed for redo in log.index.redo.values())
    ]
    if open_:
        raise ConflictError(
            f"a redo is not finished in shard {', '.join(map(str, open_))}: `runner run … --shard {open_[0]}` goes on "
            "with it, after `runner reconcile` where a job in doubt keeps it open. Merge then; nothing was changed."
        )


def _in_order(logs: Sequence[Log]) -> Iterator[bytes]:
    """Yield the lines of all logs, each shard's in its order, about in the order of writing.

    A renamed purchase comes before purchases bought since under its old id. In the reverse order, the line of the
    rename would apply to the newer purchase and hide it.
    """
    movers, written = _movers(logs), set[Key]()
    for _, record in heapq.merge(*map(_timed, logs), key=itemgetter(0)):
        yield from _after_movers(record, movers, written)


def _movers(logs: Sequence[Log]) -> dict[Key, list[Record]]:
    """Return renamed purchases by their old id and number, if these are in use again."""
    found: dict[Key, list[Record]] = {}
    for record in (record for log in logs for record in log.latest() if record.renamed_from is not None):
        old = record.renamed_from or "", record.renamed_purchase or record.purchase
        if logs[shard_of(old[0], len(logs)) - 1].index.knows(*old):
            found.setdefault(old, []).append(record)
    return found


def _after_movers(record: Record, movers: dict[Key, list[Record]], written: set[Key]) -> Iterator[bytes]:
    key = record.id, record.purchase
    if key in written:
        return
    if record.renamed_from is not None:
        written.add(key)
    for mover in movers.get(key, ()):
        yield from _after_movers(mover, movers, written)
    yield encode(record)


def _timed(log: Log) -> Iterator[tuple[str, Record]]:
    """Yield each purchase with a time that never decreases."""
    at = ""
    for record in log.latest():
        at = max(at, record.submitted_at or record.at)
        yield at, record


def tidy(root: Path) -> None:
    """Remove the results logs of shards beside that of the whole folder.

    Raises ``ConflictError`` if one of them has purchases that the folder's log lacks. It is then not left over from a
    split or merge: somebody put one of the two there.
    """
    _clear(root)
    stale = ledgers_of_shards(root)
    if not stale:
        return
    log = Log(root / RESULTS, writable=False)
    try:
        strange = next((shard for shard in stale if not _holds(log, path_of(root, shard))), None)
    finally:
        log.close()
    if strange is not None:
        raise ConflictError(
            f"{root} holds {RESULTS} and {path_of(root, strange).name}, and each knows of purchases that the other "
            "does not: one of them was put there. Move the one that is out of date away. Nothing was bought."
        )
    try:
        _remove(root, stale)
    except OSError as error:
        raise LedgerError(f"{root}: cannot be written: {error.strerror}. Nothing was bought.") from error


def _holds(log: Log, path: Path) -> bool:
    """Tell whether ``log`` has all purchases of a shard's results log, ignoring the state of redos."""
    part = Log(path, writable=False)
    try:
        return all(
            _plain(record) in [_plain(log.read(span)) for span in log.index.purchases(record.id)]
            for record in part.latest()
        )
    finally:
        part.close()


def _plain(record: Record) -> Record:
    return msgspec.structs.replace(record, redo_chosen=False, redo_closed=False)


def _remove(root: Path, shards: Iterable[Shard]) -> None:
    for shard in shards:
        forget_last_line(path_of(root, shard))
        path_of(root, shard).unlink(missing_ok=True)
    disk.flush_folder(root)


def _clear(root: Path) -> None:
    """Remove the shards' own files below ``.runner``: locks, partial downloads, partial results."""
    with suppress(OSError):
        made(root).unlink()
    for path in [*(root / FOLDER).glob("*-of-*")]:
        if shard_named(f"results.{path.name}.jsonl") is not None:
            shutil.rmtree(path, ignore_errors=True)
        elif shard_named(path.name.removesuffix(".tmp")) is not None and path.suffix == ".tmp":
            path.unlink(missing_ok=True)


def _mode_of(path: Path) -> int:
    """Return the permissions of ``path``, so that the new file keeps them."""
    return path.stat().st_mode & 0o777


@contextmanager
def _whole_file(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Yield a file for writing that gets its name once it is complete, replacing no other file.

    The caller makes the name durable.
    """
    temporary = path.parent / FOLDER / f"{path.name}.tmp"
    temporary.unlink(missing_ok=True)  # after a crash it may be a second name of the renamed file
    try:
        with temporary.open("xb", buffering=BUFFER) as file:
            temporary.chmod(mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        disk.give_name(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
