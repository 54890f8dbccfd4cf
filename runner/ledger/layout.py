"""Layout of a folder: one results log, or one for each shard.

The presence of ``results.jsonl`` is the only commit point. If it is there, the folder is whole and only that log
counts. Results logs of shards beside it are left from an unfinished split or merge, and the next holder of the folder
removes them. If it is missing and ``results.2-of-4.jsonl`` is there, the folder is split into four shards.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from runner.core.errors import ConflictError, OutputError
from runner.core.shards import MOST_SHARDS, Shard
from runner.ledger.records import LEDGER, RESULTS


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Results logs in a folder."""

    root: Path
    whole: bool
    found: tuple[Shard, ...] = ()
    """Shards that have a results log, in order; empty if the folder is whole."""

    @property
    def empty(self) -> bool:
        """Tell whether the folder has no results log."""
        return not self.whole and not self.found

    @property
    def results(self) -> Path:
        """Return the path that names these results: the results log, or the folder if it is split."""
        return self.root if self.found else self.root / RESULTS

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Return the shards of a split folder; empty if it is not split. Raises ``ConflictError``."""
        if not self.found:
            return ()
        counts = sorted({shard.of for shard in self.found})
        if len(counts) > 1:
            raise ConflictError(
                f"{self.root} has results logs of {' and of '.join(map(str, counts))} shards, which are from different "
                "splits. Move the logs of one split back to where they came from. Nothing was bought."
            )
        return self.found[0].all

    @property
    def lost(self) -> tuple[Shard, ...]:
        """Return the shards whose results log is missing: all were created at once, before any was written to."""
        return tuple(shard for shard in self.shards if shard not in self.found)


def path_of(root: Path, shard: Shard | None) -> Path:
    """Return the path of the results log of a shard, or of the whole folder."""
    return root / (RESULTS if shard is None else f"results.{shard.name}.jsonl")


def look(root: Path) -> Layout:
    """Return the layout of the results in ``root``; a missing folder is empty. Raises ``OutputError``."""
    if (root / RESULTS).is_file():
        return Layout(root=root, whole=True)
    found = ledgers_of_shards(root)
    whole = not found and (root / RESULTS).is_file()  # a merge may have happened in between
    return Layout(root=root, whole=whole, found=found)


def ledgers_of_shards(root: Path) -> tuple[Shard, ...]:
    """Return the shards that have a results log in ``root``, even a stale one. Raises ``OutputError``."""
    try:
        names = os.listdir(root)  # noqa: PTH208 - only names are needed of a million files
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise OutputError(f"{root}: cannot be read: {error.strerror}. Nothing was bought.") from error
    found = filter(None, map(shard_named, names))
    return tuple(sorted(found, key=lambda shard: (shard.of, shard.index)))


def shard_named(name: str) -> Shard | None:
    """Return the shard whose results log has that name; None: no shard has it."""
    match = LEDGER.fullmatch(name)
    if match is None or match[1] is None or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS:
        return None
    return Shard(index=int(match[1]), of=int(match[2]))
