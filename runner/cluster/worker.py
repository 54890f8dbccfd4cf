"""Worker side of a cluster run: a normal run of one shard, with updates to the coordinator."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from distributed import get_worker

from runner.cluster.messages import ShardOrder, ShardOutcome, ShardUpdate, digest_of, encode, without_prompts
from runner.core.aio import run_loop
from runner.core.errors import Locked, RunnerError, UsageError, one_error
from runner.core.models import Record
from runner.engine import operations
from runner.engine.catalogue import offers
from runner.engine.load_manifest import load
from runner.engine.run_status import RunStatus
from runner.engine.stop import Stop
from runner.engine.summary import Report
from runner.manifest import Manifest

NEWS_SECONDS = 0.5
SILENCE_SECONDS = 30.0
"""Seconds without a sign of life from the program that started the run, after which a shard buys nothing more and
ends: the program is dead, or unreachable."""

End = Callable[[str, int], object]

_ends: defaultdict[str, list[End]] = defaultdict(list)
"""Functions that end the shards of a run in this process, by the run's id."""
_ended: dict[str, tuple[str, int]] = {}
"""Reason and exit code of each run that was told to end, by the run's id. A later shard of such a run buys nothing."""
_heard: dict[str, float] = {}
"""Time of the last sign of life from the program that started a run, by the run's id."""


def run_shard(order: ShardOrder) -> ShardOutcome:
    """Run one shard to its end. Raises nothing: the receiver may not know the class of an exception."""
    try:
        manifest = _read(order)
    except RunnerError as error:
        return ShardOutcome(error=str(error), exit_code=error.exit_code, unfit=get_worker().address)
    try:
        return ShardOutcome(report=run_loop(lambda: _run(manifest, order)))
    except RunnerError as error:
        return ShardOutcome(error=str(error), exit_code=error.exit_code, locked=isinstance(error, Locked))
    except Exception:  # noqa: BLE001 - a bug in the runner must reach the user, not only the worker's log
        return ShardOutcome(error=traceback.format_exc(), exit_code=70)
    finally:
        manifest.jobs.close()


def beat(run: str) -> None:
    """Record a sign of life from the program that started ``run``."""
    _heard[run] = time.monotonic()


def interrupt(run: str, reason: str, exit_code: int) -> None:
    """Stop buying in this process's shards of ``run``; with ``exit_code`` 75, also end them after a grace period."""
    _ended[run] = reason, exit_code
    for end in _ends[run]:
        end(reason, exit_code)


def _read(order: ShardOrder) -> Manifest:
    """Return the manifest if it is unchanged since the check. Raises ``ManifestError`` or ``UsageError``."""
    manifest = load(
        str(order.manifest), offers=lambda models: run_loop(lambda: offers(models, order.options, os.environ))
    )
    if digest_of(manifest.jobs) != order.jobs:
        manifest.jobs.close()
        raise UsageError(
            f"{order.manifest}, one of its feeds or a model's schema differs from the one that the run was started with"
        )
    return manifest


async def _run(manifest: Manifest, order: ShardOrder) -> Report:
    stop = Stop()
    with _may_be_interrupted(order.run, stop), one_error():
        relay = _Relay(get_worker(), order)
        async with anyio.create_task_group() as group:
            group.start_soon(relay.tick)
            group.start_soon(_end_unheard, order.run, stop)
            report = await operations.run(manifest, order.options, observer=relay, stop=stop)
            group.cancel_scope.cancel()
        relay.send()
        return report


async def _end_unheard(run: str, stop: Stop) -> None:
    """Stop buying when signs of life for ``run`` are missing; a later run continues from the results log."""
    began = time.monotonic()
    while time.monotonic() - max(began, _heard.get(run, began)) < SILENCE_SECONDS:  # noqa: ASYNC110 - no event for elapsed time
        await anyio.sleep(NEWS_SECONDS)
    stop.interrupt("the program that started the run is gone")


@contextmanager
def _may_be_interrupted(run: str, stop: Stop) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    how = {75: stop.interrupt}

    def end(reason: str, exit_code: int) -> None:
        loop.call_soon_threadsafe(how.get(exit_code, stop.buying), reason, exit_code)

    _ends[run].append(end)
    if run in _ended:
        end(*_ended[run])
    try:
        yield
    finally:
        _ends[run].remove(end)


class _Relay:
    """Sender of a shard's updates, several times a second."""

    def __init__(self, worker: Any, order: ShardOrder) -> None:
        shard = order.options.shard
        assert shard is not None
        self._worker = worker
        self._topic = order.run
        self._shard = shard.index
        self._read: Callable[[], RunStatus] = RunStatus
        self._records: list[Record] = []

    def watch(self, read: Callable[[], RunStatus]) -> None:
        """Use ``read`` from now on to get the status of the run."""
        self._read = read

    def __call__(self, record: Record) -> None:
        self._records.append(without_prompts(record))

    async def tick(self) -> None:
        """Send updates until cancelled."""
        while True:
            self.send()
            await anyio.sleep(NEWS_SECONDS)

    def send(self) -> None:
        """Send an update with the records since the last one."""
        records, self._records = self._records, []
        standing = self._read()
        news = ShardUpdate(
            shard=self._shard,
            worker=self._worker.address,
            counts=dict(standing.counts),
            cost_usd=standing.cost_usd,
            concurrency=standing.concurrency,
            records=records,
        )
        self._worker.log_event(self._topic, encode(news))
