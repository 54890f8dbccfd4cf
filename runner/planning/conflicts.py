"""What stands in a folder, seen at one look: asking for each name that a job's picture might have takes far longer."""

from __future__ import annotations

import os
from itertools import islice
from unicodedata import normalize

import msgspec

from runner.core.compact import Names
from runner.core.errors import ConflictError
from runner.core.models import Job

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


MAX_CONFLICTS = 1000
"""Told one by one; beyond that they are counted."""


class Conflicts:
    """All that is in the way, and the words for as much of it as a person reads."""

    def __init__(self) -> None:
        self._count = 0
        self._lines: list[str] = []
        self._paths: list[str] = []
        self._told = Names()

    def note(self, line: str, lines: list[str] | None = None) -> None:
        self._count += 1
        kept = self._lines if lines is None else lines
        if len(kept) < MAX_CONFLICTS:
            kept.append(line)

    def note_path(self, path: str, job: Job, *, another_shard: bool) -> None:
        if not self._told.add(path):
            return
        if another_shard:
            advice = "is another shard's: where its job gets another `file:` run that shard first, or `runner merge`"
        else:
            advice = "is not runner's; move it, or set `file:`"
        self.note(f"{path} is in the way of job {job.id} and {advice}", self._paths)

    def raise_any(self) -> None:
        if self._count:
            lines = [*self._lines, *sorted(self._paths)][:MAX_CONFLICTS]
            more = self._count - len(lines)
            raise ConflictError("\n".join([*lines, *([f"… and {more:,} more"] if more else []), "Nothing was bought."]))
