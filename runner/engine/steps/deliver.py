"""Delivery: outputs of a request become files under their final names. What fails stays owed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random
from weakref import WeakValueDictionary

import aiohttp
import msgspec

from runner.api.client import Api
from runner.api.responses import Completed, Gone
from runner.core.clock import Clock, timestamp
from runner.core.disk import Disk, in_thread
from runner.core.errors import OutputError, RunnerError
from runner.core.http import ConnectFailed, ConnectionBroken, TooLarge
from runner.core.models import DISK, INTERNAL, Fault, Output, Record, State
from runner.engine.config import DownloadLimits
from runner.engine.pacing.throttle import backoff
from runner.engine.run_status import TRANSITION
from runner.engine.steps.internal_faults import internal_fault
from runner.engine.steps.poll import RefusedRequests
from runner.files.containers import BadMedia
from runner.files.download import SMALL, StorageAnswer, fetch
from runner.files.errors import FileMoved, PathOccupied
from runner.files.media import Media
from runner.files.output_folder import Folder, IncomingFile
from runner.files.urls import RefusedUrl, UrlPolicy
from runner.ledger import LedgerWriter
from runner.ledger.records import follow

log = logging.getLogger(__name__)


class _Rejected(RunnerError):
    """The pictures are whole, but not accepted under ``strict_size``; ``outputs`` says where they are kept."""

    def __init__(self, message: str, outputs: tuple[Output, ...]) -> None:
        self.outputs = outputs
        super().__init__(message)


class _Internal(RunnerError):
    """A bug of the runner's own, or of a decoder."""


class _Gone(RunnerError):
    """Neither the storage nor the API has the files any more."""


_CODES: dict[type[RunnerError], str] = {
    RefusedUrl: "untrusted_host",
    StorageAnswer: "storage",
    BadMedia: "bad_file",
    TooLarge: "too_large",
    PathOccupied: "file_in_the_way",
    OutputError: DISK,
    FileMoved: "file_moved",
    ConnectFailed: "storage",
    ConnectionBroken: "storage",
    _Rejected: "wrong_output",
    _Gone: "expired",
    _Internal: INTERNAL,
}
_FINAL = (_Rejected, _Gone, TooLarge, PathOccupied, OutputError)
"""Trying again within the run cannot help; the next run may find it changed."""


def _wants_fresh_links(failure: RunnerError | None) -> bool:
    """Whether the API should be asked for the outputs anew: links expire, and addresses change, before requests do."""
    return isinstance(failure, RefusedUrl | ConnectFailed) or (isinstance(failure, StorageAnswer) and failure.expired)


