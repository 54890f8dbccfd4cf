"""Operations on a folder that need the API, for the command line and the library.

Each operation resolves a ``RunConfig``, locks the folder, opens the ledger, connects to the API and passes these to a
``Batch``. ``collect``, ``repair`` and ``cancel`` need only the folder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.api.config import ApiBase, Token, find_api, find_token
from runner.core.aio import run_loop, to_its_end
from runner.core.clock import Clock, SystemClock, timestamp
from runner.core.disk import in_thread
from runner.core.errors import UsageError, one_error
from runner.core.http import session
from runner.core.models import EMULATOR
from runner.core.shards import Shard
from runner.engine.batch import Batch, Confirm
from runner.engine.config import DownloadLimits, RunConfig
from runner.engine.connection import EMULATOR_STATE, reach
from runner.engine.context import RunContext
from runner.engine.maintenance.cancel import CancelResult, cancel_owed
from runner.engine.observers import GuardedObserver, Observer
from runner.engine.options import RunOptions
from runner.engine.run_status import StatusObserver
from runner.engine.stop import Stop
from runner.engine.summary import Report
from runner.files.output_folder import Folder
from runner.files.urls import PublicResolver
from runner.ledger import (
    HeldParts,
    LayoutBusy,
    LedgerReader,
    LedgerWriter,
    acquire,
    acquire_all,
    look,
    open_ledger,
    open_others,
    path_of,
    private,
    recognize,
    say_same,
)
from runner.manifest import Manifest
from runner.planning.renamed_manifest import refuse_renamed

if TYPE_CHECKING:
    from runner.engine.maintenance.reconcile import OpenPurchases, PlannedResolution, ResolutionRequest
    from runner.engine.maintenance.repair_files import RepairResult
    from runner.ledger.repair import RepairedLog


PATIENCE = 60.0
"""Seconds that a shard waits for other shards to begin, or to finish a split."""
MOMENT = 0.1


async def run(
    manifest: Manifest,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Run the selected jobs of ``manifest``, record how each ends in the results log, and return the report.

    Raises a ``RunnerError`` for an error of the whole run. Problems of single jobs are in the report.
    """
    config = RunConfig.resolve(manifest, options or RunOptions(), environ)
    return await run_jobs(config, manifest, observer=observer, stop=stop, clock=clock, environ=environ)


def run_sync(
    manifest: Manifest,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
) -> Report:
    """Run ``manifest`` like ``run``, for programs without an event loop.

    Raises ``UsageError`` where a loop is already running, as in a notebook: ``await runner.run(…)`` works there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_loop(lambda: run(manifest, options, observer=observer, stop=stop))
    raise UsageError("run_sync was called inside a running event loop; write `await runner.run(…)` there")


async def run_jobs(
    config: RunConfig,
    manifest: Manifest,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
    confirm: Confirm | None = None,
) -> Report:
    """Run the jobs of ``manifest`` with ``config``. The same as ``run``, for callers that have a resolved config.

    ``confirm`` is asked before done pictures are replaced; if it says no, nothing is bought.
    """
    await in_thread(None, refuse_renamed, config.folder.root, config.beside, manifest.jobs)
    async with _batch(config, observer, stop, clock, environ, buys=True, confirm=confirm) as batch:
        report = await batch.run(manifest.jobs)
    return report.with_rows(bad=manifest.skipped_rows, left_out=manifest.left_out_rows)


async def collect(
    folder: Folder,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Download what is owed in ``folder``, and buy nothing. Needs no manifest."""
    config = RunConfig.of_folder(folder, options or RunOptions(), environ)
    async with _batch(config, observer, stop, clock, environ) as batch:
        return await batch.collect()


