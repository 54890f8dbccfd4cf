"""Holding a folder, or one shard of it: who may write to which results manifest, and that there is never a second.

The folder's lock guards the layout. A run that is not sharded keeps it to its end. A run of a shard takes it, brings
the folder into shape, takes its shard's lock, and only then gives it back: so whoever has the folder's lock and finds
the folder whole knows that no shard is in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runner.errors import ConflictError, LedgerCorrupt, Locked
from runner.ledger.layout import Layout, look, path_of
from runner.ledger.lock import run_lock
from runner.ledger.split import make_shards, merge, split, tidy
from runner.shards import Shard


class Passing(Locked):
    """Another run holds the folder; if it is of a shard too, only for a moment."""


@contextmanager
def hold(root: Path, since: str, shard: Shard | None = None) -> Iterator[Path]:
    """Hold the folder, or a shard of it, and say where its results manifest is.

    Raises ``Locked`` (``Passing`` where it is worth waiting), ``ConflictError`` where the folder is laid out otherwise,
    ``OutputError`` or ``LedgerError``.
    """
    if shard is None:
        with run_lock(root, since):
            _require_whole(root)
            yield path_of(root, None)
        return
    with ExitStack() as held:
        with _folder_lock(root, since):
            arrange(root, shard)
            held.enter_context(run_lock(root, since, shard))
        yield path_of(root, shard)


@contextmanager
def _folder_lock(root: Path, since: str) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(run_lock(root, since))
        except Locked as error:
            raise Passing(str(error)) from None
        yield


def _require_whole(root: Path) -> None:
    """A results manifest of the whole folder beside those of shards would hide all that they have bought."""
    layout = look(root)
    if layout.found:
        count = len(_settled(layout))
        raise ConflictError(
            f"{root} is split into {count} shards: run each with --shard 1/{count} to {count}/{count} (at any time, on "
            "any machine), or make one results manifest of them with `runner merge`. Nothing was bought."
        )
    tidy(root)


def arrange(root: Path, shard: Shard) -> None:
    """See to it that the folder is split into as many shards as ``shard`` is one of. Needs the folder's lock."""
    layout = look(root)
    if layout.whole:
        split(root, shard.all)
    elif layout.empty:
        make_shards(root, shard.all)
    elif len(there := _settled(layout)) != shard.of:
        raise ConflictError(
            f"{root} is split into {len(there)} shards, not {shard.of}: write --shard {min(shard.index, len(there))}/"
            f"{len(there)}, say, or `runner merge` first, and divide it anew. Nothing was bought."
        )


def _settled(layout: Layout) -> tuple[Shard, ...]:
    """The shards of a split folder, each with its results manifest. Raises ``LedgerCorrupt`` where one was lost.

    Where all are empty the making of them was cut short, and goes on: nothing was bought.
    """
    if not layout.lost:
        return layout.shards
    if any(path_of(layout.root, shard).stat().st_size for shard in layout.found):
        raise LedgerCorrupt(
            f"{path_of(layout.root, layout.lost[0])} is gone, and with it what was bought in shard {layout.lost[0]}: "
            "put it back from a copy. Without it the same would be bought again, so nothing is bought."
        )
    make_shards(layout.root, layout.shards)
    return layout.shards


def merge_shards(root: Path, since: str) -> int | None:
    """Make one results manifest of all shards'; how many shards there were, or None where the folder is whole.

    Raises ``Locked`` naming a shard that is in use, and as ``hold`` and ``split.merge`` do.
    """
    with run_lock(root, since), ExitStack() as held:
        layout = look(root)
        if not layout.found:
            tidy(root)
            return None
        shards = _settled(layout)
        for shard in shards:
            held.enter_context(run_lock(root, since, shard))
        merge(root, shards)
        return len(shards)