class Deliverer:
    """Brings outputs home and puts them in place."""

    def __init__(
        self,
        *,
        api: Api,
        client: aiohttp.ClientSession,
        ledger: LedgerWriter,
        folder: Folder,
        bounds: DownloadLimits | None,
        retries: int,
        clock: Clock,
        disk: Disk,
        rng: Random,
        refused_requests: RefusedRequests,
        claimed: Callable[[Record], bool],
    ) -> None:
        """``claimed`` tells whether the manifest still wants a done purchase's files where they are."""
        self._api = api
        self._origin = api.base.origin
        self._client = client
        self._ledger = ledger
        self._folder = folder
        self._bounds = bounds
        self._retries = retries
        self._clock = clock
        self._disk = disk
        self._rng = rng
        self._refused_requests = refused_requests
        self._claimed = claimed
        self._placing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By job: two purchases of one job take their places one after the other."""

    async def deliver(self, record: Record, *, fresh: bool) -> Record:
        """Deliver ``record``, trying ``retries`` times more; ``fresh`` is a request of this run.

        Returns it done; or still owed, with the reason as its error; a purchase that was done before and whose files
        cannot be had is returned as it was, its error set but not recorded. Had their renaming begun, it is owed.
        """
        delays = backoff(self._rng, base=0.5, cap=20.0)
        failure: RunnerError | None = None
        for attempt in range(self._retries + (1 if fresh else 2)):  # links of an earlier run may be old
            try:
                if attempt:
                    await asyncio.sleep(next(delays))
                if _wants_fresh_links(failure):
                    record = await self._with_fresh_links(record)
                return await self._once(record)
            except tuple(_CODES) as error:
                failure = error.with_traceback(None)  # else frames with blocks of the file live on in a cycle
                failure.__context__ = None
                log.info("%s: attempt %d to deliver: %s", record.id, attempt + 1, error)
                if isinstance(error, _FINAL) or ((fresh or attempt) and self._leads_astray(record)):
                    break
            except RunnerError:
                raise
            except Exception as error:  # noqa: BLE001 - one job's trouble is one job's; the purchase stays owed
                failure = _Internal(internal_fault(record.id, error).message)
                break
        assert failure is not None
        log.warning("%s: not delivered: %s", record.id, failure, extra=TRANSITION)
        return await self._fail(record, failure, fresh=fresh)

    async def _fail(self, record: Record, failure: RunnerError, *, fresh: bool) -> Record:
        fault = Fault(
            code=_CODES[type(failure)],
            message=str(failure),
            retryable=not isinstance(failure, _Gone),
            http_status=getattr(failure, "status", None),
        )
        if record.state is State.DONE:
            begun = self._begun(record)
            if begun is None:
                return msgspec.structs.replace(record, error=fault)
            record = begun
        elif isinstance(failure, _Internal):  # perhaps after the line that names the files about to be renamed
            record = next(r for r in self._ledger.history(record.id) if r.purchase == record.purchase)
        outputs = getattr(failure, "outputs", record.outputs)
        following = follow(record, State.GENERATED, self._now(), error=fault, outputs=outputs)
        if isinstance(failure, _Gone) and not fresh:
            self._refused_requests.add(record, following)
            return record
        return await self._ledger.append(following)

    def _begun(self, record: Record) -> Record | None:
        """The line that made a done purchase owed again, because its files were about to be renamed."""
        history = self._ledger.history(record.id)
        return next((r for r in history if r.purchase == record.purchase and r.state is State.GENERATED), None)

    async def _with_fresh_links(self, record: Record) -> Record:
        """``record`` with the outputs that the API names now. Raises ``_Gone``."""
        progress = await self._api.result(record.request_id or "")
        if isinstance(progress, Gone):
            raise _Gone(f"neither the storage nor the API has it any more: {progress.fault.message}")
        if isinstance(progress, Completed) and progress.urls:
            return msgspec.structs.replace(record, outputs=tuple(Output(url=url) for url in progress.urls))
        return record

    async def _once(self, record: Record) -> Record:
        """Fetch, check, record what is about to be renamed, rename, and only then say done."""
        arrivals = [await self._arrive(record, number, output) for number, output in enumerate(record.outputs, 1)]
        outputs = tuple(arrival.output for arrival in arrivals)
        warning = size_warning(record, outputs)
        if warning and self._bounds_of(record).strict_size and record.state is not State.DONE:
            kept = await in_thread(self._disk, self._folder.reject, record, arrivals)
            raise _Rejected(f"{size_words(record, outputs)}; strict_size is set, so it is kept aside", kept)
        async with self._placing.setdefault(record.id, asyncio.Lock()):
            return await self._put(record, arrivals, warning)

    async def _put(self, record: Record, arrivals: list[IncomingFile], warning: str | None) -> Record:
        """Give the files their names; beside those of a newer purchase they go where that would have set them aside."""
        outputs = tuple(arrival.output for arrival in arrivals)
        others = self._ledger.history(record.id, but=record.purchase)
        late = any(_displaces(other, record) for other in others)
        if not late:
            await self._clear_the_way(record, arrivals, others)
        record = await self._ledger.append(follow(record, State.GENERATED, self._now(), outputs=outputs))
        if late:
            log.info("%s: purchase %d came after a newer one, and is kept aside", record.id, record.purchase)
            await in_thread(self._disk, self._folder.archive_arrivals, record, arrivals)
        else:
            await self._place(record, arrivals, others)
        final = tuple(msgspec.structs.replace(output, moved_from=None) for output in outputs)
        record = follow(record, State.DONE, self._now(), outputs=final, warning=warning)
        if warning:
            log.warning("%s: %s; kept as it is", record.id, size_words(record, outputs), extra=TRANSITION)
        return await self._ledger.append(record)

    async def _place(self, record: Record, arrivals: list[IncomingFile], others: list[Record]) -> None:
        if not others:
            await self._disk.small(self._folder.place, record, arrivals, others)
        else:  # older files are read through before they are set aside
            await in_thread(self._disk, self._folder.place, record, arrivals, others)

    async def _clear_the_way(self, record: Record, arrivals: list[IncomingFile], others: list[Record]) -> None:
        """Move files of other jobs to the archive where no job wants them any more.

        Raises ``PathOccupied`` for any other file.
        """
        for path in await self._disk.small(self._folder.occupied, record, arrivals, others):
            owner = await self._ledger.owner_of(path)
            if owner is not None and owner.state is not State.DONE:
                raise FileMoved(f"{self._folder.root / path} is just being moved away")
            if owner is None or self._claimed(owner):
                whose = "not ours" if owner is None else f"job {owner.id}'s"
                raise PathOccupied(
                    f"{self._folder.root / path} is {whose} and in the way; move it, and run again (free)"
                )
            await in_thread(self._disk, self._folder.move_to_archive, owner, path)

    async def _arrive(self, record: Record, number: int, output: Output) -> IncomingFile:
        """A checked file for one output: the one that is here already, else a download."""
        found = output.path and await in_thread(self._disk, self._folder.find_checked, record, output)
        if found:
            path = _final_path(record, number, found.rpartition(".")[2])
            moved_from = found if found != path else None
            here = msgspec.structs.replace(output, path=path, moved_from=moved_from)
            return IncomingFile(name=str(self._folder.path(found)), output=here)
        bounds = self._bounds_of(record)
        target = self._folder.new_incoming_file()
        media = await fetch(
            self._client,
            output.url,
            target,
            allowed=self._allowed(bounds),
            max_bytes=bounds.max_file_bytes,
            disk=self._disk,
        )
        path = _final_path(record, number, media.extension)
        return IncomingFile(name=target, output=_described(output, path, media), flushed=media.bytes > SMALL)

    def _allowed(self, bounds: DownloadLimits) -> UrlPolicy:
        return UrlPolicy(api=self._origin, trusted_hosts=bounds.trusted_hosts)

    def _leads_astray(self, record: Record) -> bool:
        """Whether the record's own links are refused: asking once more does not help, as it may after a redirect."""
        allowed = self._allowed(self._bounds_of(record))
        try:
            for output in record.outputs:
                allowed.check(output.url)
        except RefusedUrl:
            return True
        return False

    def _bounds_of(self, record: Record) -> DownloadLimits:
        return self._bounds or DownloadLimits(
            trusted_hosts=record.trusted_hosts,
            max_file_bytes=record.max_file_bytes or DEFAULT_MAX_FILE,
            strict_size=record.strict_size,
        )

    def _now(self) -> str:
        return timestamp(self._clock.now())


