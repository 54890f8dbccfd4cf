"""Wiring: from a checked manifest to a report. What the command line and the library both call.

``run`` holds the folder, opens the ledger, reaches the API, and hands all three to a ``Batch``. ``collect`` does the
same with no jobs: it needs nothing but the folder.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.api.client import Api, connect
from runner.api.config import ApiBase, Token, find_token
from runner.core.aio import to_its_end
from runner.core.clock import Clock, SystemClock, timestamp
from runner.core.errors import UsageError, one_error
from runner.core.http import session
from runner.core.models import EMULATOR, Record
from runner.core.shards import Shard
from runner.engine.batch import Batch
from runner.engine.context import Site, Terms
from runner.engine.maintenance.cancel import Cancelled, cancel_owed
from runner.engine.options import RunOptions, api_of, chosen, gap_of, lanes_of, rate_of, reading_others, surveyor_of
from runner.engine.status import Watcher
from runner.engine.steps.deliver import Bounds
from runner.engine.stop import Stop
from runner.engine.summary import Report
from runner.files.output_folder import Folder
from runner.files.urls import PublicResolver
from runner.ledger import Parts, Passing, Reader, Writer, hold, hold_all, look, open_ledger, path_of, private
from runner.manifest import Manifest
from runner.planning.planner import manifest_path

if TYPE_CHECKING:
    from runner.engine.maintenance.repair_files import Restored
    from runner.ledger.repair import Mended


PATIENCE = 60.0
"""Seconds that a shard waits for others to begin, or to finish a split."""
MOMENT = 0.1

Observer = Callable[[Record], None]
"""Told of every record once it is durable: the events of a run.

One that is a ``Watcher`` as well is told, before the first of them, how to read where the run stands."""


async def run(
    manifest: Manifest,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Carry every selected job of ``manifest`` to an end that the results manifest knows.

    Raises a ``RunnerError`` for what concerns the whole run; trouble with one job is in the report.
    """
    options = options or RunOptions()
    terms = terms_of(manifest, options)
    async with _batch(options.folder(manifest), terms, options, observer, stop, clock, environ, buys=True) as batch:
        site = batch.site
        surveyor = surveyor_of(manifest, options, site.ledger, site.folder, site.api.base, site.others)
        report = await batch.run(surveyor, chosen(manifest, options, surveyor), redo=options.choice)
    return report.with_bad_rows(manifest.skipped_rows)


