"""Context of a batch: the open resources that it works with."""

from __future__ import annotations

import aiohttp
import msgspec

from runner.api.client import Api
from runner.core.clock import Clock
from runner.core.shards import Shard
from runner.engine.stop import Stop
from runner.files.output_folder import Folder
from runner.ledger import EMPTY, HeldLock, LedgerReader, LedgerWriter


class RunContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a batch has open: folder, ledger, API, storage, clock and stop."""

    folder: Folder
    ledger: LedgerWriter
    others: LedgerReader = EMPTY
    """Purchases of other shards, as of the beginning of the run."""
    shard: Shard | None = None
    """Shard whose jobs are run; None: all jobs."""
    api: Api
    storage: aiohttp.ClientSession
    clock: Clock
    stop: Stop
    lock: HeldLock | None = None
    """Lock file that keeps other runs out of the folder, for a run that may buy."""