DEFAULT_MAX_FILE = 2 * 2**30


def _final_path(record: Record, number: int, extension: str) -> str:
    return f"{record.stem(number)}.{extension}"


def _displaces(newer: Record, record: Record) -> bool:
    """Whether a newer purchase's files have the names of this one's, or are about to."""
    named = newer.state is State.GENERATED and not newer.stuck and any(output.path for output in newer.outputs)
    return newer.api == record.api and newer.purchase > record.purchase and (newer.state is State.DONE or named)


def _described(output: Output, path: str, media: Media) -> Output:
    return Output(
        url=output.url,
        path=path,
        bytes=media.bytes,
        sha256=media.sha256,
        media_type=media.media_type,
        width=media.width,
        height=media.height,
    )


def size_warning(record: Record, outputs: tuple[Output, ...]) -> str | None:
    """``size`` where a picture has not the pixels that the inputs asked for."""
    width, height = record.inputs.get("width"), record.inputs.get("height")
    asked = type(width) is int and type(height) is int
    odd = any(output.width is not None and (output.width, output.height) != (width, height) for output in outputs)
    return "size" if asked and odd else None


def size_words(record: Record, outputs: tuple[Output, ...]) -> str:
    """What was asked for and what came."""
    came = ", ".join(f"{output.width}x{output.height}" for output in outputs)
    return f"asked for {record.inputs.get('width')}x{record.inputs.get('height')}, got {came}"
