"""Conflicts: records of other manifests, and files at paths that a job needs.

The listing of a folder is kept as long as the folder is unchanged. Checking each possible name of an output on the disk
takes far longer.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from runner.core.disk import folded
from runner.core.errors import ConflictError
from runner.core.media_formats import EXTENSIONS
from runner.core.models import EMULATOR, Job, Record
from runner.core.name_sets import NameSet
from runner.files.folder_reader import FolderReader
from runner.ledger import LedgerReader, bought_elsewhere
from runner.planning.rules import Action, Decision

MOST_NAMES = 20_000
"""Largest number of entries of a folder that is listed."""
MOST_FOLDERS = 256
MAX_CONFLICTS = 1000
"""Conflicts reported one by one; further ones are only counted."""


class _Seen(msgspec.Struct, frozen=True):
    """Listing of a folder."""

    folder: tuple[int, int, int]
    """Device, inode and time of the last change."""
    stems: frozenset[str] | None
    """Names without their endings, in a form that is equal if any file system treats two names as the same.

    None: there are too many, or the folder cannot be listed.
    """


class Listing:
    """Listings of folders, each valid as long as the folder is unchanged."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def may_hold(self, folder: str, stem: str, found: os.stat_result) -> bool:
        """Tell whether ``stem`` with some ending may be in ``folder``; ``found`` is the folder's current status."""
        now = found.st_dev, found.st_ino, found.st_mtime_ns
        seen = self._seen.get(folder)
        if seen is None or seen.folder != now:
            if len(self._seen) >= MOST_FOLDERS:
                self._seen.clear()
            seen = self._seen[folder] = _Seen(now, _stems(folder))
        return seen.stems is None or folded(stem) in seen.stems


def _stems(folder: str) -> frozenset[str] | None:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_NAMES + 1)]
    except OSError:
        return None
    return frozenset(folded(name.rpartition(".")[0]) for name in names) if len(names) <= MOST_NAMES else None


class Conflicts:
    """Checks for what a job may not touch: other manifests' purchases, and files that are not its own."""

    def __init__(
        self, *, ledger: LedgerReader, others: LedgerReader, folder: FolderReader, api: str, manifest: str
    ) -> None:
        """Use ``others`` for shards that are not this run's; ``manifest`` is the name of this manifest in records."""
        self._ledger = ledger
        self._others = others
        self._folder = folder
        self._api = api
        self._manifest = manifest
        self._listing = Listing()
        self._named: NameSet | None = None
        self._named_elsewhere: NameSet | None = None
        self._spellings: NameSet | None = None

    def ownership(self, job: Job, decision: Decision) -> str | None:
        """Return why ``job`` may not be touched: its record is another manifest's, or was paid for at a real API."""
        if decision.action is Action.REUSE:
            return None
        history = self._ledger.history(job.id)
        paid = next((record.api for record in history if record.api != EMULATOR), None)
        if self._api == EMULATOR and paid is not None:
            return f"{job.id} was bought at {paid} in this folder, and a picture of the emulator would replace it"
        foreign = next((record for record in history if self.is_another_manifests(record)), None)
        if foreign is None:
            return None
        ours, theirs = (self._folder.root.joinpath(path).resolve() for path in (self._manifest, foreign.manifest))
        return f"{job.id} of {ours} was bought by {theirs}; two manifests cannot share an output folder"

    def other_api(self) -> str:
        """Return why nothing may be bought: the folder's purchases were made at another address; empty: no conflict."""
        counts = bought_elsewhere(self._api, self._ledger, self._others)
        if not counts:
            return ""
        address, count = counts.most_common(1)[0]
        many = "a purchase" if count == 1 else f"{count:,} purchases"
        more = f" (and others at {', '.join(sorted(counts - Counter({address: count})))})" if len(counts) > 1 else ""
        return (
            f"{self._folder.root} holds {many} made at {address}{more}, and this run uses {self._api}. If both are "
            f"addresses of one service, add --same-api-as {address} once. Otherwise use another folder: --output"
        )

    def is_another_manifests(self, record: Record) -> bool:
        """Tell whether another manifest that still exists made this purchase."""
        if record.manifest in (self._manifest, "-"):
            return False
        return os.path.isfile(self._folder.root / record.manifest)  # noqa: PTH113 - no error for a path that no disk allows

    def foreign_files(self, job: Job) -> Iterator[str]:
        """Yield paths that the job's files need and at which there is a file that no record of this run names.

        A file in place of one of the job's folders is always in the way, whoever owns it.
        """
        return (path for path in self._in_the_way(job) if _is_above(path, job) or self._is_foreign(path))

    def other_spelling(self, path: str) -> str:
        """Return the other spelling under which a record of this run names the file at ``path``; empty: none does."""
        if self._spellings is None:
            self._spellings = NameSet()
            for other in _paths_of(self._ledger):
                self._spellings.add(_name(other))
        if _name(path) not in self._spellings:
            return ""
        alike = (other for other in _paths_of(self._ledger) if _name(other) == _name(path))
        return next((other for other in alike if self._is_same_file(path, [other])), "")

    def is_of_another_shard(self, path: str) -> bool:
        """Tell whether a record of another shard names ``path``."""
        if self._named_elsewhere is None:
            self._named_elsewhere = _paths(self._others)
        return path in self._named_elsewhere

    def _is_foreign(self, path: str) -> bool:
        if self._named is None:
            self._named = _paths(self._ledger)
        return path not in self._named

    def _in_the_way(self, job: Job) -> list[str]:
        """Return the files at the job's paths that no purchase of this job names."""
        path = f"{self._folder.root}/{job.file}"  # text, not ``Path``: a million jobs have many million paths
        folder, _, stem = path.rpartition("/")
        found = _look(folder)
        if found is None or not stat.S_ISDIR(found.st_mode):
            parents = (job.file[:place] for place, sign in enumerate(job.file) if sign == "/")
            return [part for part in parents if (self._folder.root / part).is_file()]
        if not self._listing.may_hold(folder, stem, found):
            return []
        there = [f"{job.file}.{extension}" for extension in EXTENSIONS if _look(f"{path}.{extension}")]
        mine = {out.path for record in self._ledger.history(job.id) for out in record.outputs} if there else set()
        return [path for path in there if path not in mine and not self._is_same_file(path, mine)]

    def _is_same_file(self, path: str, paths: Iterable[str | None]) -> bool:
        return self._folder.is_one_of(self._folder.root / path, paths)


