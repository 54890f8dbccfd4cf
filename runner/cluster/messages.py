"""Messages between coordinator and workers. None holds a secret."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from runner.core.models import Job, Record
from runner.engine.options import RunOptions
from runner.engine.summary import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOrder:
    """One shard that is to be run."""

    run: str
    """Which run of the whole batch it belongs to."""
    version: str
    manifest: Path
    jobs: str = ""
    """The digest of what was checked where the run was started."""
    options: RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOutcome:
    """What came of it: a report, or why there is none."""

    report: Report | None = None
    error: str = ""
    exit_code: int = 0
    locked: bool = False
    """Whether somebody else runs this shard at the moment."""
    unfit: str = ""
    """The worker that cannot run any shard of this run, and so bought nothing; another may."""


class ShardUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What a shard has done since it was last heard of, and where it stands."""

    shard: int
    worker: str
    counts: dict[str, int] = {}
    """All 0 until it has looked at its jobs."""
    cost_usd: float = 0.0
    concurrency: int | None = None
    records: list[Record] = []
    """Without inputs and outputs: prompts are nobody's business but the folder's."""


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(ShardUpdate).decode


def without_prompts(record: Record) -> Record:
    """As much of ``record`` as is told."""
    return msgspec.structs.replace(record, inputs={}, outputs=())


def digest_of(jobs: Iterable[Job]) -> str:
    """The same wherever the same jobs were read in the same order."""
    digest = sha256()
    for job in jobs:
        digest.update(f"{job.id}\0{job.fingerprint}\0{job.file}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
