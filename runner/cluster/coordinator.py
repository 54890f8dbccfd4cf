"""Coordinator of a cluster run: checks the workers, distributes the shards, combines their reports."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import anyio
from anyio import to_thread

from runner import __version__
from runner.cluster.dask_client import ClusterClient, reach
from runner.cluster.messages import ShardOrder, ShardOutcome, digest_of
from runner.cluster.preflight import check_workers
from runner.cluster.progress import ClusterProgress, jobs_by_shard
from runner.core.clock import Clock, SystemClock, timestamp
from runner.core.errors import ConflictError, Locked, RunnerError, UsageError
from runner.core.models import Record
from runner.core.shards import MOST_SHARDS, Shard
from runner.engine.batch import DECLINED, DECLINED_REMEDY, Confirm
from runner.engine.billing.costs import is_paid, total_spent
from runner.engine.catalogue import quote
from runner.engine.config import RunConfig
from runner.engine.forecast import make_forecast
from runner.engine.options import RunOptions
from runner.engine.replacements import Replacements
from runner.engine.run_status import StatusObserver
from runner.engine.stop import Stop
from runner.engine.summary import HALTED, Report, Stopped, combine
from runner.ledger import acquire_all, look, merge_shards, open_reader
from runner.manifest import JobStore, Manifest
from runner.planning.renamed_manifest import refuse_renamed
from runner.planning.selection import Selection

SHARDS_A_SLOT = 4
"""Shards for each slot, so that all slots finish at about the same time."""
AGAIN_SECONDS = 2.0
"""Pause between two attempts."""
BEAT_SECONDS = 5.0
NOBODY_SECONDS = 60.0
"""Maximum time without any worker in the cluster."""
PATIENCE = 120.0
"""Seconds to wait for the shards of a client that died: they end after ``SILENCE_SECONDS`` and a grace period."""
GONE = "the connection to the cluster is lost; running shards end by themselves"
FOR_ALL = (HALTED, 69, 73, 77)
"""Exit codes of a shard after which no other shard begins and none buys more."""


async def run(
    config: RunConfig,
    manifest: Manifest,
    options: RunOptions,
    address: str,
    *,
    observer: Callable[[Record], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    confirm: Confirm | None = None,
) -> Report:
    """Run ``manifest`` on the cluster at ``address``, and merge the results logs of its shards.

    ``config`` holds ``options`` as resolved on this machine; workers resolve the options in their own environment.
    ``confirm`` is asked once before done pictures are replaced; if it says no, no shard begins.

    Raises a ``RunnerError`` before anything is bought if the workers are unfit. Later problems of a shard are in the
    report.
    """
    clock, stop = clock or SystemClock(), stop or Stop()
    started = clock.monotonic()
    path = require_possible(config, manifest)
    root = config.folder.root
    await to_thread.run_sync(refuse_renamed, root, config.beside, manifest.jobs)
    order = ShardOrder(
        run=f"runner-{uuid.uuid4().hex}",
        version=__version__,
        manifest=path,
        options=_for_workers(options, root, clock.now()),
    )
    async with reach(address) as engine:
        workers = await check_workers(engine, order, config)
        await _wait_until_free(root, clock, stop, say)
        if confirm is not None and not stop.stopped:
            await _confirm_replacements(config, manifest, options, confirm, stop, clock)
        slots = slots_of(config, sum(workers.values()))
        shards = divide(root, slots)
        jobs, digest = await to_thread.run_sync(_read, manifest.jobs, config, len(shards))
        board = ClusterProgress(jobs, observer=observer, say=say)
        if isinstance(observer, StatusObserver):
            observer.watch(board.status)
        say(f"{len(shards)} shards, {min(slots, len(shards))} at a time; workers: {len(workers)}")
        parts = await _Run(replace(order, jobs=digest), engine, board, shards, stop, say).conduct(
            min(slots, len(shards))
        )
    report = combine([*parts, *([Report(stopped=stop.why)] if stop.why else [])])
    merged = await to_thread.run_sync(_merge, root, clock)
    report = report.with_rows(bad=manifest.skipped_rows, left_out=manifest.left_out_rows)
    return _told(report, config, clock, started, merged=merged)


async def _confirm_replacements(
    config: RunConfig, manifest: Manifest, options: RunOptions, confirm: Confirm, stop: Stop, clock: Clock
) -> None:
    """Stop buying if the user does not want done pictures to be replaced. The shards do not ask."""
    if look(config.folder.root).empty:
        return

    def decide() -> Replacements:
        try:
            return make_forecast(config, manifest.jobs, now=clock.now(), visit=lambda *_: None).replacements
        except ConflictError:  # the shards download what is owed, buy nothing, and report the conflict
            return Replacements()

    found = await to_thread.run_sync(decide)
    if not found.count:
        return
    prices = None
    if is_paid(config.api.name):
        prices = (await quote(found.estimate.models, options, os.environ)).prices
    if not await confirm(found.words(prices)):
        stop.buying(DECLINED, remedy=DECLINED_REMEDY)


def _read(jobs: JobStore, config: RunConfig, count: int) -> tuple[Counter[int], str]:
    """Return the number of selected jobs in each shard, and the digest of all jobs. A million jobs take a minute."""
    selected = Selection(jobs, config.job_filter).selected()
    return jobs_by_shard((job.id for job in selected), count), digest_of(jobs)


def _for_workers(options: RunOptions, root: Path, now: float) -> RunOptions:
    """Return ``options`` for shards that begin at any time: the duration becomes an end time."""
    ends = [options.until, now + options.for_seconds if options.for_seconds is not None else None]
    until = min((end for end in ends if end is not None), default=None)
    return replace(options, output=root, until=until, for_seconds=None)


async def _wait_until_free(root: Path, clock: Clock, stop: Stop, say: Callable[[str], None]) -> None:
    """Wait until the shards of a client that died have ended: both runs together would exceed the manifest's limits.

    Raises ``Locked`` if another run uses the folder for longer than ``PATIENCE``.
    """
    until = clock.monotonic() + PATIENCE
    told = False
    while not stop.stopped:
        try:
            with acquire_all(root, timestamp(clock.now())):
                return
        except Locked as error:
            if clock.monotonic() > until:
                raise
            if not told:
                say(f"waiting up to {PATIENCE:.0f} s for another run: {error}")
            told = True
        await stop.wait(AGAIN_SECONDS)


def divide(root: Path, slots: int) -> tuple[Shard, ...]:
    """Return the shards that the folder is split into, or else ``SHARDS_A_SLOT`` shards for each slot."""
    there = look(root).shards
    return there or Shard(index=1, of=min(MOST_SHARDS, SHARDS_A_SLOT * slots)).all


def slots_of(config: RunConfig, room: int) -> int:
    """Return the number of shards that run at a time: each needs room on a worker and a slot at the API."""
    return room if config.concurrency is None else min(room, config.concurrency)


def require_possible(config: RunConfig, manifest: Manifest) -> Path:
    """Return the manifest's path. Raises ``UsageError`` for options that several processes cannot share."""
    if manifest.path is None:
        raise UsageError("--cluster: each worker reads the manifest, so it must be a file, not standard input")
    if config.emulated:
        raise UsageError(
            "--cluster: the emulator of --emulator serves one process only; start `runner emulator`, and give --api"
        )
    if config.job_filter.failed or config.buy is not None:
        raise UsageError("--cluster: --failed and --buy would apply to each shard; use --only or --budget instead")
    if config.job_filter.limit is not None:
        raise UsageError("--cluster: --limit would apply to each shard; use --only instead")
    if config.shard is not None:
        raise UsageError("--cluster and --shard both split the batch; give one of them")
    return manifest.path.absolute()


