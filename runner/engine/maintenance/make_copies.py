"""Copies and sidecars that are missing or stale, made without a network (``runner copies``)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from runner.core.clock import Clock, SystemClock, timestamp
from runner.core.disk import in_thread
from runner.core.errors import one_error
from runner.engine.publishing.publisher import Publisher, publishing
from runner.engine.stop import Stop
from runner.files.output_folder import Folder
from runner.ledger import acquire_all, open_ledger
from runner.manifest import JobStore
from runner.planning.selection import JobFilter, Selection, failed_ids


class CopiesResult(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of copies and sidecars of a command."""

    made: int
    failed: int
    interrupted: bool

    @property
    def exit_code(self) -> int:
        return 75 if self.interrupted else 1 if self.failed else 0


async def make_copies(
    folder: Folder,
    jobs: JobStore,
    chosen: JobFilter,
    *,
    stop: Stop | None = None,
    clock: Clock | None = None,
    watch: Callable[[Publisher], object] = lambda _: None,
) -> CopiesResult:
    """Make what is missing or stale of the selected jobs. The output folder is locked meanwhile.

    ``watch`` is called with the publisher before it begins: its counts are the progress. Raises ``UsageError`` if a
    name matches no job, ``LedgerError``, or ``OutputError``.
    """
    stop = stop or Stop()
    if chosen.names is not None:
        chosen.names.require_matches(jobs.ids())
    with one_error(), acquire_all(folder.root, timestamp((clock or SystemClock()).now())) as held:
        folder.prepare()
        ledger = await in_thread(None, open_ledger, folder.root, held)
        try:
            failed = failed_ids(ledger.latest()) if chosen.failed else frozenset[str]()
            async with publishing(ledger, folder, jobs, stop) as publisher:
                watch(publisher)
                await publisher.finish(Selection(jobs, chosen, failed=failed).selected())
            ledger.compact()
        finally:
            ledger.close()
    return CopiesResult(made=publisher.made, failed=publisher.failed, interrupted=stop.interrupted.is_set())
