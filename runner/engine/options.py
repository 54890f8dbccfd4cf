"""Options of a run: what differs from its manifest."""

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
    """What a run does differently from its manifest; None leaves a thing as the manifest has it."""

    output: Path | None = None
    concurrency: int | Literal["auto"] | None = None
    """Requests in flight at the API; ``"auto"``: as many as keep it busy."""
    only: str | None = None
    """Jobs whose id matches this pattern."""
    limit: int | None = None
    """The first so many of the selected jobs."""
    on_unknown: OnUnknown | None = None
    budget: Budget | None = None
    until: float | None = None
    """When to stop buying, in seconds since the epoch."""
    for_seconds: float | None = None
    """How long to buy, in seconds from the beginning of the run."""
    emulator: bool = False
    """Run against an emulator inside this process: nothing is paid."""
    api: str | None = None
    same_api_as: str | None = None
    """Another address of the same API: what was bought there counts as bought here, from now on."""
    offline: bool = False
    """Ask the catalogue nothing: neither what models take nor what they cost."""
    redo: bool = False
    """Buy done jobs anew: those that ``only`` matches, those that are ``missing``, or ``every`` one."""
    missing: bool = False
    """Of a redo: only jobs whose files neither the disk nor the API has any more."""
    every: bool = False
    """Of a redo: all done jobs."""
    shard: Shard | None = None
    """Only the jobs of this shard, with a results manifest and a part of the budget of its own."""
    share: Shard | None = None
    """Which part of ``concurrency`` and ``rate`` it has; None: as the shard. Where never more than four shards run at
    a time, however many there are, each has a quarter."""

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
        """Which done jobs are bought anew."""
        if not self.redo:
            return None
        return RedoMode.MISSING if self.missing else RedoMode.SELECTED

    @property
    def job_filter(self) -> JobFilter:
        return JobFilter(shard=self.shard, only=self.only, limit=self.limit)

    def api_base(self, environ: Mapping[str, str]) -> ApiBase:
        """Return which API the options and the environment name; for the emulator only its name.

        Raises ``UsageError`` for an address that is not safe.
        """
        return ApiBase(url="", name=EMULATOR) if self.emulator else find_api(self.api, environ)

    @property
    def same_api(self) -> str | None:
        """How records name the other address. Raises ``UsageError`` for one that cannot be an API's."""
        return None if self.same_api_as is None else find_api(self.same_api_as, {}).name
