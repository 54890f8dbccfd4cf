"""Preflight check of a cluster's workers, before anything is bought."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from runner import __version__
from runner.cluster.dask_client import ClusterClient
from runner.cluster.messages import ShardOrder
from runner.core.errors import OutputError, UsageError
from runner.engine.config import RunConfig
from runner.ledger import private

_WORDS = {
    "runner": "has runner {found}, but this machine has {wanted}",
    "mark": "does not see the output folder of this machine ({found})",
    "manifest": "does not see the manifest of this machine, or a different one ({found})",
    "token": "has no API token ({found})",
    "api": "would use another API ({found})",
}
MOST_FAULTS = 20


async def check_workers(engine: ClusterClient, order: ShardOrder, config: RunConfig) -> dict[str, int]:
    """Return the workers, with the number of shards that each can run at a time.

    Raises ``UsageError`` with all problems of the workers.
    """
    workers = await engine.workers()
    if not workers:
        raise UsageError("the cluster has no worker; start one or more, and run again. Nothing was bought.")
    faults = await _other_versions(engine)
    faults += [] if faults else await _other_surroundings(engine, order, config)
    if faults:
        more = [f"… and {len(faults) - MOST_FAULTS:,} more"] if len(faults) > MOST_FAULTS else []
        last = "Workers need the same runner, the same folders at the same paths, and a token. Nothing was bought."
        raise UsageError("\n".join([*faults[:MOST_FAULTS], *more, last]))
    return workers


async def _other_versions(engine: ClusterClient) -> list[str]:
    """Return the workers with another version of Python or Dask, for which no further check is possible."""
    mine, theirs = await engine.versions()
    return [
        f"{worker} has {name} {found}, but this machine has {mine[name]}"
        for worker, versions in theirs.items()
        for name, found in versions.items()
        if found != mine[name]
    ]


async def _other_surroundings(engine: ClusterClient, order: ShardOrder, config: RunConfig) -> list[str]:
    path = order.manifest
    with _mark(private(config.folder.root, None)) as (mark, text):
        answers = await engine.probe(str(mark), str(path), order.options.api)
    wanted = {
        "runner": __version__,
        "mark": sha256(text).hexdigest(),
        "manifest": sha256(path.read_bytes()).hexdigest(),
        "token": "yes",
        "api": config.api.name,
    }
    return [f"{worker} {fault}" for worker, answer in answers.items() for fault in _faults(answer, wanted)]


def _faults(answer: Mapping[str, str] | BaseException, wanted: Mapping[str, str]) -> list[str]:
    """Return the problems in one worker's answer; a different version of the runner is reported alone."""
    if isinstance(answer, BaseException):
        return [f"does not answer ({type(answer).__name__}: {answer})"]
    differing = [name for name, value in wanted.items() if name in answer and answer[name] != value]
    if "runner" in differing:
        differing = ["runner"]
    return [_WORDS[name].format(found=answer.get(name), wanted=wanted[name]) for name in differing]


@contextmanager
def _mark(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield a unique temporary file in ``folder``, with its content. Raises ``OutputError``."""
    text = uuid.uuid4().bytes
    mark = folder / f"seen-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_bytes(text)
    except OSError as error:
        raise OutputError(f"{folder.parent}: cannot be written: {error.strerror}. Nothing was bought.") from error
    try:
        yield mark, text
    finally:
        with suppress(OSError):
            mark.unlink()