async def repair(
    folder: Folder,
    options: RunOptions | None = None,
    *,
    manifest: Manifest | None = None,
    selected: Callable[[str], bool] | None = None,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> RepairResult:
    """Repair the files of ``folder``, and buy nothing. Needs no manifest.

    ``manifest``, if there is one, may now allow downloads that were refused before, and says how copies are made.
    ``selected`` tells by its id whether a job's files are repaired; default: those of all jobs.
    """
    from runner.engine.maintenance.repair_files import repair_files  # noqa: PLC0415 - not needed by a run that buys

    config = RunConfig.of_folder(folder, options or RunOptions(), environ)
    async with _batch(config, observer, stop, clock, environ) as batch:
        limits = DownloadLimits.of(manifest.settings) if manifest is not None else None
        return await repair_files(batch.context, limits, manifest.jobs if manifest is not None else None, selected)


def repair_log(
    folder: Folder, options: RunOptions, *, clock: Clock | None = None, environ: Mapping[str, str] = os.environ
) -> list[RepairedLog]:
    """Make a damaged results log readable again; in a split folder, each results log. Return the results."""
    from runner.ledger.repair import repair  # noqa: PLC0415 - only a damaged results log needs it

    at = timestamp((clock or SystemClock()).now())
    api = options.api_base(environ).name
    with acquire_all(folder.root, at) as held:
        return [repair(path_of(folder.root, part), at=at, api=api) for part in held.parts]


async def cancel(
    folder: Folder,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> CancelResult:
    """Ask the API to cancel the owed requests of ``folder``, and record how the API then reports each of them."""
    config = RunConfig.of_folder(folder, options or RunOptions(), environ)
    async with _batch(config, observer, stop, clock, environ) as batch:
        return await cancel_owed(batch.context)


async def reconcile(
    folder: Folder,
    requests: Sequence[ResolutionRequest],
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> OpenPurchases:
    """Resolve open purchases in ``folder`` as the user requests, and return those that are still open.

    Before anything is recorded, the API must confirm that it knows each request to adopt, unless ``options`` are
    offline.
    """
    from runner.engine.maintenance import reconcile as reconciling  # noqa: PLC0415 - not needed by a run that buys
    from runner.engine.maintenance.adoption import require_known  # noqa: PLC0415 - not needed by a run that buys

    clock, options = clock or SystemClock(), options or RunOptions()

    async def check(planned: list[PlannedResolution]) -> None:
        adopted = [
            (record, request) for record, request in planned if request.resolution is reconciling.Resolution.ADOPT
        ]
        for name in sorted({record.api for record, _ in adopted} if not options.offline else ()):
            base, token = _api_of_record(name, options, environ)
            async with reach(base, token, state=folder.root / EMULATOR_STATE, now=clock.now) as api:
                await require_known(api, [request for record, request in adopted if record.api == name])

    observe = observer or (lambda _: None)
    asks = options.same_api_as is not None or any(
        request.resolution is reconciling.Resolution.ADOPT for request in requests
    )
    base = find_api(options.api, environ).name if asks else None
    with one_error():
        return await reconciling.reconcile(
            folder, requests, observer=observe, clock=clock, check=check, api=base, same_as=options.same_api
        )


def _api_of_record(name: str, options: RunOptions, environ: Mapping[str, str]) -> tuple[ApiBase, Token]:
    """Return the API that a purchase was made at, and its token.

    The token is only sent to the API that the options and the environment name. Raises ``UsageError`` for any other.
    """
    if name == EMULATOR:
        return ApiBase(url="", name=EMULATOR), Token(EMULATOR)
    base = find_api(options.api, environ)
    if base.name != name:
        raise UsageError(
            f"the purchase was made at {name}, and this command uses {base.name}: add --api {name}, or --same-api-as "
            f"{name} if both are addresses of one service, or --offline to adopt without asking. Nothing was recorded."
        )
    return base, find_token(environ)


@asynccontextmanager
async def _batch(
    config: RunConfig,
    observer: Observer | None,
    stop: Stop | None,
    clock: Clock | None,
    environ: Mapping[str, str],
    *,
    buys: bool = False,
    confirm: Confirm | None = None,
) -> AsyncIterator[Batch]:
    """Open the resources of a batch, and close them in reverse order.

    A batch that ``buys`` works on an unsplit folder or one shard. Any other batch may cover all shards at once.
    """
    clock = clock or SystemClock()
    token = Token(EMULATOR) if config.emulated else find_token(environ)
    root, shard = config.folder.root, config.shard
    with one_error():
        async with AsyncExitStack() as stack:
            stop = stop if stop is not None else Stop()
            held = await _hold(stack, root, shard, clock, stop, buys=buys)
            observing = GuardedObserver(observer, stop)
            ledger, others = await to_its_end(_open, stack, root, shard, held, observing)
            if config.same_api is not None:
                await say_same(ledger, config.api.name, config.same_api)
            recognize(config.api.name, ledger, others, same_as=config.same_api)
            api = await stack.enter_async_context(reach(config.api, token, state=root / EMULATOR_STATE, now=clock.now))
            resolver = PublicResolver(api.base.origin)
            storage = await stack.enter_async_context(session(keepalive_seconds=75.0, resolver=resolver))
            context = RunContext(
                folder=Folder(root, private(root, shard)),
                ledger=ledger,
                others=others,
                shard=shard,
                api=api,
                storage=storage,
                clock=clock,
                stop=stop,
                lock=held.lock,
            )
            batch = Batch(context, config, confirm)
            if isinstance(observer, StatusObserver):
                observer.watch(batch.status)
            yield batch
        observing.raise_error()


def _open(
    stack: AsyncExitStack, root: Path, shard: Shard | None, held: HeldParts, observer: Observer
) -> tuple[LedgerWriter, LedgerReader]:
    """Open the ledger of this run and the ledgers of other shards, until ``stack`` is closed.

    A ledger with a million lines takes long to open.
    """
    ledger = open_ledger(root, held, observer)
    stack.callback(ledger.close)
    return ledger, stack.enter_context(open_others(root, shard))


async def _hold(
    stack: AsyncExitStack, root: Path, shard: Shard | None, clock: Clock, stop: Stop, *, buys: bool
) -> HeldParts:
    """Lock the folder or the shard until ``stack`` is closed.

    Other shards lock the folder for a moment when they begin. A run of a shard therefore waits for the lock, while a
    run of the whole folder does not.
    """
    since = timestamp(clock.now())
    if shard is None and not buys:
        return stack.enter_context(acquire_all(root, since))
    if not buys and not look(root).found:
        raise UsageError(f"{root} is not split into shards; leave out --shard. Nothing was changed.")
    until = clock.monotonic() + PATIENCE
    while True:
        try:
            return stack.enter_context(acquire(root, since, shard))
        except LayoutBusy:
            if clock.monotonic() > until or await stop.wait(MOMENT):
                raise
