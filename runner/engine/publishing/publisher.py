"""Publisher: makes copies in a few threads beside a run, and never keeps a purchase or a download waiting."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from runner.core.aio import at_work, pull
from runner.core.errors import OutputError, RunnerError
from runner.core.models import Job, Record
from runner.core.name_sets import NameSet
from runner.engine.publishing.step import PublishStep
from runner.engine.steps.internal_faults import internal_fault
from runner.engine.stop import Stop
from runner.files.output_folder import Folder
from runner.ledger import LedgerWriter
from runner.manifest import JobStore

log = logging.getLogger(__name__)

THREADS = max(1, min(4, os.cpu_count() or 1))
"""Originals that are decoded at once."""
WORKERS = 4 * THREADS
"""Jobs whose copies are in the making: while some wait for the disk, the next ones are decoded."""
MOST_WAITING = 1000
"""Jobs that wait for their copies. The copies of further jobs are made at the end of the run."""
KEPT = 1000
"""Problems that are kept for the caller."""
TELL_SECONDS = 5.0
"""Seconds between two lines about the copies that a run waits for."""
TOLD = 5
"""Problems that are logged one by one; the summary has their number."""


class Publisher:
    """Copies and sidecars of the jobs of one manifest."""

    def __init__(self, folder: Folder, jobs: JobStore, stop: Stop, step: PublishStep) -> None:
        self.made = 0
        self.failed = 0
        self.problems: dict[str, str] = {}
        """Reasons by path, of the first copies that could not be made."""
        self._folder = folder
        self._jobs = jobs
        self._stop = stop
        self._step = step
        self._waiting = deque[Job]()
        self._workers = set[asyncio.Task[None]]()
        self._ended = False
        """True after an error that every further copy would meet."""
        self._error: RunnerError | None = None
        self._failed = NameSet()
        """Ids of jobs with a copy that could not be made; it is not tried twice in one run."""

    def offer(self, record: Record) -> None:
        """Have the copies of a purchase made that was just delivered, unless too many wait."""
        if self._jobs.publishes and len(self._waiting) < MOST_WAITING:
            job = self._jobs.find(record.id)
            if job is not None and job.publishes:
                self._add(job)

    def _add(self, job: Job) -> None:
        self._waiting.append(job)
        if len(self._workers) < WORKERS:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while self._waiting and not self._ended and not self._stop.interrupted.is_set():
            job = self._waiting.popleft()
            try:
                self._folder.require_room()
                result = await self._step.make(job)
            except OutputError as error:
                self._fail(str(self._folder.root), str(error))
                self._ended = True
                return
            except RunnerError as error:
                self._error = error
                self._ended = True
                return
            except Exception as error:  # noqa: BLE001 - a bug in the copies of one job does not affect the others
                self._failed.add(job.id)
                self._fail(job.id, internal_fault(job.id, error).message)
                continue
            self.made += result.made
            if result.failed:
                self._failed.add(job.id)
            for path, problem in result.failed.items():
                self._fail(path, problem)

    def _fail(self, path: str, problem: str) -> None:
        self.failed += 1
        if self.failed <= KEPT:
            self.problems[path] = problem
        log.log(logging.WARNING if self.failed <= TOLD else logging.INFO, "copy not made: %s: %s", path, problem)

    async def drain(self) -> None:
        """Wait for the copies that are wanted so far. Until the next ``offer``, nothing here uses the ledger."""
        while self._workers:
            await asyncio.wait(self._workers, timeout=TELL_SECONDS)
            if self._workers:
                left = len(self._waiting) + len(self._workers)
                log.info("copies: %d made, those of %d jobs left", self.made, left, extra={"event": "copies"})
        self._waiting.clear()

    async def finish(self, jobs: Iterator[Job]) -> None:
        """Make whatever is missing or stale of ``jobs``. Raises ``LedgerError``."""
        await self.drain()
        if self._jobs.publishes:
            stale = (job for job in jobs if job.publishes and job.id not in self._failed and self._step.is_stale(job))
            while not self._ended and not self._stop.interrupted.is_set() and (some := await pull(stale)):
                for job in some:
                    self._add(job)
                await self.drain()
        if self._error is not None:
            raise self._error


@asynccontextmanager
async def publishing(ledger: LedgerWriter, folder: Folder, jobs: JobStore, stop: Stop) -> AsyncIterator[Publisher]:
    """Yield a publisher. On exit, wait for the copies that threads are making."""
    async with (
        at_work(ThreadPoolExecutor(THREADS, "copies")) as makers,
        at_work(ThreadPoolExecutor(WORKERS, "copies-disk")) as disk,
    ):
        publisher = Publisher(folder, jobs, stop, PublishStep(ledger, folder, makers, disk))
        try:
            yield publisher
        finally:
            await publisher.drain()
