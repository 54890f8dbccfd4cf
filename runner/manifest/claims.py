"""Which ids and files are taken, in a small fixed number of bytes for each.

Names are compared as a case-insensitive disk would: ``Mug`` and ``mug`` are one.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from runner.manifest.names import folded

if TYPE_CHECKING:
    from collections.abc import Iterator


def digest(name: str) -> bytes:
    """15 bytes for ``name`` and all that fold to it: an object of 48 bytes, whatever the length."""
    return blake2b(folded(name).encode(), digest_size=15).digest()


class Claims:
    """Names taken so far → which job took them, as a number that means something to the caller.

    A job's file is mostly called like the job; ``files`` holds only those that are not.
    """

    def __init__(self) -> None:
        self.ids: dict[bytes, int] = {}
        self.files: dict[bytes, int] = {}
        self.folders: dict[bytes, int] = {}

    def take_id(self, job_id: str, owner: int) -> int | None:
        """Who has ``job_id`` already, or ``None``; then it is ``owner``'s."""
        key = digest(job_id)
        other = self.ids.setdefault(key, owner)
        return None if other == owner else other

    def take_file(self, file: str, owner: int) -> None:
        self.files.setdefault(digest(file), owner)
        self.take_folders(file, owner)

    def take_folders(self, file: str, owner: int) -> None:
        for folder in folders(file):
            self.folders.setdefault(digest(folder), owner)


def folders(file: str) -> Iterator[str]:
    """``a`` and ``a/b`` for ``a/b/c``."""
    end = file.find("/")
    while end >= 0:
        yield file[:end]
        end = file.find("/", end + 1)
