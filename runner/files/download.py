"""Download of one output to a temporary file, with limits and checks. The token is never sent.

A broken long download is resumed if the storage proves that the rest belongs to the same file. A partial file is
deleted when the delivery ends: a later delivery never continues from bytes that were left unattended.
"""

from __future__ import annotations

import os
from asyncio import get_running_loop
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin

import aiofiles
import aiohttp
import msgspec
from aiohttp import hdrs
from anyio import CancelScope, sleep

from runner.core.disk import Disk, flush_file, in_thread, timed, write_all
from runner.core.errors import OutputError, RunnerError
from runner.core.http import AnswerTimeout, ConnectFailed, ConnectionBroken, TooLarge, response_of, send
from runner.core.media_formats import MAX_PIXELS
from runner.files.body import BLOCK, BodyReader, most_seconds
from runner.files.containers import SIGNATURE, BadMedia, TooManyPixels
from runner.files.encodings import decode_file, is_decodable
from runner.files.errors import write_errors
from runner.files.kinds import Expected
from runner.files.media import Media, inspect, inspect_bytes
from runner.files.picture_bounds import most_picture_bytes
from runner.files.resume import PartialFile
from runner.files.urls import RefusedUrl, UrlPolicy

T = TypeVar("T")

READ_TIMEOUT = AnswerTimeout(30.0, whole=False)
MAX_REDIRECTS = 5
SMALL = 1 << 16
"""Maximum bytes of a file that is checked in memory and written in one step."""
RESUME_BYTES = 64 * 1000 * 1000
"""Bytes received from which a broken download is resumed; a shorter one is restarted instead."""
PAUSES = (0.0, 1.0, 5.0, 15.0)
"""Seconds before each attempt to resume. The attempts start anew whenever ``RESUME_BYTES`` more were received."""


_INSIDE = "inside:"
"""Value in place of the address for files inside the response of the API."""