class _Run:
    """Run of the whole batch in progress."""

    def __init__(
        self,
        order: ShardOrder,
        engine: ClusterClient,
        board: ClusterProgress,
        shards: tuple[Shard, ...],
        stop: Stop,
        say: Callable[[str], None],
    ) -> None:
        self._order = order
        self._engine = engine
        self._board = board
        self._shards = shards
        self._stop = stop
        self._say = say
        self._waiting = iter(shards)
        self._reports: dict[Shard, Report] = {}
        self._unfit: dict[str, str] = {}
        """Workers that cannot run any shard, with the reasons."""

    async def conduct(self, slots: int) -> list[Report]:
        """Run every shard, ``slots`` at a time, until all have ended or a signal arrives; return their reports."""
        self._engine.listen(self._order.run, self._board.hear)
        async with anyio.create_task_group() as group:
            group.start_soon(self._pass_on_stop)
            # after a signal the run does not wait for a shard that does not respond
            group.start_soon(self._stop.end_grace, group.cancel_scope, AGAIN_SECONDS)
            group.start_soon(self._beat, group.cancel_scope)
            async with anyio.create_task_group() as working:
                for number in range(1, slots + 1):
                    working.start_soon(self._work, Shard(index=number, of=slots))
            group.cancel_scope.cancel()
        return [self._reports.get(shard) or self._board.end(shard, None) for shard in self._shards]

    async def _pass_on_stop(self) -> None:
        """Wait until this run is stopped, then stop its shards on all workers."""
        await self._stop.wait()
        while self._stop.why is not None:  # repeated: a shard may begin on a new worker
            await self._engine.interrupt(self._order.run, self._stop.why.reason, self._stop.why.exit_code)
            await anyio.sleep(AGAIN_SECONDS)

    async def _beat(self, scope: anyio.CancelScope) -> None:
        """Send signs of life to the shards, and stop the run if the cluster has no workers."""
        seen = anyio.current_time()
        while anyio.current_time() - seen < NOBODY_SECONDS and not self._engine.gone:
            await self._engine.beat(self._order.run)
            with suppress(Exception), anyio.move_on_after(BEAT_SECONDS):  # the scheduler may be away for a moment
                if await self._engine.workers():
                    seen = anyio.current_time()
            await anyio.sleep(BEAT_SECONDS)
        self._stop.buying(GONE if self._engine.gone else f"the cluster has had no worker for {NOBODY_SECONDS:.0f} s")
        scope.cancel()

    async def _work(self, slot: Shard) -> None:
        """Run shards one after the other in one slot, with the slot's share of concurrency and rate."""
        for shard in self._waiting:
            if self._stop.stopped:
                return
            outcome = await self._carry(shard, slot)
            report = self._board.end(shard, outcome.report)
            if outcome.report is None:
                failed = Stopped(reason=f"shard {shard}: {outcome.error}", exit_code=outcome.exit_code)
                report = replace(report, stopped=failed)
            self._reports[shard] = report
            if self._engine.gone:
                self._stop.buying(GONE)
            elif report.stopped is not None and report.stopped.exit_code in FOR_ALL:
                self._stop.buying(report.stopped.reason, report.stopped.exit_code, report.stopped.remedy)

    async def _carry(self, shard: Shard, slot: Shard) -> ShardOutcome:
        """Run a shard to its end. Retry up to ``PATIENCE`` if a worker is unfit or another run holds the shard."""
        order = replace(self._order, options=replace(self._order.options, shard=shard, share=slot))
        until = anyio.current_time() + PATIENCE
        for attempt in count(1):
            key = f"{self._order.run}-{shard.name}-{attempt}"
            outcome = await self._engine.run(order, key, self._unfit)
            if outcome.unfit:
                self._leave_out(outcome)
            elif not outcome.locked:
                return outcome
            if anyio.current_time() > until or await self._stop.wait(AGAIN_SECONDS):
                break
        return outcome

    def _leave_out(self, outcome: ShardOutcome) -> None:
        if outcome.unfit not in self._unfit:
            self._say(f"worker {outcome.unfit} is not used, and bought nothing: {outcome.error}")
        self._unfit[outcome.unfit] = outcome.error


def _merge(root: Path, clock: Clock) -> str:
    """Merge the results logs; return why they could not be merged, or an empty string. Nothing is lost either way."""
    try:
        merge_shards(root, timestamp(clock.now()))
    except RunnerError as error:  # also for an unfinished redo
        return f"the results are still in shards ({error}); the same command or `runner merge` merges them"
    return ""


def _told(report: Report, config: RunConfig, clock: Clock, started: float, *, merged: str) -> Report:
    """Add to ``report`` the values that are only known for the whole folder."""
    root = config.folder.root
    with open_reader(root) as ledger:
        total = total_spent(ledger.latest(), config.api.name)
    return replace(
        report,
        spent_usd=total,
        seconds=clock.monotonic() - started,
        output=str(root),
        results=str(look(root).results),
        notes=(*report.notes, *filter(None, [merged])),
    )
