"""What stands in a folder, seen at one look: asking for each name that a job's picture might have takes far longer."""

from __future__ import annotations

import os
from itertools import islice
from unicodedata import normalize

import msgspec

MOST_NAMES = 20_000
"""Of one folder; a fuller one is not listed."""
MOST_FOLDERS = 256


class _Seen(msgspec.Struct, frozen=True):
    """A folder as it was listed."""

    folder: tuple[int, int, int]
    """Which one, and when it was last changed."""
    stems: frozenset[str] | None
    """Names without their endings, in the form in which any file system takes two for the same.

    None: too many, or not to be listed.
    """


class Listing:
    """Folders that were listed, each as long as it stays as it is."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def may_hold(self, folder: str, stem: str, found: os.stat_result) -> bool:
        """Whether ``stem`` with some ending may stand in ``folder``, of which ``found`` was just found."""
        now = found.st_dev, found.st_ino, found.st_mtime_ns
        seen = self._seen.get(folder)
        if seen is None or seen.folder != now:
            if len(self._seen) >= MOST_FOLDERS:
                self._seen.clear()
            seen = self._seen[folder] = _Seen(now, _stems(folder))
        return seen.stems is None or _folded(stem) in seen.stems


def _stems(folder: str) -> frozenset[str] | None:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_NAMES + 1)]
    except OSError:
        return None
    return frozenset(_folded(name.rpartition(".")[0]) for name in names) if len(names) <= MOST_NAMES else None


def _folded(name: str) -> str:
    """One form for all names that some file system does not tell apart, by case or by composition."""
    return normalize("NFC", normalize("NFC", name).casefold())
