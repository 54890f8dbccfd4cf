"""Shards: parts of a batch that processes on several machines run at the same time.

The shard of a job depends only on the job's id and the number of shards. Every process can therefore compute the shard
without communication. A job and all its purchases stay in the same shard when other jobs are added or removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from runner.core.errors import UsageError

MOST_SHARDS = 500
"""Maximum number of shards. A run of one shard keeps the results logs of all shards open, and the usual limit of a
process is 1,024 open files."""
COUNT_VARIABLE = "RUNNER_SHARDS"
"""Environment variable with the number of shards, for environments that provide only the index."""


def shard_of(job_id: str, count: int) -> int:
    """Return the shard, from 1, of a job in a batch of ``count`` shards.

    The shard is the first 8 bytes of the SHA-256 of the id, as a number, modulo ``count``. Shards are about equally
    large for any ids. The rule must never change, since results logs are split by it.
    """
    return int.from_bytes(sha256(job_id.encode("utf-8", "surrogatepass")).digest()[:8]) % count + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Shard ``index``, counted from 1, of ``of`` shards. Raises ``UsageError`` for an impossible shard."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of <= MOST_SHARDS:
            raise UsageError(f"there is no shard {self}: write 1/4 to 4/4, with at most {MOST_SHARDS:,} shards")

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @property
    def name(self) -> str:
        """Return the name of the shard in file names."""
        return f"{self.index}-of-{self.of}"

    def owns(self, job_id: str) -> bool:
        """Tell whether the job with this id belongs to the shard."""
        return shard_of(job_id, self.of) == self.index

    @property
    def all(self) -> tuple[Shard, ...]:
        """Return all ``of`` shards, including this one."""
        return tuple(Shard(index=index, of=self.of) for index in range(1, self.of + 1))


def find_shard(text: str, environ: Mapping[str, str]) -> Shard:
    """Return the shard that ``text`` names: ``2/4``, or ``auto`` for the environment. Raises ``UsageError``."""
    if text == "auto":
        return _surrounding(environ)
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None:
        raise UsageError(f"--shard {text!r} is neither a shard such as 2/4, the second of four, nor auto")
    return Shard(index=int(found[1]), of=int(found[2]))


def _surrounding(environ: Mapping[str, str]) -> Shard:
    if "SLURM_ARRAY_TASK_ID" in environ:
        return _slurm(environ)
    if "JOB_COMPLETION_INDEX" in environ:
        return _kubernetes(environ)
    raise UsageError(
        "--shard auto finds neither a Slurm array (SLURM_ARRAY_TASK_ID) nor a Kubernetes Indexed Job "
        "(JOB_COMPLETION_INDEX). Write the shard, for example --shard 2/4"
    )


def _slurm(environ: Mapping[str, str]) -> Shard:
    """Return the shard of a Slurm array task.

    An array may begin at any number, but must have no gaps: the first, last and number of the tasks must agree.
    """
    task, first, last, count = (_number(environ, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "MAX", "COUNT"))
    if last - first + 1 != count or not first <= task <= last:
        raise UsageError(
            f"the Slurm array has {count} tasks from {first} to {last}. Shards need an array without steps or "
            f"gaps: submit it with --array=1-{max(count, 1)}"
        )
    return Shard(index=task - first + 1, of=count)


def _kubernetes(environ: Mapping[str, str]) -> Shard:
    """Return the shard of a Kubernetes pod. Its index counts from 0; Kubernetes does not provide the number of pods."""
    index = _number(environ, "JOB_COMPLETION_INDEX")
    if COUNT_VARIABLE not in environ:
        raise UsageError(
            f"Kubernetes does not tell a pod (JOB_COMPLETION_INDEX={index}) how many pods there are: set "
            f"{COUNT_VARIABLE} in the pod to the `completions` of the Job"
        )
    count = _number(environ, COUNT_VARIABLE)
    if index >= count:
        raise UsageError(
            f"JOB_COMPLETION_INDEX={index} counts from 0, so there are more shards than {COUNT_VARIABLE}={count}; set "
            "that to the `completions` of the Job"
        )
    return Shard(index=index + 1, of=count)


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f"--shard auto: {name} is {text!r} and should be a number")
    return int(text)


def share(count: int, part: Shard) -> int:
    """Return the number of ``count`` things that ``part`` gets; the first parts get the remainder."""
    return count // part.of + (part.index <= count % part.of)


def share_concurrency(count: int, part: Shard) -> int:
    """Return the share of the concurrency ``count`` for ``part``. Raises ``UsageError`` if ``count`` is too small."""
    if count < part.of:
        raise UsageError(
            f"concurrency is {count}, and each of {part.of} shards needs at least one slot: write `--concurrency "
            f"{part.of}` or more, or use fewer shards. Nothing was bought."
        )
    return share(count, part)
