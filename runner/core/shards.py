"""Shards: parts of a batch that processes on several machines run at the same time.

Which shard a job belongs to is a function of its id and the number of shards alone. So every process knows it without
asking another, a job stays where it is when others come and go, and so does all that was ever bought under its id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from runner.core.errors import UsageError

MOST_SHARDS = 500
"""A run of one keeps the results manifests of all open, and a process may often open 1,024 files."""
COUNT_VARIABLE = "RUNNER_SHARDS"
"""How many there are, where the surroundings name only which one this is."""


def shard_of(job_id: str, count: int) -> int:
    """The shard, from 1, that a job belongs to where there are ``count``.

    The first 8 bytes of the id's SHA-256, as a number, modulo ``count``: even whatever ids look like, and the same on
    every machine for ever, since results manifests are cut by it.
    """
    return int.from_bytes(sha256(job_id.encode("utf-8", "surrogatepass")).digest()[:8]) % count + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Part ``index``, counted from 1, ``of`` so many. Raises ``UsageError`` for one that cannot be."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of <= MOST_SHARDS:
            raise UsageError(f"there is no shard {self}: write 1/4 to 4/4, with at most {MOST_SHARDS:,} shards")

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @property
    def name(self) -> str:
        """As it stands in the names of files."""
        return f"{self.index}-of-{self.of}"

    def owns(self, job_id: str) -> bool:
        """Tell whether a job of this id is one of its."""
        return shard_of(job_id, self.of) == self.index

    @property
    def all(self) -> tuple[Shard, ...]:
        """Every shard of as many, itself included."""
        return tuple(Shard(index=index, of=self.of) for index in range(1, self.of + 1))


def find_shard(text: str, environ: Mapping[str, str]) -> Shard:
    """``2/4``, or what the surroundings say where ``text`` is ``auto``. Raises ``UsageError``."""
    if text == "auto":
        return _surrounding(environ)
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None:
        raise UsageError(f"--shard {text!r} is neither a part like 2/4, the second of four, nor auto")
    return Shard(index=int(found[1]), of=int(found[2]))


def _surrounding(environ: Mapping[str, str]) -> Shard:
    if "SLURM_ARRAY_TASK_ID" in environ:
        return _slurm(environ)
    if "JOB_COMPLETION_INDEX" in environ:
        return _kubernetes(environ)
    raise UsageError(
        "--shard auto finds neither a Slurm array (SLURM_ARRAY_TASK_ID) nor a Kubernetes Indexed Job "
        "(JOB_COMPLETION_INDEX) around it; write --shard 2/4, say"
    )


def _slurm(environ: Mapping[str, str]) -> Shard:
    """Arrays begin anywhere, but must be without gaps: then first, last and number of the tasks fit together."""
    task, first, last, count = (_number(environ, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "MAX", "COUNT"))
    if last - first + 1 != count or not first <= task <= last:
        raise UsageError(
            f"the Slurm array has {count} tasks from {first} to {last}: one with a step or with gaps is no set of "
            f"shards; submit it with --array=1-{max(count, 1)}"
        )
    return Shard(index=task - first + 1, of=count)


def _kubernetes(environ: Mapping[str, str]) -> Shard:
    """The index counts from 0, and nothing says how many there are."""
    index = _number(environ, "JOB_COMPLETION_INDEX")
    if COUNT_VARIABLE not in environ:
        raise UsageError(
            f"Kubernetes says which pod this is (JOB_COMPLETION_INDEX={index}) but not of how many: set "
            f"{COUNT_VARIABLE} in the pod to what the Job has as `completions`"
        )
    count = _number(environ, COUNT_VARIABLE)
    if index >= count:
        raise UsageError(
            f"JOB_COMPLETION_INDEX={index} counts from 0, so there are more shards than {COUNT_VARIABLE}={count}; set "
            "that to what the Job has as `completions`"
        )
    return Shard(index=index + 1, of=count)


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f"--shard auto: {name} is {text!r} and should be a number")
    return int(text)


def share(count: int, part: Shard) -> int:
    """What ``part`` gets of ``count`` things; the first parts get the remainder."""
    return count // part.of + (part.index <= count % part.of)


def share_concurrency(count: int, part: Shard) -> int:
    """Its share of ``concurrency``. Raises ``UsageError`` where that is none."""
    if count < part.of:
        raise UsageError(
            f"concurrency is {count}, and each of {part.of} shards needs a lane of its own: write `--concurrency "
            f"{part.of}` or more, or make fewer shards. Nothing was bought."
        )
    return share(count, part)
