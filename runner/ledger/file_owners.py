"""Owners of files: the purchase whose file is at a path.

Each path is kept as a digest, with the number of the last purchase whose record names the path. The caller reads that
purchase again, so an entry that is out of date does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator

from runner.core.models import Record, State
from runner.core.name_sets import NumberMap, digest


class FileOwners:
    """Paths → numbers of purchases in the index; some 30 bytes for each path."""

    def __init__(self) -> None:
        self._purchases = NumberMap()

    def note(self, record: Record, number: int) -> None:
        """Set purchase ``number`` as the owner of the paths in ``record``."""
        for path in _paths_of(record):
            self._purchases.set(digest(path), number)

    def at(self, path: str) -> int | None:
        """Return the number of the last purchase recorded at ``path``; None: there is none."""
        return self._purchases.get(digest(path))

    def where(self, record: Record) -> set[int]:
        """Return the last purchases recorded at the paths of ``record``."""
        return {number for path in _paths_of(record) if (number := self.at(path)) is not None}


def owns_path(record: Record, path: str) -> bool:
    """Tell whether a file of the purchase is at ``path``, or is being moved away from there."""
    return path in _paths_of(record)


def _paths_of(record: Record) -> Iterator[str]:
    done = record.state is State.DONE
    places = (output.path if done else output.moved_from for output in record.outputs)
    return (path for path in places if path is not None)
