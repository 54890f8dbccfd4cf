"""Options of a run, which override its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.api.config import ApiBase, find_api
from runner.core.errors import UsageError
from runner.core.models import EMULATOR, Budget
from runner.core.shards import Shard
from runner.engine.redo import RedoMode
from runner.manifest import OnUnknown
from runner.planning.selection import JobFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options that override the manifest. None: the value of the manifest applies."""

    output: Path | None = None
    concurrency: int | Literal["auto"] | None = None
    """Requests in flight at the API; ``"auto"``: as many as keep the API busy."""
    only: str | None = None
    """Pattern for the ids of the jobs to select; None: all."""
    limit: int | None = None
    """Number of the selected jobs to take, from the first; None: all."""
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
    redo: bool = False
    """True if done jobs are bought again: those that ``only`` matches, those ``missing``, or ``every`` one."""
    missing: bool = False
    """True if the redo is limited to jobs whose files neither the disk nor the API has any more."""
    every: bool = False
    """True if the redo is for all done jobs."""
    shard: Shard | None = None
    """Shard whose jobs are run, with its own results log and its own part of the budget; None: all jobs."""
    share: Shard | None = None
    """Part of ``concurrency`` and ``rate`` that the shard has; None: the same part as of the jobs. For example, each
    has a quarter if at most four of any number of shards run at a time."""

    def __post_init__(self) -> None:
        if isinstance(self.concurrency, int) and not 1 <= self.concurrency <= 1000:
            raise UsageError(f"concurrency is {self.concurrency}; it can be 1 to 1000")
        if self.limit is not None and self.limit < 0:
            raise UsageError(f"limit is {self.limit}; it can be 0 or more")
        if self.for_seconds is not None and self.for_seconds <= 0:
            raise UsageError("--for takes a time to buy, such as 4h or 90m")
        if self.emulator and self.api is not None:
            raise UsageError("--emulator and --api name two different services; give one of them")
        if self.emulator and self.same_api_as is not None:
            raise UsageError("--same-api-as is about addresses of an API, and --emulator asks none")
        if (self.missing or self.every) and not self.redo:
            raise UsageError("--missing and --all choose what --redo buys anew; they mean nothing without it")
        if self.redo and not (self.only or self.missing or self.every):
            raise UsageError("--redo buys done jobs anew, for money; say which: --only GLOB, --missing, or --all")
        if self.missing and self.every:
            raise UsageError("--missing and --all choose differently; give one of them")
        if self.share is not None and self.shard is None:
            raise UsageError("a share of the lanes is for a run of one shard: say which")

    @property
    def choice(self) -> RedoMode | None:
        """Return the done jobs that are bought again, as a mode; None: no redo."""
        if not self.redo:
            return None
        return RedoMode.MISSING if self.missing else RedoMode.SELECTED

    @property
    def job_filter(self) -> JobFilter:
        return JobFilter(shard=self.shard, only=self.only, limit=self.limit)

    def api_base(self, environ: Mapping[str, str]) -> ApiBase:
        """Return the API that the options and the environment name; for the emulator, only its name.

        Raises ``UsageError`` for an address that is not safe.
        """
        return ApiBase(url="", name=EMULATOR) if self.emulator else find_api(self.api, environ)

    @property
    def same_api(self) -> str | None:
        """Return the name of the other address in records. Raises ``UsageError`` if it cannot be an API's address."""
        return None if self.same_api_as is None else find_api(self.same_api_as, {}).name
