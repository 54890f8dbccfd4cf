"""Which ids and files are taken, in a small fixed number of bytes for each.

Names are compared as a case-insensitive disk would: ``Mug`` and ``mug`` are one.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from runner.core.compact import Numbering, digest
from runner.manifest.names import folded

if TYPE_CHECKING:
    from collections.abc import Iterator


def key_of(name: str) -> bytes:
    """The same for all names that are one on such a disk."""
    return digest(folded(name))


class Owners:
    """Keys → who was the first to take them, as a number that means something to the caller."""

    def __init__(self) -> None:
        self._numbers = Numbering()
        self._owners = array("Q")

    def take(self, key: bytes, owner: int) -> int:
        """Who has ``key``: ``owner``, if nobody had it before."""
        number = self._numbers.add(key)
        if number == len(self._owners):
            self._owners.append(owner)
        return self._owners[number]

    def get(self, key: bytes) -> int | None:
        if not self._owners:
            return None
        number = self._numbers.find(key)
        return None if number is None else self._owners[number]


class Claims:
    """Keys taken so far, and which job took them.

    A job's file is mostly called like the job; ``files`` holds only those that are not.
    """

    def __init__(self) -> None:
        self.ids = Owners()
        self.files = Owners()
        self.folders = Owners()


def folders(file: str) -> Iterator[str]:
    """``a`` and ``a/b`` for ``a/b/c``."""
    end = file.find("/")
    while end >= 0:
        yield file[:end]
        end = file.find("/", end + 1)
