"""Worker side of a cluster run: one shard, run as anywhere, and reported to the coordinator."""

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
from runner.engine.run_status import RunStatus
from runner.engine.stop import Stop
from runner.engine.summary import Report
from runner.manifest import Manifest, load

NEWS_SECONDS = 0.5
SILENCE_SECONDS = 30.0
"""A shard ends gently where the program that started the run was not heard of for so long: it is dead, or cut off."""

End = Callable[[str, int], object]

_ends: defaultdict[str, list[End]] = defaultdict(list)
"""How to end the shards of a run that this process has, by the run."""
_ended: dict[str, tuple[str, int]] = {}
"""Runs that were to end, why, and the exit code of that: a shard that comes afterwards buys nothing."""
_heard: dict[str, float] = {}
"""When the program that started a run was heard of last."""


def run_shard(order: ShardOrder) -> ShardOutcome:
    """Run one shard to its end. Raises nothing: what is wrong may mean nothing to whoever hears of it."""
    try:
        manifest = _read(order)
    except RunnerError as error:
        return ShardOutcome(error=str(error), exit_code=error.exit_code, unfit=get_worker().address)
    try:
        return ShardOutcome(report=run_loop(lambda: _run(manifest, order)))
    except RunnerError as error:
        return ShardOutcome(error=str(error), exit_code=error.exit_code, locked=isinstance(error, Locked))
    except Exception:  # noqa: BLE001 - a bug of ours has to reach the person, and not a worker's log
        return ShardOutcome(error=traceback.format_exc(), exit_code=70)
    finally:
        manifest.jobs.close()


def beat(run: str) -> None:
    """The program that started ``run`` is still there."""
    _heard[run] = time.monotonic()


def interrupt(run: str, reason: str, exit_code: int) -> None:
    """Buy nothing more in the shards of ``run`` that this process has; where 75 is the reason, bring home soon."""
    _ended[run] = reason, exit_code
    for end in _ends[run]:
        end(reason, exit_code)


def _read(order: ShardOrder) -> Manifest:
    """The manifest, if it is still the one that was checked. Raises ``ManifestError`` or ``UsageError``."""
    manifest = load(
        str(order.manifest), offers=lambda models: run_loop(lambda: offers(models, order.options, os.environ))
    )
    if digest_of(manifest.jobs) != order.jobs:
        manifest.jobs.close()
        raise UsageError(
            f"{order.manifest}, one of its feeds or a model's schema is not what it was when the run was started, or "
            "this worker sees others"
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
    """A run that nobody watches any more buys nothing more: whoever starts it again finds all of it."""
    began = time.monotonic()
    while time.monotonic() - max(began, _heard.get(run, began)) < SILENCE_SECONDS:  # noqa: ASYNC110 - time that passes is no event
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
    """Tells what a shard does, a few times a second."""

    def __init__(self, worker: Any, order: ShardOrder) -> None:
        shard = order.options.shard
        assert shard is not None
        self._worker = worker
        self._topic = order.run
        self._shard = shard.index
        self._read: Callable[[], RunStatus] = RunStatus
        self._records: list[Record] = []

    def watch(self, read: Callable[[], RunStatus]) -> None:
        """Where the run stands can be read from now on."""
        self._read = read

    def __call__(self, record: Record) -> None:
        self._records.append(without_prompts(record))

    async def tick(self) -> None:
        """Send what there is, again and again."""
        while True:
            self.send()
            await anyio.sleep(NEWS_SECONDS)

    def send(self) -> None:
        """Send what has come since the last time."""
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
