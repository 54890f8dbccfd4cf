"""Selection of the jobs for a command. Each pass reads them again: there may be a million."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice

import msgspec

from runner.core.models import Job
from runner.core.shards import Shard
from runner.manifest import JobStore


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filter for jobs: those of the ``shard`` whose id matches ``only``, of these the first ``limit``; None: all."""

    shard: Shard | None = None
    only: str | None = None
    limit: int | None = None


class Selection:
    """Jobs of a selection, in manifest order."""

    def __init__(self, jobs: JobStore, selection: JobFilter, as_bought: Callable[[Job], Job] = lambda job: job) -> None:
        """Select from ``jobs``; ``as_bought`` returns a job with its purchase's inputs (default: unchanged)."""
        self._jobs = jobs
        self._as_bought = as_bought
        self._shard = selection.shard
        self._only = selection.only
        self._limit = selection.limit

    def every(self) -> Iterator[Job]:
        """Yield all jobs of the manifest, or of the shard."""
        return map(self._as_bought, self._own())

    def selected(self) -> Iterator[Job]:
        """Yield the jobs that match, up to the limit."""
        only = self._only
        matching = self.every() if only is None else (job for job in self.every() if fnmatchcase(job.id, only))
        return islice(matching, self._limit)

    def unsettled(self, flags: bytearray) -> Iterator[Job | None]:
        """Yield the selected jobs, with None in place of those whose byte in ``flags`` is 0; one byte per job.

        If the selection is just the first jobs of the manifest, jobs with a 0 are not even decoded: that may be nearly
        all of a million.
        """
        if self._shard is None and self._only is None:
            return (self._as_bought(job) if job else None for job in self._jobs.flagged(flags))
        return (job if flag else None for job, flag in zip(self.selected(), flags, strict=False))

    def _own(self) -> Iterable[Job]:
        shard = self._shard
        return self._jobs if shard is None else (job for job in self._jobs if shard.owns(job.id))
