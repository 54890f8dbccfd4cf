"""Locking of a folder, or of one shard, for one writer at a time.

The folder's lock guards the layout. A run without shards holds it to the end. A run of a shard takes it, prepares the
layout, takes the lock of its shard, and only then releases the folder's lock. So if a process holds the folder's lock
and finds the folder whole, no shard is in use.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from runner.core.errors import ConflictError, LedgerCorrupt, LedgerError, Locked, OutputError
from runner.core.shards import Shard
from runner.ledger.layout import Layout, look, path_of
from runner.ledger.lockfile import FOLDER, HeldLock, read_holder, run_lock
from runner.ledger.sharding import made, make_shards, merge, split, tidy


class LayoutBusy(Locked):
    """Another run holds the folder; a run of a shard does so only briefly."""


class HeldParts(msgspec.Struct, frozen=True, kw_only=True):
    """Held parts: the folder as a whole, or some of its shards."""

    parts: tuple[Shard | None, ...]
    """Parts that may be written to; None: the whole folder."""
    shards: tuple[Shard, ...] = ()
    """All shards of the folder, if they are held to be processed together."""
    lock: HeldLock | None = None
    """Lock file that excludes other runs, for a holder that may buy."""

    @property
    def alone(self) -> bool:
        """Tell whether one results log is held and no other is read."""
        return not self.shards


@contextmanager
def acquire(root: Path, since: str, shard: Shard | None = None) -> Iterator[HeldParts]:
    """Hold the folder, or a shard of it, for a run that may buy.

    Raises ``Locked`` (``LayoutBusy`` if waiting helps), ``ConflictError`` if the folder has another layout,
    ``OutputError`` or ``LedgerError``.
    """
    with ExitStack() as held:
        if shard is None:
            lock = held.enter_context(run_lock(root, since))
            _see_afresh(root)
            _require_whole(root)
        else:
            with _folder_lock(root, since):
                _see_afresh(root)
                lay_out(root, shard)
                lock = held.enter_context(run_lock(root, since, shard))
        yield HeldParts(parts=(shard,), lock=lock)


@contextmanager
def acquire_all(root: Path, since: str, wanted: Callable[[Shard], bool] = lambda _: True) -> Iterator[HeldParts]:
    """Hold the folder for a command that buys nothing, in any layout; of its shards those that are ``wanted``.

    Raises ``Locked`` naming the part in use, ``OutputError`` or ``LedgerError``.
    """
    with ExitStack() as held:
        held.enter_context(run_lock(root, since))
        _see_afresh(root)
        shards = _settled(look(root))
        if not shards:
            tidy(root)
        parts = [shard for shard in shards if wanted(shard)]
        for shard in parts:
            held.enter_context(run_lock(root, since, shard))
        yield HeldParts(parts=tuple(parts) if shards else (None,), shards=shards)


@contextmanager
def _folder_lock(root: Path, since: str) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(run_lock(root, since))
        except Locked as error:
            raise LayoutBusy(str(error)) from None
        yield


def _see_afresh(root: Path) -> None:
    """Change the folder, so that NFS reloads its cached listing on this machine.

    Another machine may have split or merged the folder a moment ago. An NFS client that changes a folder learns from
    the answer about other changes and drops its cache. Without that, it may use an old listing for a minute.
    """
    probe = root / f"{FOLDER}.probe-{uuid.uuid4().hex}"
    try:
        probe.mkdir()  # follows no link and replaces nothing
        probe.rmdir()
    except OSError as error:
        raise OutputError(f"{root}: cannot be written: {error.strerror}. Nothing was bought.") from error


def _require_whole(root: Path) -> None:
    """Refuse a split folder: a results log of the whole folder would hide all purchases in the shards."""
    layout = look(root)
    _settled(layout)
    if why := layout_conflict(layout, None):
        raise ConflictError(f"{why}. Nothing was bought.")
    tidy(root)


def lay_out(root: Path, shard: Shard) -> None:
    """Split the folder into the number of shards that ``shard`` belongs to, if needed. Needs the folder's lock."""
    layout = look(root)
    if layout.whole:
        split(root, shard.all)
    elif layout.empty:
        make_shards(root, shard.all)
    elif _settled(layout) and (why := layout_conflict(layout, shard)):
        raise ConflictError(f"{why}. Nothing was bought.")


def layout_conflict(layout: Layout, shard: Shard | None) -> str:
    """Return the reason why the layout bars a run of the whole folder, or of ``shard``; empty: it does not."""
    count = len(layout.shards)
    if not count or (shard is not None and shard.of == count):
        return ""
    if shard is None:
        return (
            f"{layout.root} is split into {count} shards: run each with --shard 1/{count} to {count}/{count} (at any "
            "time, on any machine), or merge their results logs with `runner merge`"
        )
    return (
        f"{layout.root} is split into {count} shards, not {shard.of}: write --shard {min(shard.index, count)}/{count}, "
        "or run `runner merge` first and split the folder again"
    )


def _settled(layout: Layout) -> tuple[Shard, ...]:
    """Return the shards of a split folder, each with its results log; empty for another folder.

    Raises ``LedgerCorrupt`` if a results log was lost. If all logs are empty, their creation was interrupted: the
    missing ones are created, since nothing was bought.
    """
    if not layout.lost:
        return layout.shards
    if _was_made(layout) or any(_size(path_of(layout.root, shard)) for shard in layout.found):
        raise LedgerCorrupt(
            f"{path_of(layout.root, layout.lost[0])} is missing, and with it the purchases of shard {layout.lost[0]}. "
            "Restore it from a copy. Without it the same jobs would be bought again, so nothing is bought."
        )
    make_shards(layout.root, layout.shards)
    return layout.shards


def _was_made(layout: Layout) -> bool:
    """Tell whether all shards had a results log once."""
    try:
        return made(layout.root).read_bytes() == str(len(layout.shards)).encode()
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}. Nothing was bought.") from error


def merge_shards(root: Path, since: str) -> int:
    """Merge all shards into one results log and return the number of shards; 0 if the folder is whole already.

    Raises ``Locked`` naming a shard in use, and the errors of ``acquire_all`` and ``sharding.merge``.
    """
    with acquire_all(root, since) as held:
        if held.shards:
            merge(root, held.shards)
        return len(held.shards)


def holders(layout: Layout) -> list[str]:
    """Return the running holders in words: of the folder as a whole, and of its shards."""
    found = [(shard, read_holder(layout.root, shard)) for shard in (None, *layout.shards)]
    alive = [(shard, holder) for shard, holder in found if holder is not None and holder.alive]
    return [str(holder) if shard is None else f"{holder} (shard {shard})" for shard, holder in alive]
