"""Download of one output to a temporary file, with limits and checks. The token is never sent.

A broken long download is resumed if the storage proves that the rest belongs to the same file. A partial file is
deleted when the delivery ends: a later delivery never continues from bytes that were left unattended.
"""

from __future__ import annotations

import os
from asyncio import get_running_loop
from collections.abc import Awaitable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import urljoin

import aiofiles
import aiohttp
import msgspec
from aiohttp import hdrs
from anyio import CancelScope, sleep

from runner.core.disk import flush_file, in_thread, room, write_all
from runner.core.errors import OutputError, RunnerError
from runner.core.http import AnswerTimeout, ConnectFailed, ConnectionBroken, TooLarge, response_of, send
from runner.core.media_formats import MAX_PIXELS
from runner.files.body import BLOCK, BodyReader, most_seconds
from runner.files.containers import BadMedia, TooManyPixels
from runner.files.encodings import decode_file, is_decodable
from runner.files.errors import write_errors
from runner.files.kinds import Expected
from runner.files.media import Media, inspect
from runner.files.picture_bounds import most_picture_bytes
from runner.files.resume import PartialFile
from runner.files.urls import RefusedUrl, UrlPolicy

T = TypeVar("T")

READ_TIMEOUT = AnswerTimeout(30.0, whole=False)
MAX_REDIRECTS = 5
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
    target: Path,
    *,
    allowed: UrlPolicy,
    max_bytes: int,
    disk: Executor,
    resume_bytes: int = RESUME_BYTES,
    max_pixels: int = MAX_PIXELS,
    any_kind: bool = False,
) -> Media:
    """Download ``url`` to ``target`` and return its media type, size and digest.

    The bytes are flushed to the disk. A broken download is resumed if at least ``resume_bytes`` were received. With
    ``any_kind`` a file of an unknown format is accepted without checks, unless its address or type announces a known
    format.

    Raises ``RefusedUrl``, ``StorageAnswer``, ``BadMedia``, ``TooLarge``, ``ConnectFailed`` or ``ConnectionBroken``, and
    ``OutputError`` for a disk error. An incomplete file is deleted.
    """
    limits = _Limits(max_bytes, max_pixels, url if any_kind else None)
    with _deleted_on_error(target):
        download = _Download(client, url, target, allowed, limits, disk, resume_bytes)
        await download.complete()
        finish = in_thread(disk, _finish, target, limits, download.part, download.body)
        return await (finish if download.body is None else _by_disk(finish, target))


@contextmanager
def _deleted_on_error(target: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            target.unlink(missing_ok=True)
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
        target: Path,
        allowed: UrlPolicy,
        limits: _Limits,
        disk: Executor,
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
        self.body: bytes | None = None
        """Whole file, if it is shorter than a block: it is written when it is checked. None: the file is written."""
        self._now = get_running_loop().time
        self._begun = self._now()

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
        """Append the body to the bytes that ``part`` counts, block by block; a whole body replaces them."""
        part, limits = self.part, self._limits
        if response.status == 200:
            part.forget()
        length = part.written + (response.content_length or 0)
        if length > limits.max_bytes:
            raise TooLarge(f"the file has {length:,} bytes; max_file allows {limits.max_bytes:,}")
        max_bytes = part.max_bytes or limits.max_bytes
        body = BodyReader(response, READ_TIMEOUT, there=part.written, max_bytes=max_bytes, begun=self._begun)
        block = await body.block()
        if response.status == 200:
            part.start(response.headers, response.content_length)
            part.encoding = _encoding(response)
            if not part.encoding:
                part.max_bytes = body.max_bytes = min(most_picture_bytes(block) or max_bytes, max_bytes)
                body.check(response.content_length or 0)
        if not part.written and len(block) < BLOCK:
            self.body = block
            return
        opening = aiofiles.open(self._target, "ab" if part.written else "wb", executor=self._disk)
        file = await _by_disk(opening, self._target)
        try:
            while block:
                announced = (part.length or 0) - part.written
                await in_thread(self._disk, _check_room, self._target, max(len(block), announced))
                part.written += await _by_disk(file.write(block), self._target)
                block = await body.block()
        finally:
            await _by_disk(file.close(), self._target)

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
        raise RefusedUrl(f"the storage redirects to {location[:200]!r}, which is not an address: {error}") from None


async def _by_disk(step: Awaitable[T], target: Path) -> T:
    """Wait for a short disk operation even if cancelled: its thread cannot be stopped. Raises ``OutputError``."""
    with write_errors(target), CancelScope(shield=True):
        done = await step
    return done  # noqa: RET504 - the scope may suppress an exception, and then nothing is returned


def _encoding(response: aiohttp.ClientResponse) -> str:
    """Return the content encoding that the storage declares; empty: none."""
    told = ",".join(response.headers.getall(hdrs.CONTENT_ENCODING, [])).lower()
    return "" if told.strip() in ("", "identity") else told.strip()


def _check_room(target: Path, length: int) -> None:
    """Raise ``OutputError`` if ``length`` more bytes would use the reserve of the disk."""
    with write_errors(target):
        fits = length < room(target.parent)
    if not fits:
        raise OutputError(
            f"{target.parent}: the disk is nearly full; free some space, and run again. The picture is paid."
        )


def _finish(target: Path, limits: _Limits, part: PartialFile, body: bytes | None = None) -> Media:
    """Check the whole file and make it durable at ``target``; ``body``: its bytes, if they are not written yet.

    Raises ``BadMedia``, ``TooLarge`` or ``OutputError``.
    """
    if body is not None:
        _check_room(target, len(body))
    with write_errors(target):
        if body is not None and not part.encoding:
            media = _inspect(BytesIO(body), limits, part)
            with target.open("wb", buffering=0) as file:
                write_all(file.fileno(), body)
                os.fsync(file.fileno())
            return media
        if body is not None:
            target.write_bytes(body)
        if part.encoding:
            decode_file(target, part.encoding, limits.max_bytes, lambda length: _check_room(target, length))
        with target.open("rb") as file:
            media = _inspect(file, limits, part)
        flush_file(target)
    return media


def _inspect(file: BinaryIO, limits: _Limits, part: PartialFile) -> Media:
    """Return the properties of a whole file; an error names the file's encoding if that explains the error."""
    try:
        media = inspect(file, limits.expected(part.content_type), max_pixels=limits.max_pixels)
    except TooManyPixels:
        raise
    except BadMedia as error:
        raise _as_encoded(part.encoding, str(error)) from None
    if media.unchecked and part.encoding and not is_decodable(part.encoding):
        raise _as_encoded(part.encoding, "and its completeness cannot be checked")
    return media


def _as_encoded(encoding: str, why: str) -> BadMedia:
    """Return the error ``why``, with the encoding of the file if it explains the error."""
    if not encoding or is_decodable(encoding):
        return BadMedia(why)
    return BadMedia(f"the file comes {encoding[:40]!r}-encoded, which was not requested: {why}")


async def keep_bytes(
    body: bytes, target: Path, content_type: str, *, max_bytes: int, disk: Executor, max_pixels: int = MAX_PIXELS
) -> Media:
    """Check a file from inside a response, write it to ``target`` and flush it.

    Raises ``TooLarge``, ``BadMedia`` or ``OutputError``.
    """
    if len(body) > max_bytes:
        raise TooLarge(f"the file has {len(body):,} bytes; max_file allows {max_bytes:,}")
    limits = _Limits(max_bytes, max_pixels, _INSIDE)
    with _deleted_on_error(target):
        finish = in_thread(disk, _finish, target, limits, PartialFile(content_type=content_type), body)
        return await _by_disk(finish, target)
