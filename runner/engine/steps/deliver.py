"""Delivery of the outputs of a request to files under their final names. A failed delivery leaves the purchase owed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from random import Random
from weakref import WeakValueDictionary

import aiohttp
import msgspec

from runner.api.client import Api
from runner.api.responses import Completed, Gone
from runner.core.clock import Clock, timestamp
from runner.core.disk import in_thread
from runner.core.errors import OutputError, RunnerError
from runner.core.models import ACCEPTED, UNDELIVERABLE, Output, Record, State
from runner.engine.config import DownloadLimits
from runner.engine.pacing.throttle import backoff
from runner.engine.run_status import TRANSITION
from runner.engine.steps.fetch_output import OutputFetcher
from runner.engine.steps.internal_faults import internal_fault
from runner.engine.steps.poll import RefusedRequests, outputs_of
from runner.engine.steps.shipment import (
    CODES,
    FINAL,
    Expired,
    InternalError,
    Rejected,
    Shipment,
    fault_of,
    partial_warning,
)
from runner.files.errors import FileMoved, PathOccupied
from runner.files.output_folder import Folder, IncomingFile
from runner.ledger import LedgerWriter
from runner.ledger.records import follow

log = logging.getLogger(__name__)


class Deliverer:
    """Deliverer: downloads outputs and moves them to their final paths."""

    def __init__(
        self,
        *,
        api: Api,
        client: aiohttp.ClientSession,
        ledger: LedgerWriter,
        folder: Folder,
        limits: DownloadLimits | None,
        retries: int,
        clock: Clock,
        disk: Executor,
        rng: Random,
        refused_requests: RefusedRequests,
        claimed: Callable[[Record], bool],
    ) -> None:
        """Create a deliverer. ``claimed`` tells if the manifest still wants the files of a done purchase in place."""
        self._api = api
        self._outputs = OutputFetcher(api=api, client=client, folder=folder, limits=limits, disk=disk)
        self._ledger = ledger
        self._folder = folder
        self._retries = retries
        self._clock = clock
        self._disk = disk
        self._rng = rng
        self._refused_requests = refused_requests
        self._claimed = claimed
        self._placing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Locks by job id: two purchases of one job are placed one after the other."""

    async def deliver(self, record: Record, *, fresh: bool) -> Record:
        """Deliver ``record``, with at most ``retries`` retries, and return the record as it then stands.

        ``fresh``: the request is one of this run; any other gets one retry more. Each output is fetched separately: if
        some cannot be fetched, the others are still placed. The result is one of:

        - a done record;
        - a record that is still owed, with the reason as its error;
        - for a purchase that was done before and whose files cannot be fetched: the record as it was, with its error
          set but not recorded. If the renaming of its files had begun, the purchase is owed instead.
        """
        shipment = Shipment(record)
        delays = backoff(self._rng, base=0.5, cap=20.0)
        tries = self._retries + (1 if fresh else 2)  # links of an earlier run may have expired
        failure: RunnerError | None = None
        for attempt in range(tries):
            try:
                if attempt:
                    await asyncio.sleep(next(delays))
                await self._gather(shipment, astray=fresh or attempt > 0)
                if not shipment.waiting or attempt + 1 == tries:
                    return await self._conclude(shipment, fresh=fresh)
                continue
            except tuple(CODES) as error:
                failure = error.with_traceback(None)  # else a cycle keeps frames with blocks of the file alive
                failure.__context__ = None
                log.info("%s: attempt %d to deliver: %s", record.id, attempt + 1, error)
                if isinstance(error, FINAL):
                    break
                self._look_again(shipment)
            except RunnerError:
                raise
            except Exception as error:  # noqa: BLE001 - an error of one job does not end the run; the purchase stays owed
                failure = InternalError(internal_fault(record.id, error).message)
                break
        assert failure is not None
        return await self._fail(shipment, failure, fresh=fresh)

    async def _gather(self, shipment: Shipment, *, astray: bool) -> None:
        """Fetch every missing output once.

        ``astray``: an output whose own link is refused is given up. Raises ``OutputError``.
        """
        if shipment.wants_fresh_links:
            try:
                await self._renew(shipment)
            except Expired as error:
                for number in shipment.waiting:
                    shipment.fail(number, error, final=True)
        for number in shipment.waiting:
            output = shipment.record.outputs[number - 1]
            try:
                shipment.arrive(number, await self._outputs.fetch(shipment, number, output))
            except OutputError:
                raise
            except tuple(CODES) as error:
                log.info("%s: output %d: %s", shipment.record.id, number, error)
                final = isinstance(error, FINAL) or (astray and self._outputs.leads_astray(shipment.record, output))
                shipment.fail(number, error, final=final)
            except RunnerError:
                raise
            except Exception as error:  # noqa: BLE001 - an error of one output does not affect the others
                fault = internal_fault(shipment.record.id, error)
                shipment.fail(number, InternalError(fault.message), final=True)

    def _look_again(self, shipment: Shipment) -> None:
        """Forget arrivals whose files are no longer where they were, because files were being moved."""
        for number, arrival in list(shipment.arrivals.items()):
            if not self._folder.is_waiting(arrival):
                del shipment.arrivals[number]

    async def _fail(self, shipment: Shipment, failure: RunnerError, *, fresh: bool) -> Record:
        """Record why a purchase stays owed, and remove fetched files that have no final name yet."""
        record, fault = shipment.record, fault_of(failure)
        if shipment.repeats(failure):
            fault = msgspec.structs.replace(
                fault, code=UNDELIVERABLE, message=f"the same error in two runs: {failure}", retryable=False
            )
        log.warning("%s: not delivered: %s", record.id, failure, extra=TRANSITION)
        await in_thread(self._disk, self._folder.discard, list(shipment.arrivals.values()))
        if record.state is State.DONE:
            begun = self._begun(record)
            if begun is None:
                return msgspec.structs.replace(record, error=fault)
            record = begun
        elif isinstance(failure, InternalError):  # the line that names the files to be renamed may be recorded already
            record = next(r for r in self._ledger.history(record.id) if r.purchase == record.purchase)
        outputs = getattr(failure, "outputs", record.outputs)
        following = follow(record, State.GENERATED, self._now(), error=fault, outputs=outputs)
        if isinstance(failure, Expired) and not fresh:
            self._refused_requests.add(record, following)
            return record
        return await self._ledger.append(following)

    def _begun(self, record: Record) -> Record | None:
        """Return the record that made a done purchase owed again before its files were renamed. None: there is none."""
        history = self._ledger.history(record.id)
        return next((r for r in history if r.purchase == record.purchase and r.state is State.GENERATED), None)

    async def _renew(self, shipment: Shipment) -> None:
        """Replace the outputs by those that the API names now. Raises ``Expired``."""
        progress = await self._api.result(shipment.record.request_id or "")
        if isinstance(progress, Gone):
            raise Expired(f"unavailable, both in the storage and at the API: {progress.fault.message}")
        if isinstance(progress, Completed) and (outputs := outputs_of(shipment.record, progress.urls)):
            dropped = shipment.renew(outputs)
            if dropped:
                await in_thread(self._disk, self._folder.discard, dropped)

    async def _conclude(self, shipment: Shipment, *, fresh: bool) -> Record:
        """Place the files that arrived.

        The purchase is then done, unless an output is missing that a later attempt may still get.
        """
        record = shipment.record
        if not shipment.arrivals or (shipment.failures and not self._brings_news(shipment)):
            return await self._fail(shipment, shipment.failure, fresh=fresh)
        warning = await self._judge(shipment)
        over = record.state is State.DONE or shipment.over
        async with self._placing.setdefault(record.id, asyncio.Lock()):
            after = await self._put(shipment, warning, over=over)
        if not shipment.failures:
            return after
        failure, missing = shipment.failure, len(shipment.failures)
        if not over:
            return await self._fail(Shipment(after), failure, fresh=fresh)
        log.warning(
            "%s: %d of %d outputs are unavailable: %s. `runner verify --repair` tries to download them again (free)",
            record.id, missing, len(after.outputs), failure, extra=TRANSITION,
        )  # fmt: skip
        return msgspec.structs.replace(after, error=fault_of(failure)) if shipment.loses_a_file else after

    def _brings_news(self, shipment: Shipment) -> bool:
        """Tell whether there is anything to place or to record.

        For a done purchase, all arrived files may have been in place already.
        """
        fetched = any(map(self._folder.is_waiting, shipment.arrivals.values()))
        return shipment.record.state is not State.DONE or shipment.brings_news or fetched

    async def _judge(self, shipment: Shipment) -> str | None:
        """Return the warning to record with the purchase. Raises ``Rejected`` if ``strict_size`` rejects its size."""
        record, outputs = shipment.record, shipment.outputs
        warning = size_warning(record, outputs)
        if warning and self._outputs.limits_of(record).strict_size and record.state is not State.DONE:
            kept = await in_thread(self._disk, self._folder.reject, record, list(shipment.arrivals.values()))
            placed = dict(zip(shipment.arrivals, kept, strict=True))
            shipment.arrivals = {}
            all_kept = tuple(placed.get(number, output) for number, output in enumerate(outputs, 1))
            raise Rejected(f"{size_words(record, outputs)}; with `strict_size`, it is kept in .rejected/", all_kept)
        missing = partial_warning(outputs)
        return ACCEPTED if missing and record.accepted else missing or warning

    async def _put(self, shipment: Shipment, warning: str | None, *, over: bool) -> Record:
        """Record the files to be renamed, rename them, and only then record the purchase as done, if it is ``over``.

        If a newer purchase has these names, the files go to the archive, as if the newer purchase had moved them there.
        """
        record, arrivals, outputs = shipment.record, list(shipment.arrivals.values()), shipment.outputs
        others = self._ledger.history(record.id, but=record.purchase)
        late = any(_displaces(other, record) for other in others)
        if not late:
            await self._clear_the_way(record, arrivals, others)
        record = await self._ledger.append(follow(record, State.GENERATED, self._now(), outputs=outputs))
        if late:
            log.info(
                "%s: purchase %d arrived after a newer one; its files go to .replaced/", record.id, record.purchase
            )
            await in_thread(self._disk, self._folder.archive_arrivals, record, arrivals)
        else:
            await in_thread(self._disk, self._folder.place, record, arrivals, others)
        if not over:
            return record
        final = tuple(msgspec.structs.replace(output, moved_from=None) for output in outputs)
        record = follow(record, State.DONE, self._now(), outputs=final, warning=warning)
        if warning == "size":
            log.warning("%s: %s; the file is kept", record.id, size_words(record, outputs), extra=TRANSITION)
        return await self._ledger.append(record)

    async def _clear_the_way(self, record: Record, arrivals: list[IncomingFile], others: list[Record]) -> None:
        """Move files of other jobs to the archive if no job wants them at these paths any more.

        Raises ``PathOccupied`` for any other file.
        """
        for path in await in_thread(self._disk, self._folder.occupied, record, arrivals, others):
            owner = await self._ledger.owner_of(path)
            if owner is not None and owner.state is not State.DONE:
                raise FileMoved(f"{self._folder.root / path} is being moved at the moment")
            if owner is None or self._claimed(owner):
                whose = "is not from runner" if owner is None else f"belongs to job {owner.id}"
                raise PathOccupied(
                    f"{self._folder.root / path} {whose} and is in the way; move it and run again (free)"
                )
            await in_thread(self._disk, self._folder.move_to_archive, owner, path)

    def _now(self) -> str:
        return timestamp(self._clock.now())


def _displaces(newer: Record, record: Record) -> bool:
    """Tell whether the files of ``newer`` have the names of those of ``record``, or are about to get them."""
    named = newer.state is State.GENERATED and not newer.stuck and any(output.path for output in newer.outputs)
    has_files = newer.state is State.DONE and not (
        newer.accepted and all(output.path is None for output in newer.outputs)
    )
    return newer.api == record.api and newer.purchase > record.purchase and (has_files or named)


def size_warning(record: Record, outputs: tuple[Output, ...]) -> str | None:
    """Return ``size`` if the dimensions of a picture differ from those in the inputs, else None."""
    width, height = record.inputs.get("width"), record.inputs.get("height")
    asked = type(width) is int and type(height) is int
    odd = any(output.width is not None and (output.width, output.height) != (width, height) for output in outputs)
    return "size" if asked and odd else None


def size_words(record: Record, outputs: tuple[Output, ...]) -> str:
    """Return the requested and the received dimensions, in words."""
    came = ", ".join(f"{output.width}x{output.height}" for output in outputs)
    return f"requested {record.inputs.get('width')}x{record.inputs.get('height')}, received {came}"