async def collect(
    folder: Folder,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Bring home what is owed in ``folder`` and buy nothing. Needs no manifest."""
    options = options or RunOptions()
    async with _batch(folder, Terms(), options, observer, stop, clock, environ) as batch:
        return await batch.collect()


async def repair(
    folder: Folder,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Restored:
    """Put the files of ``folder`` right and buy nothing. Needs no manifest."""
    from runner.engine.maintenance.repair_files import restore  # noqa: PLC0415 - a run that buys needs none of it

    options = options or RunOptions()
    async with _batch(folder, Terms(), options, observer, stop, clock, environ) as batch:
        return await restore(batch.site)


def repair_log(
    folder: Folder, options: RunOptions, *, clock: Clock | None = None, environ: Mapping[str, str] = os.environ
) -> list[Mended]:
    """Make a damaged results manifest readable again, in a folder that is split each of them; what that came to."""
    from runner.ledger.repair import mend  # noqa: PLC0415 - only a damaged results manifest needs it

    at = timestamp((clock or SystemClock()).now())
    api = api_of(options, environ).name
    with hold_all(folder.root, at) as held:
        return [mend(path_of(folder.root, part), at=at, api=api) for part in held.parts]


async def cancel(
    folder: Folder,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Cancelled:
    """Ask the API to call off what is owed in ``folder``, and record what it says of each request afterwards."""
    async with _batch(folder, Terms(), options or RunOptions(), observer, stop, clock, environ) as batch:
        return await cancel_owed(batch.site)


def terms_of(manifest: Manifest, options: RunOptions) -> Terms:
    """The manifest's settings as far as a batch needs them."""
    settings = manifest.settings
    return Terms(
        manifest=manifest_path(manifest.path, options.folder(manifest).root),
        lanes=lanes_of(manifest, options),
        per_second=rate_of(manifest, options),
        gap=gap_of(manifest, options),
        timeout_seconds=settings.timeout_seconds,
        retries=settings.retries,
        budget=options.budget or settings.budget,
        halt=settings.halt,
        until=options.until,
        offline=options.offline and not options.emulator,
        bounds=Bounds(
            trusted_hosts=settings.trusted_hosts,
            max_file_bytes=settings.max_file_bytes,
            strict_size=settings.strict_size,
        ),
    )


@asynccontextmanager
async def _batch(
    folder: Folder,
    terms: Terms,
    options: RunOptions,
    observer: Observer | None,
    stop: Stop | None,
    clock: Clock | None,
    environ: Mapping[str, str],
    *,
    buys: bool = False,
) -> AsyncIterator[Batch]:
    """A batch with everything open, closed again in the right order.

    One that ``buys`` needs a whole folder or a shard; another works through all shards at once.
    """
    clock = clock or SystemClock()
    base = api_of(options, environ)
    token = Token(EMULATOR) if options.emulator else find_token(environ)
    with one_error():
        async with AsyncExitStack() as stack:
            stop = stop if stop is not None else Stop()
            held = await _hold(stack, folder.root, options.shard, clock, stop, buys=buys)
            folder = Folder(folder.root, private(folder.root, options.shard))
            ledger, others = await to_its_end(_open, stack, folder, options.shard, held, observer or (lambda _: None))
            api = await stack.enter_async_context(_reach(base, token, folder, clock))
            resolver = PublicResolver(api.base.origin)
            client = await stack.enter_async_context(session(keepalive_seconds=75.0, resolver=resolver))
            site = Site(
                folder=folder,
                ledger=ledger,
                others=others,
                shard=options.shard,
                api=api,
                storage=client,
                clock=clock,
                stop=stop,
            )
            batch = Batch(site, terms)
            if isinstance(observer, Watcher):
                observer.watch(batch.standing)
            yield batch


def _open(
    stack: AsyncExitStack, folder: Folder, shard: Shard | None, held: Parts, observer: Observer
) -> tuple[Writer, Reader]:
    """What this run writes and what other shards know, closed with ``stack``. Read whole: a million lines take long."""
    ledger = open_ledger(folder.root, held, observer)
    stack.callback(ledger.close)
    return ledger, stack.enter_context(reading_others(folder, shard))


async def _hold(
    stack: AsyncExitStack, root: Path, shard: Shard | None, clock: Clock, stop: Stop, *, buys: bool
) -> Parts:
    """Hold the folder or the shard until ``stack`` is closed.

    Other shards hold the folder for a moment when they begin; so a shard waits for it, a run of the whole does not.
    """
    since = timestamp(clock.now())
    if shard is None and not buys:
        return stack.enter_context(hold_all(root, since))
    if not buys and not look(root).found:
        raise UsageError(f"{root} is not split into shards: leave --shard out. Nothing was changed.")
    until = clock.monotonic() + PATIENCE
    while True:
        try:
            return stack.enter_context(hold(root, since, shard))
        except Passing:
            if clock.monotonic() > until or await stop.wait(MOMENT):
                raise


@asynccontextmanager
async def _reach(base: ApiBase, token: Token, folder: Folder, clock: Clock) -> AsyncIterator[Api]:
    """The API, or an emulator inside this process whose state lives in the output folder."""
    async with AsyncExitStack() as stack:
        if base.name == EMULATOR:
            from runner.emulator import Options, serve  # noqa: PLC0415 - it draws; nobody else should wait for that

            state = folder.root / ".runner" / "emulator"
            emulator = await stack.enter_async_context(serve(Options(), state=state, now=clock.now))
            base = ApiBase(url=emulator.base, name=EMULATOR)
        yield await stack.enter_async_context(connect(base, token))
