"""Splitting of a results log into one for each shard, and merging.

Both write what is known, each purchase's last line in order of first appearance, completely and durably under names
that count for nothing yet, and then take one step that is the whole change: a split removes ``results.jsonl``, a merge
renames its own into that place. Cut before that step, the folder is what it was; cut after it, only stale results
manifests of shards are left to be removed. ``tidy`` does that, once it has seen that they say nothing else.

Each needs the folder's lock, and that no shard is in use.
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
"""So many results manifests are written in one pass: a process may not open any number of files."""


def make_shards(root: Path, shards: tuple[Shard, ...]) -> None:
    """Give every shard an empty results manifest, all before any is written to: one that is gone later was lost."""
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
    """What stands there once all shards of a folder have a results manifest: how many."""
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
            forget_last_line(path_of(root, shard))  # of an earlier split
        for first in range(0, len(shards), AT_ONCE):
            _write_shards(log, shards[first : first + AT_ONCE])
        disk.flush_folder(root)
        _note_made(root, shards)
        (root / RESULTS).unlink()
        disk.flush_folder(root)
    except OSError as error:
        raise LedgerError(
            f"{root}: cannot be split into shards: {error.strerror}. It stays whole, and nothing was bought."
        ) from error
    finally:
        log.close()


def _write_shards(log: Log, shards: Sequence[Shard]) -> None:
    """Write the results manifests of some shards, in one pass over what is known."""
    root, mode = log.path.parent, _mode_of(log.path)
    with ExitStack() as stack:
        files = {shard.index: stack.enter_context(_whole_file(path_of(root, shard), mode)) for shard in shards}
        for record in log.latest():
            file = files.get(shard_of(record.id, shards[0].of))
            if file is not None:
                file.write(encode(_with_redo(record, log.index.redo.get(record.api, RedoState()))))


def _with_redo(record: Record, standing: RedoState) -> Record:
    """A mark that says by itself how far its redo is: the line that said so may go to another shard."""
    if not record.redo:
        return record
    newest = record.redo == standing.number
    return msgspec.structs.replace(
        record,
        redo_chosen=record.redo_chosen or not newest or standing.chosen,
        redo_closed=record.redo_closed or not newest or standing.closed,
    )


def merge(root: Path, shards: tuple[Shard, ...]) -> None:
    """Make one results manifest of those of ``shards``.

    Raises ``LedgerError``, ``LedgerCorrupt``, or ``ConflictError`` while a redo is not finished; the folder then stays
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
            raise LedgerError(f"{root}: cannot be merged: {error.strerror}. Nothing is lost; repeat it.") from error


def _refuse_older(log: Log) -> None:
    """What is written anew from an older copy could not be told from the whole any more."""
    if log.older:
        raise ConflictError(f"{older_words(log.path)} Nothing was changed.")


def _refuse_unfinished(logs: Iterable[Log], shards: Iterable[Shard]) -> None:
    """A redo is numbered in each shard by itself; only once they are finished do the numbers not matter."""
    open_ = [
        shard
        for shard, log in zip(shards, logs, strict=True)
        if not all(standing.closed for standing in log.index.redo.values())
    ]
    if open_:
        raise ConflictError(
            f"a redo is not finished in shard {', '.join(map(str, open_))}: `runner run … --shard {open_[0]}` goes on "
            "with it, after `runner reconcile` where a job in doubt keeps it open. Merge then; nothing was changed."
        )


def _in_order(logs: Sequence[Log]) -> Iterator[bytes]:
    """The lines of all, each shard's in their order, about as they were written.

    But what was renamed stands before what was bought under its old id since then: read after that, its line would say
    that this is the purchase which goes on under another id, and hide it.
    """
    movers, written = _movers(logs), set[Key]()
    for _, record in heapq.merge(*map(_timed, logs), key=itemgetter(0)):
        yield from _after_movers(record, movers, written)


def _movers(logs: Sequence[Log]) -> dict[Key, list[Record]]:
    """Purchases that took another's place, by the id and number that they had before, where those are in use again."""
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
    """Each purchase with a time that never goes back."""
    at = ""
    for record in log.latest():
        at = max(at, record.submitted_at or record.at)
        yield at, record


def tidy(root: Path) -> None:
    """Remove the results manifests of shards that stand beside the one of the whole folder.

    Raises ``ConflictError`` where one of them holds what that does not: then it is no remnant, and somebody put one of
    the two there.
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
    """Tell whether all that a shard's results manifest knows is known to ``log``, how far a redo is left aside."""
    part = Log(path, writable=False)
    try:
        return all(_plain(record) in map(_plain, _history(log, record.id)) for record in part.latest())
    finally:
        part.close()


def _history(log: Log, job_id: str) -> Iterator[Record]:
    return map(log.read, log.index.purchases(job_id))


def _plain(record: Record) -> Record:
    return msgspec.structs.replace(record, redo_chosen=False, redo_closed=False)


def _remove(root: Path, shards: Iterable[Shard]) -> None:
    for shard in shards:
        forget_last_line(path_of(root, shard))
        path_of(root, shard).unlink(missing_ok=True)
    disk.flush_folder(root)


def _clear(root: Path) -> None:
    """Remove what shards had for themselves below ``.runner``: locks, half downloads, half written results."""
    with suppress(OSError):
        made(root).unlink()
    for path in [*(root / FOLDER).glob("*-of-*")]:
        if shard_named(f"results.{path.name}.jsonl") is not None:
            shutil.rmtree(path, ignore_errors=True)
        elif shard_named(path.name.removesuffix(".tmp")) is not None and path.suffix == ".tmp":
            path.unlink(missing_ok=True)


def _mode_of(path: Path) -> int:
    """Who may read results stays as it was."""
    return path.stat().st_mode & 0o777


@contextmanager
def _whole_file(path: Path, mode: int) -> Iterator[BinaryIO]:
    """A file to write, which takes its name once it is complete, over no other file.

    The name is for the caller to make durable.
    """
    temporary = path.parent / FOLDER / f"{path.name}.tmp"
    temporary.unlink(missing_ok=True)  # a crash may have left it as a second name of what took its place
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
