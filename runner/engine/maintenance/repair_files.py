"""Repair of files without buying anything (``verify --repair``).

A file at the path of another file is moved to the archive of its owner. An altered file is kept beside its path as
``….altered``. Each purchase concerned is then delivered again, from the local bytes or from the API. After a crash in
between, ``verify`` or a run finds every file.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from random import Random

import anyio
import msgspec

from runner.core.aio import at_work
from runner.core.disk import in_thread
from runner.core.errors import OutputError, RunnerError
from runner.core.models import DISK, Output, Record, State
from runner.engine.config import DownloadLimits
from runner.engine.context import RunContext
from runner.engine.maintenance.verify import Finding, FindingKind, VerifyReport, check
from runner.engine.other_addresses import advice
from runner.engine.publishing.publisher import publishing
from runner.engine.steps.deliver import Deliverer
from runner.engine.steps.poll import RefusedRequests
from runner.files.folder_reader import files_of
from runner.manifest import JobStore

WORKERS = 4
RETRIES = 4


class RepairResult(msgspec.Struct):
    """Result of a repair: the repaired files, and the remaining problems."""

    after: VerifyReport = msgspec.field(default_factory=lambda: VerifyReport(checked=0, wrong=()))
    repaired: list[str] = msgspec.field(default_factory=list)
    """Paths that are correct again."""
    kept: list[str] = msgspec.field(default_factory=list)
    """Paths of the kept altered versions."""
    failed: dict[str, str] = msgspec.field(default_factory=dict)
    """Reasons by path, for files that could not be repaired."""
    interrupted: bool = False


async def repair_files(
    context: RunContext,
    limits: DownloadLimits | None = None,
    jobs: JobStore | None = None,
    selected: Callable[[str], bool] | None = None,
) -> RepairResult:
    """Repair what can be repaired, with a check of every file before and after. Submits nothing, and needs the lock.

    ``jobs`` are those of the manifest, whose copies are made again; None: copies are left as they are. With
    ``selected``, only the files of the jobs for whose id it returns True, and files of others that lie in their
    places. Raises ``OutputError`` if the disk fails, and ``LedgerError`` if the results log cannot be written.
    """
    context.folder.prepare()
    async with at_work(ThreadPoolExecutor(WORKERS, "disk")) as disk:
        before = await in_thread(disk, check, context.ledger, context.folder, selected)
        repair = _Repair(context, disk, limits)
        await repair.clear(finding for finding in before.wrong if jobs is not None or not finding.copy)
        await repair.deliver()
        if jobs is not None:
            await repair.make_copies(jobs, {finding.id for finding in before.wrong if finding.copy})
        repair.done.after = await in_thread(disk, check, context.ledger, context.folder, selected)
    still = {finding.path for finding in repair.done.after.wrong}
    repair.done.repaired = [f.path for f in before.wrong if f.kind is not FindingKind.FOREIGN and f.path not in still]
    return repair.done


class _Repair:
    """Repair in progress."""

    def __init__(self, context: RunContext, disk: Executor, limits: DownloadLimits | None) -> None:
        self.done = RepairResult()
        self._context = context
        self._disk = disk
        self._concerned: dict[tuple[str, int], str] = {}
        """Purchases to deliver again, each with a path for the report."""
        self._deliverer = Deliverer(
            api=context.api,
            client=context.storage,
            ledger=context.ledger,
            folder=context.folder,
            limits=limits,
            retries=RETRIES,
            clock=context.clock,
            disk=disk,
            rng=Random(),  # noqa: S311 - only spreads retries
            refused_requests=RefusedRequests(0),
            claimed=lambda _: True,
        )

    async def clear(self, wrong: Iterable[Finding]) -> None:
        """Move wrong files away, swapped files first, because their bytes belong to another purchase."""
        for finding in sorted(wrong, key=lambda finding: finding.kind is not FindingKind.SWAPPED):
            if finding.id is None or finding.purchase is None:
                continue
            if not finding.copy:
                self._concerned[finding.id, finding.purchase] = finding.path
            try:
                await self._clear(finding)
            except OutputError:
                raise
            except RunnerError as error:
                self.done.failed[finding.path] = str(error)

    async def _clear(self, finding: Finding) -> None:
        folder = self._context.folder
        if finding.belongs_to is not None and not finding.copy:
            owner, output = self._find(finding.belongs_to.id, finding.belongs_to.purchase, finding.belongs_to.path)
            self._concerned.setdefault((owner.id, owner.purchase), finding.belongs_to.path)
            kept = await in_thread(self._disk, folder.restore_file, owner, output, finding.path)
        elif finding.kind is not FindingKind.MISSING:
            kept = await in_thread(self._disk, folder.keep_altered, finding.path)
        else:
            return
        if not kept.startswith(".replaced/") or ".altered" in kept:
            self.done.kept.append(kept)

    def _find(self, job_id: str, purchase: int, path: str) -> tuple[Record, Output]:
        record = next(record for record in self._context.ledger.history(job_id) if record.purchase == purchase)
        return record, next(output for output in record.outputs if output.path == path)

    async def make_copies(self, jobs: JobStore, concerned: Container[str | None]) -> None:
        """Make the copies and sidecars of the jobs ``concerned`` again."""
        context = self._context
        async with publishing(context.ledger, context.folder, jobs, context.stop) as publisher:
            await publisher.finish(job for job in jobs if job.id in concerned)
        self.done.failed |= publisher.problems

    async def deliver(self) -> None:
        """Deliver the purchases concerned, a few at a time, until the grace period of an interruption ends."""
        work = iter(self._concerned.items())
        async with anyio.create_task_group() as group:
            group.start_soon(self._context.stop.end_grace, group.cancel_scope)
            async with anyio.create_task_group() as workers:
                for _ in range(WORKERS):
                    workers.start_soon(self._work, work)
            group.cancel_scope.cancel()
        self.done.interrupted = self._context.stop.interrupted.is_set()

    async def _work(self, work: Iterator[tuple[tuple[str, int], str]]) -> None:
        for (job_id, purchase), path in work:
            if self._context.stop.interrupted.is_set():
                return
            history = self._context.ledger.history(job_id)
            record = next(record for record in history if record.purchase == purchase)
            why = await self._deliver(record)
            if why is not None:
                self.done.failed[path] = why

    async def _deliver(self, record: Record) -> str | None:
        """Deliver one purchase again, to its paths or the archive. Return the reason of a failure, or None."""
        if record.state is not State.DONE or self._is_behind_another_api(record):
            return None  # the next run downloads what is owed; files replaced by another API's stay in the archive
        if record.api != self._context.api.base.name and not await self._is_here(record):
            return f"it was bought at another API ({record.api}), which this command does not use; {advice(record.api)}"
        after = await self._deliverer.deliver(record, fresh=False)
        if after.error is not None and after.error.code == DISK:
            raise OutputError(f"{after.error.message}. Nothing was bought; make room and repeat.")
        return after.error.message if after.error is not None else None

    def _is_behind_another_api(self, record: Record) -> bool:
        """Tell whether only files of another API replaced those of ``record``: a delivery would displace them."""
        newer = [other for other in self._context.ledger.history(record.id) if other.purchase > record.purchase]
        done = [other for other in newer if other.state is State.DONE]
        return bool(done) and all(other.api != record.api for other in done)

    async def _is_here(self, record: Record) -> bool:
        folder = self._context.folder
        found = [await in_thread(self._disk, folder.find_checked, record, output) for output in files_of(record)]
        return all(path is not None for path in found)
