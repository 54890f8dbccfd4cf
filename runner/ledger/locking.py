"""Locking of a folder, or of one shard of it, for one writer at a time.

The folder's lock guards the layout. A run that is not sharded keeps it to its end. A run of a shard takes it, brings
the folder into shape, takes its shard's lock, and only then gives it back: so whoever has the folder's lock and finds
the folder whole knows that no shard is in use.
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
    """Another run holds the folder; if it is of a shard too, only for a moment."""


class HeldParts(msgspec.Struct, frozen=True, kw_only=True):
    """What is held: the folder as a whole, or some of its shards."""

    parts: tuple[Shard | None, ...]
    """What may be written to; None is the whole folder."""
    shards: tuple[Shard, ...] = ()
    """All there are, where they are held to be worked through together."""
    lock: HeldLock | None = None
    """The lock file that keeps other runs out, for one who may buy."""

    @property
    def alone(self) -> bool:
        """Tell whether there is one results manifest, and no other is of concern."""
        return not self.shards


@contextmanager
def acquire(root: Path, since: str, shard: Shard | None = None) -> Iterator[HeldParts]:
    """Hold the folder, or a shard of it, for one who may buy.

    Raises ``Locked`` (``LayoutBusy`` where it is worth waiting), ``ConflictError`` where the folder is laid out
    otherwise, ``OutputError`` or ``LedgerError``.
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
    """Hold the folder for one who buys nothing, however it is laid out; of its shards those that are ``wanted``.

    Raises ``Locked`` naming what is in use, ``OutputError`` or ``LedgerError``.
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
    """Change the folder, so that what NFS remembers of it on this machine is asked for anew.

    Another machine may have split or merged it a second ago. A client that changes a folder learns from the answer that
    others have too, and forgets what it knew; without that it may believe an old listing for a minute.
    """
    probe = root / f"{FOLDER}.probe-{uuid.uuid4().hex}"
    try:
        probe.mkdir()  # through no link, and in nobody's place
        probe.rmdir()
    except OSError as error:
        raise OutputError(f"{root}: cannot be written: {error.strerror}. Nothing was bought.") from error


def _require_whole(root: Path) -> None:
    """A results manifest of the whole folder beside those of shards would hide all that they have bought."""
    layout = look(root)
    _settled(layout)
    if why := layout_conflict(layout, None):
        raise ConflictError(f"{why}. Nothing was bought.")
    tidy(root)


def lay_out(root: Path, shard: Shard) -> None:
    """See to it that the folder is split into as many shards as ``shard`` is one of. Needs the folder's lock."""
    layout = look(root)
    if layout.whole:
        split(root, shard.all)
    elif layout.empty:
        make_shards(root, shard.all)
    elif _settled(layout) and (why := layout_conflict(layout, shard)):
        raise ConflictError(f"{why}. Nothing was bought.")


def layout_conflict(layout: Layout, shard: Shard | None) -> str:
    """Why a run of the whole folder, or of ``shard``, is refused as the folder is laid out; empty where it is not."""
    count = len(layout.shards)
    if not count or (shard is not None and shard.of == count):
        return ""
    if shard is None:
        return (
            f"{layout.root} is split into {count} shards: run each with --shard 1/{count} to {count}/{count} (at any "
            "time, on any machine), or make one results manifest of them with `runner merge`"
        )
    return (
        f"{layout.root} is split into {count} shards, not {shard.of}: write --shard {min(shard.index, count)}/{count}, "
        "say, or `runner merge` first, and divide it anew"
    )


def _settled(layout: Layout) -> tuple[Shard, ...]:
    """The shards of a split folder, each with its results manifest; none of another.

    Raises ``LedgerCorrupt`` where one was lost.

    Where all are empty the making of them was cut short, and goes on: nothing was bought.
    """
    if not layout.lost:
        return layout.shards
    if _was_made(layout) or any(_size(path_of(layout.root, shard)) for shard in layout.found):
        raise LedgerCorrupt(
            f"{path_of(layout.root, layout.lost[0])} is gone, and with it what was bought in shard {layout.lost[0]}: "
            "put it back from a copy. Without it the same would be bought again, so nothing is bought."
        )
    make_shards(layout.root, layout.shards)
    return layout.shards


def _was_made(layout: Layout) -> bool:
    """Tell whether all shards had a results manifest once."""
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
    """Make one results manifest of all shards'; how many shards there were, 0 where the folder is whole already.

    Raises ``Locked`` naming a shard that is in use, and as ``acquire`` and ``split.merge`` do.
    """
    with acquire_all(root, since) as held:
        if held.shards:
            merge(root, held.shards)
        return len(held.shards)


def holders(layout: Layout) -> list[str]:
    """Who is at work there, in words: in the folder as a whole, and in which of its shards."""
    found = [(shard, read_holder(layout.root, shard)) for shard in (None, *layout.shards)]
    alive = [(shard, holder) for shard, holder in found if holder is not None and holder.alive]
    return [str(holder) if shard is None else f"{holder} (shard {shard})" for shard, holder in alive]
