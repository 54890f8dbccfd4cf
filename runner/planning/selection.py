"""Selection of the jobs for a command. Each pass reads them again: there may be a million."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import chain, islice

import msgspec

from runner.core.errors import UsageError
from runner.core.models import Job, Record, State
from runner.core.shards import Shard
from runner.ledger import LedgerReader
from runner.manifest import JobStore
from runner.manifest.problems import nearest

COMPARED = 10_000
"""Ids of jobs that are compared with a name that matches none; comparing a million takes a minute."""
NAMED = 5
"""Names that match no job and are listed in an error."""


class JobNames(msgspec.Struct, frozen=True, kw_only=True):
    """Names of jobs that a user gives: patterns, and ids as they are. A job is named by any of them."""

    patterns: tuple[str, ...] = ()
    ids: dict[str, frozenset[str]] = {}
    """Ids, each with the SHA-256 of the files that it is named for; empty: whatever its files are."""

    def __contains__(self, job_id: str) -> bool:
        return job_id in self.ids or any(fnmatchcase(job_id, pattern) for pattern in self.patterns)

    def without(self, replaced: Callable[[str, frozenset[str]], bool]) -> JobNames:
        """Return the names without the ids of which ``replaced`` says that other files took the place of theirs."""
        kept = {job_id: files for job_id, files in self.ids.items() if not (files and replaced(job_id, files))}
        return JobNames(patterns=self.patterns, ids=kept)

    def require_matches(self, job_ids: Iterable[str], what_follows: str = "; nothing was bought") -> None:
        """Raise ``UsageError`` if a name matches none of ``job_ids``: a typo must not look like nothing to do.

        ``what_follows`` stands in the message behind the names.
        """
        patterns, ids, seen = set(self.patterns), set(self.ids), list[str]()
        for job_id in job_ids:
            if not patterns and not ids:
                return
            ids.discard(job_id)
            patterns -= {pattern for pattern in patterns if fnmatchcase(job_id, pattern)}
            if len(seen) < COMPARED:
                seen.append(job_id)
        unmatched = [*(name for name in self.patterns if name in patterns), *sorted(ids)]
        if unmatched:
            raise UsageError(_no_match(unmatched, seen, what_follows))


def _no_match(names: list[str], job_ids: list[str], what_follows: str) -> str:
    listed = ", ".join(f"`{name}`" for name in names[:NAMED]) + (", …" if len(names) > NAMED else "")
    advice = nearest(names[0].strip("*?"), job_ids, cutoff=0.5) or "`runner plan … --jobs` lists the ids"
    return f"no job matches {listed}{what_follows} ({advice})"


def failed_ids(records: Iterable[Record]) -> frozenset[str]:
    """Return the ids of jobs whose newest purchase failed or was cancelled.

    Released purchases were never made. The purchases of a renamed job come in reverse order.
    """
    failed = set[str]()
    later: dict[str, int] = {}
    for record in records:
        if record.state is State.RELEASED or record.purchase < later.get(record.id, 1):
            continue
        if record.purchase > 1:
            later[record.id] = record.purchase
        if record.state in (State.FAILED, State.CANCELLED):
            failed.add(record.id)
        else:
            failed.discard(record.id)
    return frozenset(failed)


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filter for jobs: those of the ``shard`` that are named, of these the first ``limit``; None: all."""

    shard: Shard | None = None
    names: JobNames | None = None
    failed: bool = False
    """True if only jobs are selected whose newest purchase failed or was cancelled."""
    limit: int | None = None


def selected_ids(
    selection: JobFilter, ledger: LedgerReader, others: Iterable[str] = ()
) -> Callable[[str], bool] | None:
    """Return a function that tells whether a job is selected, for commands that read results; None: all jobs are.

    A name may also match one of ``others``, ids of jobs without a purchase; they are only read if it matches no
    purchase. Raises ``UsageError`` if it matches neither.
    """
    names = selection.names
    if names is None and not selection.failed:
        return None
    if names is not None:
        names.require_matches(chain((record.id for record in ledger.latest()), others), "")
    failed = failed_ids(ledger.latest()) if selection.failed else None
    return lambda job_id: (names is None or job_id in names) and (failed is None or job_id in failed)


class Selection:
    """Jobs of a selection, in manifest order."""

    def __init__(
        self,
        jobs: JobStore,
        selection: JobFilter,
        as_bought: Callable[[Job], Job] = lambda job: job,
        failed: frozenset[str] = frozenset(),
    ) -> None:
        """Select from ``jobs``; ``as_bought`` returns a job with its purchase's inputs (default: unchanged).

        ``failed`` are the ids of failed jobs. They are fixed at the beginning: the passes must select the same jobs.
        """
        self._jobs = jobs
        self._as_bought = as_bought
        self._shard = selection.shard
        self._names = selection.names
        self._failed = failed if selection.failed else None
        self._limit = selection.limit

    def every(self) -> Iterator[Job]:
        """Yield all jobs of the manifest, or of the shard."""
        return map(self._as_bought, self._own())

    def selected(self) -> Iterator[Job]:
        """Yield the jobs that match, up to the limit."""
        jobs, names, failed = self.every(), self._names, self._failed
        if names is not None:
            jobs = (job for job in jobs if job.id in names)
        if failed is not None:
            jobs = (job for job in jobs if job.id in failed)
        return islice(jobs, self._limit)

    def unsettled(self, flags: bytearray) -> Iterator[Job | None]:
        """Yield the selected jobs, with None in place of those whose byte in ``flags`` is 0; one byte per job.

        If the selection is just the first jobs of the manifest, jobs with a 0 are not even decoded: that may be nearly
        all of a million.
        """
        if self._shard is None and self._names is None and self._failed is None:
            return (self._as_bought(job) if job else None for job in self._jobs.flagged(flags))
        return (job if flag else None for job, flag in zip(self.selected(), flags, strict=False))

    def _own(self) -> Iterable[Job]:
        shard = self._shard
        return self._jobs if shard is None else (job for job in self._jobs if shard.owns(job.id))