def _is_above(path: str, job: Job) -> bool:
    """Tell whether the job needs a folder at ``path``."""
    return job.file.startswith(f"{path}/")


def _paths(reader: LedgerReader) -> NameSet:
    """Return every path that a record names."""
    found = NameSet()
    for path in _paths_of(reader):
        found.add(path)
    return found


def _paths_of(reader: LedgerReader) -> Iterator[str]:
    return (output.path for record in reader.latest() for output in record.outputs if output.path)


def _name(path: str) -> str:
    """Return the name without its folder, in one form for every spelling."""
    return folded(path.rpartition("/")[2])


def _look(path: str) -> os.stat_result | None:
    """Return the status of ``path``, following links; None: nothing is there. Raises ``OSError`` if that is unknown."""
    try:
        return os.stat(path)  # noqa: PTH116 - a million jobs have many million paths
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


class ConflictReport:
    """Conflicts of a survey, and the message about the first ``MAX_CONFLICTS``."""

    def __init__(self) -> None:
        self._count = 0
        self._lines: list[str] = []
        self._paths: list[str] = []
        self._told = NameSet()

    def note(self, line: str, lines: list[str] | None = None) -> None:
        self._count += 1
        kept = self._lines if lines is None else lines
        if len(kept) < MAX_CONFLICTS:
            kept.append(line)

    def note_path(self, path: str, job: Job, *, another_shard: bool, other_spelling: str) -> None:
        if not self._told.add(path):
            return
        if _is_above(path, job):
            advice = (
                "is a file, and the job needs a folder of this name: give the job another `file:`, or move the file"
            )
        elif other_spelling:
            advice = f"is the file that the results log names {other_spelling}: give the job another `file:`"
        elif another_shard:
            advice = "belongs to another shard: if its job has another `file:` now, run that shard first, or merge"
        else:
            advice = "is not from runner: move it, or give the job another `file:`"
        self.note(f"{path} is in the way of job {job.id} and {advice}", self._paths)

    def raise_any(self) -> None:
        if self._count:
            lines = [*self._lines, *sorted(self._paths)][:MAX_CONFLICTS]
            more = self._count - len(lines)
            raise ConflictError("\n".join([*lines, *([f"… and {more:,} more"] if more else []), "Nothing was bought."]))
