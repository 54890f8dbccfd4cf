"""Messages between the coordinator and the workers. No message contains a secret."""

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
    """Order to run one shard."""

    run: str
    """Id of the run of the whole batch."""
    version: str
    manifest: Path
    jobs: str = ""
    """Digest of the jobs as checked on the machine that started the run."""
    options: RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOutcome:
    """Result of a shard: a report, or the reason why there is none."""

    report: Report | None = None
    error: str = ""
    exit_code: int = 0
    locked: bool = False
    """True if another run holds this shard at the moment."""
    unfit: str = ""
    """Address of a worker that cannot run any shard of this run and bought nothing; empty: the worker is fit."""


class ShardUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a shard: the records since the last update, and the current counts."""

    shard: int
    worker: str
    counts: dict[str, int] = {}
    """Jobs by state; all 0 until the shard has checked its jobs."""
    cost_usd: float = 0.0
    concurrency: int | None = None
    records: list[Record] = []
    """New records without inputs and outputs, so that prompts stay in the output folder."""


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(ShardUpdate).decode


def without_prompts(record: Record) -> Record:
    """Return ``record`` without its inputs and outputs."""
    return msgspec.structs.replace(record, inputs={}, outputs=())


def digest_of(jobs: Iterable[Job]) -> str:
    """Return a digest of ``jobs``, which is equal wherever the same jobs are read in the same order."""
    digest = sha256()
    for job in jobs:
        digest.update(f"{job.id}\0{job.fingerprint}\0{job.file}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