class StorageAnswer(RunnerError):
    """Response of the storage that is not the file."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the storage answers HTTP {status}")

    @property
    def expired(self) -> bool:
        """Return True if a fresh link from the API may help."""
        return self.status in (400, 401, 403, 404, 410)


async def fetch(
    client: aiohttp.ClientSession,
    url: str,
    target: str,
    *,
    allowed: UrlPolicy,
    max_bytes: int,
    disk: Disk,
    resume_bytes: int = RESUME_BYTES,
    max_pixels: int = MAX_PIXELS,
    any_kind: bool = False,
) -> Media:
    """Download ``url`` to ``target`` and return its media type, size and digest.

    A broken download is resumed if at least ``resume_bytes`` were received. A file of more than ``SMALL`` bytes is
    flushed; callers flush a small file before its final rename. With ``any_kind`` a file of an unknown format is
    accepted without checks, unless its address or type announces a known format.

    Raises ``RefusedUrl``, ``StorageAnswer``, ``BadMedia``, ``TooLarge``, ``ConnectFailed`` or ``ConnectionBroken``, and
    ``OutputError`` for a disk error. An incomplete file is deleted.
    """
    try:
        limits = _Limits(max_bytes, max_pixels, url if any_kind else None)
        download = _Download(client, url, target, allowed, limits, disk, resume_bytes)
        await download.complete()
        if download.small is not None:
            return download.small
        return await in_thread(disk, _finish, disk, target, limits, download.part)
    except BaseException:
        with suppress(OSError):
            Path(target).unlink(missing_ok=True)  # noqa: ASYNC240 - takes no time, and must not be cancelled
        raise


class _Limits(msgspec.Struct, frozen=True):
    """Limits of a file, and its address if any format is accepted."""

    max_bytes: int
    max_pixels: int
    address: str | None
    """Address of the file if any format is accepted; None: only known formats."""

    def expected(self, content_type: str) -> Expected | None:
        if self.address is None:
            return None
        return Expected(self.address, content_type, inside=self.address == _INSIDE)


class _Download:
    """Download of one file, in one or more responses."""

    def __init__(
        self,
        client: aiohttp.ClientSession,
        url: str,
        target: str,
        allowed: UrlPolicy,
        limits: _Limits,
        disk: Disk,
        resume_bytes: int,
    ) -> None:
        self._client = client
        self._url = url
        self._target = target
        self._allowed = allowed
        self._limits = limits
        self._disk = disk
        self._resume_bytes = resume_bytes
        self.part = PartialFile()
        self._now = get_running_loop().time
        self._begun = self._now()
        self.small: Media | None = None
        """Result for a file that was checked and written in one step; None: a longer file."""

    async def complete(self) -> None:
        """Receive the whole body. A broken connection is raised unless enough was received to resume."""
        pauses, counted = iter(PAUSES), 0
        while True:
            try:
                return await self._receive_rest()
            except (ConnectionBroken, ConnectFailed) as error:
                broken = error
            if self.part.written - counted >= self._resume_bytes:
                pauses, counted = iter(PAUSES), self.part.written
            late = self._now() - self._begun > most_seconds(self.part.written)
            pause = None if late else next(pauses, None)
            if pause is None or not self.part.headers or self.part.written < self._resume_bytes:
                raise broken
            await sleep(pause)

    async def _receive_rest(self) -> None:
        """Receive the rest of the body; all of it if the storage has another file or cannot resume."""
        with READ_TIMEOUT.map_errors():
            if self.part.headers:
                with response_of(await self._answer(self.part.headers)) as response:
                    if response.status == 200 or (response.status == 206 and self.part.continued_by(response.headers)):
                        return await self._receive(response)
                    response.close()
                self.part.forget()
            with response_of(await self._answer({})) as response:
                if response.status != 200:
                    raise StorageAnswer(response.status)
                return await self._receive(response)

    async def _receive(self, response: aiohttp.ClientResponse) -> None:
        if response.status == 200:
            self.part.forget()
        self.small = await _receive(response, self._target, self.part, self._limits, self._disk, self._begun)

    async def _answer(self, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """Return the response after redirects; each redirect is checked like the first address."""
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            self._allowed.check(url)
            response = await send(self._client, "GET", url, READ_TIMEOUT, headers=headers)
            location = response.headers.get(hdrs.LOCATION)
            if not (response.status in (301, 302, 303, 307, 308) and location):
                return response
            response.release()
            url = _joined(url, location)
        raise ConnectionBroken(f"more than {MAX_REDIRECTS} redirects")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise RefusedUrl(f"the storage redirects to {location[:200]!r}, which is no address: {error}") from None


async def _receive(
    response: aiohttp.ClientResponse, target: str, part: PartialFile, limits: _Limits, disk: Disk, begun: float
) -> Media | None:
    """Append the body to the bytes that ``part`` counts: a short body in one step, a long body block by block.

    Returns the result for a small file, which is checked in the same step; None for a longer file.
    """
    _check_announced(response, part.written, limits.max_bytes)
    max_bytes = part.max_bytes or limits.max_bytes
    body = BodyReader(response, READ_TIMEOUT, there=part.written, max_bytes=max_bytes, begun=begun)
    block = await body.block()
    if not part.written:
        part.content_type = response.headers.get(hdrs.CONTENT_TYPE, "")
        part.encoding = _encoding(response)
    if not part.written and len(block) <= SMALL and not part.encoding:
        return await _keep_small(target, block, disk, limits, part.content_type)
    if response.status == 200:
        part.start(response.headers, response.content_length)
    if not part.written and not part.encoding:
        part.max_bytes = body.max_bytes = min(most_picture_bytes(block) or max_bytes, max_bytes)
        body.check(response.content_length or 0)
    await disk.small(_check_room, disk, target, response.content_length or len(block))
    if not part.written and len(block) < BLOCK:
        disk.wrote(len(block))
        await _by_disk(in_thread(disk, Path(target).write_bytes, block), target)
        return None
    file = await _by_disk(aiofiles.open(target, "ab" if part.written else "wb", executor=disk), target)
    try:
        while block:
            await disk.small(_check_room, disk, target, len(block))
            disk.wrote(len(block))
            part.written += await _by_disk(file.write(block), target)
            block = await body.block()
    finally:
        await _by_disk(file.close(), target)
    return None


async def _keep_small(target: str, body: bytes, disk: Disk, limits: _Limits, content_type: str) -> Media:
    """Check and write a small file: a PNG in the calling thread if that is fast, otherwise in a thread.

    A PNG is read in small steps. Other formats are decoded, and a few of their bytes may expand to a large picture. A
    cancelled caller waits for the thread.
    """
    judgement = disk.judgement(_keep)
    if body.startswith(SIGNATURE) and judgement.quick():
        return timed(judgement, _keep, disk, target, body, limits, content_type)
    return await _by_disk(in_thread(disk, _keep, disk, target, body, limits, content_type), target)


async def _by_disk(step: Awaitable[T], target: str) -> T:
    """Wait for a short disk operation even if cancelled: its thread cannot be stopped. Raises ``OutputError``."""
    with write_errors(target), CancelScope(shield=True):
        done = await step
    return done  # noqa: RET504 - the scope may suppress an exception, and then nothing is returned


def _check_announced(response: aiohttp.ClientResponse, there: int, max_bytes: int) -> None:
    length = there + (response.content_length or 0)
    if length > max_bytes:
        raise TooLarge(f"the file has {length:,} bytes; max_file allows {max_bytes:,}")


def _encoding(response: aiohttp.ClientResponse) -> str:
    """Return the content encoding that the storage declares; empty: none."""
    told = ",".join(response.headers.getall(hdrs.CONTENT_ENCODING, [])).lower()
    return "" if told.strip() in ("", "identity") else told.strip()


def _check_room(disk: Disk, target: str, length: int) -> None:
    """Raise ``OutputError`` if ``length`` more bytes would use the reserve of the disk."""
    with write_errors(target):
        fits = disk.fits(target, length)
    if not fits:
        raise OutputError(
            f"{Path(target).parent}: the disk is nearly full; make room, and run again. The picture is paid."
        )


def _keep(disk: Disk, target: str, body: bytes, limits: _Limits, content_type: str) -> Media:
    """Check and write a small file. Raises ``BadMedia`` or ``OutputError``."""
    _check_room(disk, target, len(body))
    disk.wrote(len(body))
    media = inspect_bytes(body, limits.expected(content_type), max_pixels=limits.max_pixels)
    with write_errors(target):
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            write_all(handle, body)
        finally:
            os.close(handle)
    return media


def _finish(disk: Disk, target: str, limits: _Limits, part: PartialFile) -> Media:
    """Check and flush the whole file. Raises ``BadMedia``, ``TooLarge`` or ``OutputError``."""
    expected = limits.expected(part.content_type)
    with write_errors(target):
        if part.encoding:
            decode_file(target, part.encoding, limits.max_bytes, lambda length: _check_room(disk, target, length))
        try:
            media = inspect(Path(target), expected, max_pixels=limits.max_pixels)
        except TooManyPixels:
            raise
        except BadMedia as error:
            raise _as_encoded(part.encoding, str(error)) from None
        if media.unchecked and part.encoding and not is_decodable(part.encoding):
            raise _as_encoded(part.encoding, "and nothing shows that it is a whole file")
        flush_file(target)
    return media


def _as_encoded(encoding: str, why: str) -> BadMedia:
    """Return the error ``why``, with the encoding of the file if it explains the error."""
    if not encoding or is_decodable(encoding):
        return BadMedia(why)
    return BadMedia(f"the file comes {encoding[:40]!r}-encoded, which was not asked for: {why}")


async def keep_bytes(
    body: bytes, target: str, content_type: str, *, max_bytes: int, disk: Disk, max_pixels: int = MAX_PIXELS
) -> Media:
    """Check a file from inside a response, write it to ``target`` and flush it.

    Raises ``TooLarge``, ``BadMedia`` or ``OutputError``.
    """
    if len(body) > max_bytes:
        raise TooLarge(f"the file has {len(body):,} bytes; max_file allows {max_bytes:,}")
    limits = _Limits(max_bytes, max_pixels, _INSIDE)
    try:
        media = await _by_disk(in_thread(disk, _keep, disk, target, body, limits, content_type), target)
        await _by_disk(in_thread(disk, flush_file, target), target)
    except BaseException:
        with suppress(OSError):
            Path(target).unlink(missing_ok=True)  # noqa: ASYNC240 - takes no time, and must not be cancelled
        raise
    return media
