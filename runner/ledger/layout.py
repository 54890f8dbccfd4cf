"""Layout of a folder: one results log, or one for each shard.

The one commit point is whether ``results.jsonl`` is there. Where it is, the folder is whole and it alone is the truth:
results manifests of shards beside it are what a split or a merge left that did not come to its end, and the next holder
of the folder takes them away. Where it is not and ``results.2-of-4.jsonl`` is, the folder is split into four.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from runner.core.errors import ConflictError, OutputError
from runner.core.shards import MOST_SHARDS, Shard
from runner.ledger.records import LEDGER, RESULTS


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in a folder."""

    root: Path
    whole: bool
    found: tuple[Shard, ...] = ()
    """Where it is not whole: the shards that have a results manifest there, in order."""

    @property
    def empty(self) -> bool:
        """Tell whether nothing was ever bought there."""
        return not self.whole and not self.found

    @property
    def results(self) -> Path:
        """What names these results: the results manifest, or the folder where there are several."""
        return self.root if self.found else self.root / RESULTS

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Into which shards the folder is split; none where it is not. Raises ``ConflictError``."""
        if not self.found:
            return ()
        counts = sorted({shard.of for shard in self.found})
        if len(counts) > 1:
            raise ConflictError(
                f"{self.root} holds results of shards of {' and of '.join(map(str, counts))}: those of one number do "
                "not belong there. Move the others to where they came from. Nothing was bought."
            )
        return self.found[0].all

    @property
    def lost(self) -> tuple[Shard, ...]:
        """Shards whose results manifest is gone: all were made at once, before any was written to."""
        return tuple(shard for shard in self.shards if shard not in self.found)


def path_of(root: Path, shard: Shard | None) -> Path:
    """Where the results manifest of a shard is, or that of the whole folder."""
    return root / (RESULTS if shard is None else f"results.{shard.name}.jsonl")


def look(root: Path) -> Layout:
    """How the results in ``root`` are laid out; a folder that is not there holds none. Raises ``OutputError``."""
    if (root / RESULTS).is_file():
        return Layout(root=root, whole=True)
    found = ledgers_of_shards(root)
    whole = not found and (root / RESULTS).is_file()  # a merge may have come in between
    return Layout(root=root, whole=whole, found=found)


def ledgers_of_shards(root: Path) -> tuple[Shard, ...]:
    """The shards that have a results manifest in ``root``, be it a stale one. Raises ``OutputError``."""
    try:
        names = os.listdir(root)  # noqa: PTH208 - beside a million pictures names are enough
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise OutputError(f"{root}: cannot be read: {error.strerror}. Nothing was bought.") from error
    found = filter(None, map(shard_named, names))
    return tuple(sorted(found, key=lambda shard: (shard.of, shard.index)))


def shard_named(name: str) -> Shard | None:
    """The shard whose results manifest has that name."""
    match = LEDGER.fullmatch(name)
    if match is None or match[1] is None or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS:
        return None
    return Shard(index=int(match[1]), of=int(match[2]))
