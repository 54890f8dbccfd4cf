"""Selection of the jobs that a command is about. A pass reads them afresh: there may be a million."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice

import msgspec

from runner.core.models import Job
from runner.core.shards import Shard
from runner.manifest import JobStore


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Those of the ``shard`` whose id matches ``only``, and of these the first ``limit``; None: all."""

    shard: Shard | None = None
    only: str | None = None
    limit: int | None = None


class Selection:
    """The jobs of a selection, in the manifest's order."""

    def __init__(self, jobs: JobStore, selection: JobFilter, as_bought: Callable[[Job], Job] = lambda job: job) -> None:
        """``as_bought`` gives a job as its purchase was read; without it each is as the manifest has it."""
        self._jobs = jobs
        self._as_bought = as_bought
        self._shard = selection.shard
        self._only = selection.only
        self._limit = selection.limit

    def every(self) -> Iterator[Job]:
        """All of the manifest, or of the shard."""
        return map(self._as_bought, self._own())

    def selected(self) -> Iterator[Job]:
        """Those of them that match, up to the limit."""
        only = self._only
        matching = self.every() if only is None else (job for job in self.every() if fnmatchcase(job.id, only))
        return islice(matching, self._limit)

    def unsettled(self, flags: bytearray) -> Iterator[Job | None]:
        """The selected jobs, and None in the place of those that have a 0 in ``flags``, which holds one for each.

        Where they are simply the manifest's first ones, those others are not even decoded: of a million it may be all.
        """
        if self._shard is None and self._only is None:
            return (self._as_bought(job) if job else None for job in self._jobs.flagged(flags))
        return (job if flag else None for job, flag in zip(self.selected(), flags, strict=False))

    def _own(self) -> Iterable[Job]:
        shard = self._shard
        return self._jobs if shard is None else (job for job in self._jobs if shard.owns(job.id))
