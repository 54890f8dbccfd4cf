"""Where a run on a cluster is started: look at the workers, hand out the shards, follow them, sum them up."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import anyio

from runner import __version__
from runner.batch import GRACE_SECONDS
from runner.clock import Clock, SystemClock, timestamp
from runner.cluster.board import Board, jobs_by_shard
from runner.cluster.engine import Engine, reach
from runner.cluster.messages import Order, Outcome, digest_of
from runner.cluster.workers import check_workers
from runner.download.place import Folder
from runner.errors import LedgerError, Locked, OutputError, UsageError
from runner.ledger import look, merge_shards
from runner.manifest import Manifest
from runner.model import Record
from runner.money import exact, spent
from runner.options import RunOptions, api_of, lanes_of, reading
from runner.progress import Watcher
from runner.shards import MOST_SHARDS, Shard
from runner.stop import Stop
from runner.summary import Report, Stopped, most_serious, together

SHARDS_A_SLOT = 4
"""So that the slots have about equally much to do in the end."""
AGAIN_SECONDS = 2.0
"""Between two tries at a shard that somebody else runs: mostly what a client that died has left."""


async def run(
    manifest: Manifest,
    options: RunOptions,
    address: str,
    *,
    observer: Callable[[Record], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    stop: Stop | None = None,
    clock: Clock | None = None,
) -> Report:
    """Run ``manifest`` on the cluster at ``address``, and make one results manifest of what its shards did.

    Raises a ``RunnerError`` before anything is bought where the workers do not fit; what becomes of a shard later is in
    the report.
    """
    clock, stop = clock or SystemClock(), stop or Stop()
    started = clock.monotonic()
    require_possible(manifest, options)
    folder = options.folder(manifest)
    options = replace(options, output=folder.root)
    async with reach(address) as engine:
        workers = await check_workers(engine, manifest, options)
        shards = divide(folder.root, sum(workers.values()))
        slots = slots_of(manifest, options, sum(workers.values()), shards)
        chosen = (job.id for job in options.selection.of(manifest.jobs))
        jobs = jobs_by_shard(chosen, len(shards))
        board = Board(jobs, observer=observer, say=say)
        if isinstance(observer, Watcher):
            observer.watch(board.standing)
        say(f"{len(shards)} shards on {len(workers)} workers, {slots} at a time")
        outcomes = await _Run(manifest, options, engine, board, shards, stop).conduct(slots)
    report = _summed(outcomes, jobs, shards, stop).with_bad_rows(manifest.skipped_rows)
    return _told(report, folder, options, clock, started, merged=_merge(folder.root, clock))


def divide(root: Path, slots: int) -> tuple[Shard, ...]:
    """The shards of the folder: those it is split into, else some for each task that can be done at a time."""
    there = look(root).shards
    return there or Shard(index=1, of=min(MOST_SHARDS, SHARDS_A_SLOT * slots)).all


def slots_of(manifest: Manifest, options: RunOptions, room: int, shards: tuple[Shard, ...]) -> int:
    """How many shards run at a time: each needs room on a worker and a lane."""
    lanes = lanes_of(manifest, options)
    return min(room, len(shards), *([lanes] if lanes is not None else []))


def require_possible(manifest: Manifest, options: RunOptions) -> None:
    """Raise ``UsageError`` for what cannot be done by several processes."""
    if manifest.path is None:
        raise UsageError("--cluster: workers read the manifest themselves, so it has to be a file, not standard input")
    if options.emulator:
        raise UsageError("--cluster: the emulator of --emulator is in one process; start `runner emulator`, and --api")
    if options.limit is not None:
        raise UsageError("--cluster: --limit would count in each shard; choose with --only instead")
    if options.shard is not None:
        raise UsageError("--cluster and --shard divide the batch each in its way; give one of them")


class _Run:
    """One run of the whole batch under way."""

    def __init__(
        self,
        manifest: Manifest,
        options: RunOptions,
        engine: Engine,
        board: Board,
        shards: tuple[Shard, ...],
        stop: Stop,
    ) -> None:
        assert manifest.path is not None
        self._engine = engine
        self._board = board
        self._shards = shards
        self._stop = stop
        self._waiting = iter(shards)
        self._outcomes: dict[Shard, Outcome] = {}
        self._order = Order(
            run=f"runner-{uuid.uuid4().hex}",
            version=__version__,
            manifest=manifest.path.resolve(),
            jobs=digest_of(manifest.jobs),
            options=options,
        )

    async def conduct(self, slots: int) -> dict[Shard, Outcome]:
        """Run every shard, ``slots`` at a time, until all have ended or a signal came; what came of each that began."""
        self._engine.listen(self._order.run, self._board.hear)
        async with anyio.create_task_group() as group:
            group.start_soon(self._pass_on_interruption, group.cancel_scope)
            async with anyio.create_task_group() as working:
                for number in range(1, slots + 1):
                    working.start_soon(self._work, Shard(index=number, of=slots))
            group.cancel_scope.cancel()
        return self._outcomes

    async def _pass_on_interruption(self, scope: anyio.CancelScope) -> None:
        """A signal here ends the shards gently, wherever they are; for one that does not answer nobody waits."""
        await self._stop.interrupted.wait()
        await self._engine.interrupt(self._order.run, self._stop.why.reason if self._stop.why else "interrupted")
        await anyio.sleep(GRACE_SECONDS + AGAIN_SECONDS)
        scope.cancel()

    async def _work(self, slot: Shard) -> None:
        """One slot: its share of lanes and rate goes from shard to shard."""
        for shard in self._waiting:
            if self._stop.stopped:
                return
            outcome = await self._carry(shard, slot)
            self._outcomes[shard] = outcome
            self._board.end(shard, outcome.report)

    async def _carry(self, shard: Shard, slot: Shard) -> Outcome:
        """Run a shard to its end. While somebody else runs it, wait: mostly what a client that died has left."""
        order = replace(self._order, options=replace(self._order.options, shard=shard, share=slot))
        attempt = 0
        while True:
            attempt += 1
            outcome = await self._engine.run(order, f"{self._order.run}-{shard.name}-{attempt}")
            if not outcome.locked or await self._stop.wait(AGAIN_SECONDS):
                return outcome


def _summed(outcomes: dict[Shard, Outcome], jobs: Mapping[int, int], shards: tuple[Shard, ...], stop: Stop) -> Report:
    """One report of all shards. The jobs of those that did not begin, or could not be run, are left."""
    reports = [outcome.report for outcome in outcomes.values() if outcome.report is not None]
    ran = {shard for shard, outcome in outcomes.items() if outcome.report is not None}
    failed = [
        Stopped(reason=f"shard {shard}: {outcome.error}", exit_code=outcome.exit_code)
        for shard, outcome in outcomes.items()
        if outcome.report is None
    ]
    reasons = [*failed, *([stop.why] if stop.why else [])]
    left = sum(jobs.get(shard.index, 0) for shard in shards if shard not in ran)
    return together([Report(left=left, stopped=most_serious(reasons)), *reports])


def _merge(root: Path, clock: Clock) -> str:
    """Make one results manifest of all; why that could not be done now, or empty. Nothing is lost either way."""
    try:
        merge_shards(root, timestamp(clock.now()))
    except (Locked, LedgerError, OutputError) as error:
        return f"the results stay in shards ({error}); the same command, or `runner merge`, goes on from there"
    return ""


def _told(report: Report, folder: Folder, options: RunOptions, clock: Clock, started: float, *, merged: str) -> Report:
    """The report with what only the folder as a whole can say."""
    api = api_of(options, os.environ).name
    with reading(folder) as ledger:
        total = sum(exact(spent(record)) for record in ledger.latest() if record.api == api)
    return replace(
        report,
        spent_usd=float(total),
        seconds=clock.monotonic() - started,
        output=str(folder.root),
        results=str(look(folder.root).results),
        notes=(*report.notes, *filter(None, [merged])),
    )
