"""On a worker: one shard, run as it would be anywhere, and told about to the program that started the run."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from distributed import get_worker

from runner import __version__, app
from runner.catalogue import offers
from runner.cluster.messages import News, Order, Outcome, digest_of, encode, told
from runner.errors import Locked, RunnerError, UsageError, one_error
from runner.loop import run_loop
from runner.manifest import Manifest, load
from runner.model import Record
from runner.progress import Standing
from runner.stop import Stop
from runner.summary import Report

NEWS_SECONDS = 0.5

_stops: defaultdict[str, list[Callable[[str], object]]] = defaultdict(list)
"""How to end the shards of a run that this process has, by the run."""
_ended: dict[str, str] = {}
"""Runs that were to end, and why: a shard that comes after that is not begun."""


def run_shard(order: Order) -> Outcome:
    """Run one shard to its end. Raises nothing: what is wrong may mean nothing to another version of Python."""
    try:
        _require_same_runner(order)
        manifest = _read(order)
        try:
            return Outcome(report=run_loop(lambda: _run(manifest, order)))
        finally:
            manifest.jobs.close()
    except RunnerError as error:
        return Outcome(error=str(error), exit_code=error.exit_code, locked=isinstance(error, Locked))


def interrupt(run: str, reason: str) -> None:
    """End the shards of ``run`` that this process has: buy nothing more, bring home what is in flight."""
    _ended[run] = reason
    for end in _stops[run]:
        end(reason)


def _require_same_runner(order: Order) -> None:
    if order.version != __version__:
        raise UsageError(f"this worker has runner {__version__}, the run was started by {order.version}")


def _read(order: Order) -> Manifest:
    """The manifest, if it is still the one that was checked. Raises ``ManifestError`` or ``UsageError``."""
    manifest = load(
        str(order.manifest), offers=lambda models: run_loop(lambda: offers(models, order.options, os.environ))
    )
    if digest_of(manifest.jobs) != order.jobs:
        manifest.jobs.close()
        raise UsageError(
            f"{order.manifest}, one of its feeds or a model's schema is not what it was when the run was started, or "
            "this worker sees others; run again. This shard bought nothing."
        )
    return manifest


async def _run(manifest: Manifest, order: Order) -> Report:
    stop = Stop()
    with _may_be_interrupted(order.run, stop), one_error():
        relay = _Relay(get_worker(), order)
        async with anyio.create_task_group() as group:
            group.start_soon(relay.tick)
            report = await app.run(manifest, order.options, observer=relay, stop=stop)
            group.cancel_scope.cancel()
        relay.send()
        return report


@contextmanager
def _may_be_interrupted(run: str, stop: Stop) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def end(reason: str) -> None:
        loop.call_soon_threadsafe(stop.interrupt, reason)

    _stops[run].append(end)
    if run in _ended:
        stop.interrupt(_ended[run])
    try:
        yield
    finally:
        _stops[run].remove(end)


class _Relay:
    """Tells what a shard does, a few times a second."""

    def __init__(self, worker: Any, order: Order) -> None:
        shard = order.options.shard
        assert shard is not None
        self._worker = worker
        self._topic = order.run
        self._shard = shard.index
        self._read: Callable[[], Standing] = Standing
        self._records: list[Record] = []

    def watch(self, read: Callable[[], Standing]) -> None:
        """Where the run stands can be read from now on."""
        self._read = read

    def __call__(self, record: Record) -> None:
        self._records.append(told(record))

    async def tick(self) -> None:
        """Send what there is, again and again."""
        while True:
            self.send()
            await anyio.sleep(NEWS_SECONDS)

    def send(self) -> None:
        """Send what has come since the last time."""
        records, self._records = self._records, []
        standing = self._read()
        news = News(
            shard=self._shard,
            worker=self._worker.address,
            counts=dict(standing.counts),
            cost_usd=standing.cost_usd,
            lanes=standing.lanes,
            records=records,
        )
        self._worker.log_event(self._topic, encode(news))
