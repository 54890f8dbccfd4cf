"""Options of a run, which override its manifest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.api.config import ApiBase, find_api
from runner.core.errors import UsageError
from runner.core.models import EMULATOR, Budget
from runner.core.shards import Shard
from runner.engine.redo import RedoMode
from runner.manifest import OnUnknown
from runner.planning.selection import JobFilter, JobNames


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options that override the manifest. None: the value of the manifest applies."""

    output: Path | None = None
    concurrency: int | Literal["auto"] | None = None
    """Requests in flight at the API; ``"auto"``: as many as keep the API busy."""
    only: str | Sequence[str] | None = None
    """Pattern for the ids of the jobs to select, or several patterns; None: all."""
    only_ids: Collection[str] | Mapping[str, Collection[str]] | None = None
    """Ids of more jobs to select; None: those that ``only`` selects.

    A mapping has the SHA-256 of files for each id. Such a job is selected until other files take their place.
    """
    failed: bool = False
    """True if of these only the jobs are selected whose newest purchase failed or was cancelled."""
    limit: int | None = None
    """Number of the selected jobs to take, from the first; None: all."""
    buy: int | None = None
    """Largest number of purchases in this run; None: any number."""
    on_unknown: OnUnknown | None = None
    budget: Budget | None = None
    until: float | None = None
    """Time at which buying stops, in seconds since the epoch; None: no such time."""
    for_seconds: float | None = None
    """Duration of buying, in seconds from the beginning of the run; None: no such duration."""
    emulator: bool = False
    """True if the run uses an emulator inside this process: nothing is paid."""
    api: str | None = None
    same_api_as: str | None = None
    """Another address of the same API: from now on, purchases made there count as made here."""
    offline: bool = False
    """True if the catalogue is not contacted, neither for the inputs of models nor for prices."""
    redo: RedoMode | None = None
    """Done jobs that are bought again; None: none."""
    shard: Shard | None = None
    """Shard whose jobs are run, with its own results log and its own part of the budget; None: all jobs."""
    share: Shard | None = None
    """Part of ``concurrency`` and ``rate`` that the shard has; None: the same part as of the jobs. For example, each
    has a quarter if at most four of any number of shards run at a time."""

    def __post_init__(self) -> None:
        if isinstance(self.concurrency, int) and not 1 <= self.concurrency <= 1000:
            raise UsageError(f"concurrency is {self.concurrency}; valid are 1 to 1000")
        if self.limit is not None and self.limit < 0:
            raise UsageError(f"limit is {self.limit}; valid are 0 and more")
        if self.buy is not None and self.buy < 0:
            raise UsageError(f"buy is {self.buy}; valid are 0 and more")
        if self.for_seconds is not None and self.for_seconds <= 0:
            raise UsageError("--for takes a duration, such as 4h or 90m")
        if self.emulator and self.api is not None:
            raise UsageError("--emulator and --api name two different services; give one of them")
        if self.emulator and self.same_api_as is not None:
            raise UsageError("--same-api-as names an address of an API, and --emulator uses none; give one of them")
        if self.redo is RedoMode.SELECTED and self.names is None:
            raise UsageError("a redo of selected jobs needs `only`; RedoMode.ALL buys all done jobs again")
        if self.share is not None and self.shard is None:
            raise UsageError("a share of the concurrency needs a shard")

    @property
    def job_filter(self) -> JobFilter:
        return JobFilter(shard=self.shard, names=self.names, failed=self.failed, limit=self.limit)

    @property
    def names(self) -> JobNames | None:
        """Return the names of the selected jobs; None: all jobs."""
        patterns = (self.only,) if isinstance(self.only, str) else tuple(self.only or ())
        if not patterns and self.only_ids is None:
            return None
        ids = self.only_ids or ()
        files = {job_id: frozenset(ids[job_id]) if isinstance(ids, Mapping) else frozenset[str]() for job_id in ids}
        return JobNames(patterns=patterns, ids=files)

    def api_base(self, environ: Mapping[str, str]) -> ApiBase:
        """Return the API that the options and the environment name; for the emulator, only its name.

        Raises ``UsageError`` for an address that is not safe.
        """
        return ApiBase(url="", name=EMULATOR) if self.emulator else find_api(self.api, environ)

    @property
    def same_api(self) -> str | None:
        """Return the name of the other address in records. Raises ``UsageError`` if it cannot be an API's address."""
        return None if self.same_api_as is None else find_api(self.same_api_as, {}).name
