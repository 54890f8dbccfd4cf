"""Context of a batch: the settings that apply to it, and what it works with."""

from __future__ import annotations

import aiohttp
import msgspec

from runner.api.client import Api
from runner.core.clock import Clock
from runner.core.models import Budget, Halt
from runner.core.shards import Shard
from runner.engine.steps.deliver import Bounds
from runner.engine.stop import Stop, most_waiting
from runner.files.output_folder import Folder
from runner.ledger import NOTHING, Reader, Writer


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says about its run; the defaults serve where there is no manifest."""

    manifest: str = "-"
    lanes: int | None = 8
    """Requests in flight at the API; None: as many as keep it busy."""
    per_second: float | None = None
    gap: float = 0.0
    """Seconds before the first submission: another process may have made the last one of this rate just now."""
    timeout_seconds: float = 600.0
    retries: int = 4
    budget: Budget | None = None
    halt: Halt | None = None
    until: float | None = None
    """When to stop buying, in seconds since the epoch."""
    offline: bool = False
    """Whether the catalogue is left alone: prices are those of earlier purchases."""
    bounds: Bounds | None = None
    """What downloads may be; None leaves it to what each record carries."""

    @property
    def backlog(self) -> int:
        """So many paid results may wait for delivery."""
        return most_waiting(self.lanes)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch works with and on."""

    folder: Folder
    ledger: Writer
    others: Reader = NOTHING
    """What other shards know, as far as that was when the run began."""
    shard: Shard | None = None
    """Whose jobs these are; None: all."""
    api: Api
    storage: aiohttp.ClientSession
    clock: Clock
    stop: Stop
