"""Fetching of one output: from the local disk, from the storage, or from inside the API's answer."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import aiohttp
import msgspec

from runner.api.client import Api
from runner.api.outputs import INSIDE, absolute, find_inside, read_data
from runner.api.responses import Completed, Gone
from runner.core.disk import in_thread
from runner.core.http import ConnectionBroken
from runner.core.media_formats import MAX_PIXELS, MOST_PIXELS
from runner.core.models import Output, Record
from runner.engine.config import DownloadLimits
from runner.engine.steps.shipment import Expired, OutputReplaced, Shipment
from runner.files.containers import BadMedia
from runner.files.download import fetch as download
from runner.files.download import keep_bytes
from runner.files.media import Media
from runner.files.output_folder import Folder, IncomingFile
from runner.files.record_paths import LONGEST_NAME
from runner.files.urls import RefusedUrl, UrlPolicy
from runner.ledger.records import is_target

DEFAULT_MAX_FILE = 2 * 2**30


class OutputFetcher:
    """Fetcher of outputs as checked files under temporary names."""

    def __init__(
        self, *, api: Api, client: aiohttp.ClientSession, folder: Folder, limits: DownloadLimits | None, disk: Executor
    ) -> None:
        """Create a fetcher. ``limits`` apply to every purchase; None: each purchase has the limits recorded with it."""
        self._api = api
        self._origin = api.base.origin
        self._client = client
        self._folder = folder
        self._limits = limits
        self._disk = disk

    async def fetch(self, shipment: Shipment, number: int, output: Output) -> IncomingFile:
        """Return a checked file for one output: the local one if there is one, else a download."""
        record = shipment.record
        found = output.path and await in_thread(self._disk, self._folder.find_checked, record, output)
        if found:
            path = _final_path(record, number, found.rpartition(".")[2])
            moved_from = found if found != path else None
            here = msgspec.structs.replace(output, path=path, moved_from=moved_from)
            return IncomingFile(source=self._folder.path(found), output=here)
        limits = self.limits_of(record)
        target = self._folder.new_incoming_file()
        if output.url.startswith(INSIDE):
            media = await self._unpack(shipment, output, target, limits)
        else:
            media = await download(
                self._client,
                self._address(output),
                target,
                allowed=self._allowed(limits),
                max_bytes=limits.max_file_bytes,
                disk=self._disk,
                max_pixels=limits.max_pixels,
                any_kind=True,
            )
        path = _final_path(record, number, media.extension)
        return IncomingFile(source=target, output=_described(output, path, media))

    async def _unpack(self, shipment: Shipment, output: Output, target: Path, limits: DownloadLimits) -> Media:
        """Write a file that is inside the API's answer.

        The answer is requested again, because it is too long to be recorded.
        """
        if shipment.answer is None:
            progress = await self._api.result(shipment.record.request_id or "")
            if isinstance(progress, Gone):
                raise Expired(f"unavailable at the API: {progress.fault.message}")
            if not isinstance(progress, Completed):
                raise ConnectionBroken("the API does not return the result at the moment")
            shipment.answer = progress.urls
        address = find_inside(shipment.answer, output.url)
        if address is None:
            raise OutputReplaced("the API's answer no longer contains this output")
        found = read_data(address, limits.max_file_bytes)
        if found is None:
            raise BadMedia("the file inside the API's answer cannot be decoded")
        return await keep_bytes(
            found.body,
            target,
            found.content_type,
            max_bytes=limits.max_file_bytes,
            disk=self._disk,
            max_pixels=limits.max_pixels,
        )

    def _address(self, output: Output) -> str:
        """Return the absolute address of the file; an address without a host is relative to the API."""
        try:
            return absolute(output.url, f"{self._api.base.url}/")
        except ValueError as error:
            raise RefusedUrl(f"{output.url[:200]!r} is not an address: {error}") from None

    def _allowed(self, limits: DownloadLimits) -> UrlPolicy:
        return UrlPolicy(api=self._origin, trusted_hosts=limits.trusted_hosts)

    def leads_astray(self, record: Record, output: Output) -> bool:
        """Tell whether the output's own link is refused.

        A retry does not help then, whereas it may help after a redirect to a refused address.
        """
        try:
            if not output.url.startswith(INSIDE):
                self._allowed(self.limits_of(record)).check(self._address(output))
        except RefusedUrl:
            return True
        return False

    def limits_of(self, record: Record) -> DownloadLimits:
        """Return the limits of this run, else those recorded with the purchase."""
        return self._limits or DownloadLimits(
            trusted_hosts=record.trusted_hosts,
            max_file_bytes=record.max_file_bytes or DEFAULT_MAX_FILE,
            max_pixels=min(max(record.max_pixels or MAX_PIXELS, 1), MOST_PIXELS),
            strict_size=record.strict_size,
        )


def _final_path(record: Record, number: int, extension: str) -> str:
    path = f"{record.stem(number)}.{extension}"
    name = path.rpartition("/")[2]
    length = len(name.encode(errors="surrogateescape"))  # bytes as on most disks, independent of the locale
    fits = length <= LONGEST_NAME and is_target(path)  # an extension from outside may make any name of the path
    return path if fits else f"{record.stem(number)}.bin"


def _described(output: Output, path: str, media: Media) -> Output:
    return Output(
        url=output.url,
        path=path,
        bytes=media.bytes,
        sha256=media.sha256,
        media_type=media.media_type,
        width=media.width,
        height=media.height,
        unchecked=media.unchecked,
    )
