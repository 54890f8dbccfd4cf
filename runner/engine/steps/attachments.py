"""Files of this machine in submissions: the body of a request, read and built when its turn comes.

The bytes that are sent are those whose SHA-256 was checked: a file is read once, hashed and encoded on the way. All
bodies together are bounded, whatever the number of requests in flight.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import stat
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, closing
from mmap import mmap
from pathlib import Path

import msgspec
from anyio import Event

from runner.core.disk import in_thread
from runner.core.errors import RunnerError
from runner.core.local_inputs import MAX_BODY, is_reference, parse_reference, uri_head
from runner.core.models import Job, Json

MAX_HELD_BYTES = 256 << 20
"""Maximum bytes of all bodies with files that are held at once."""
_STEP = 3 << 16
"""Bytes that are read and encoded at a time, a multiple of 3: the pieces join without padding."""

Body = dict[str, Json] | mmap
"""Inputs to send: as they are, or encoded with the files in them. The memory of encoded ones returns to the system when
they are closed; the allocator would keep about as much again for later."""


class FileChanged(RunnerError):
    """A file is not what it was when the manifest was checked. Nothing was sent."""


class ByteRoom:
    """Room for a number of bytes, given out in the order of asking. More than all of it is given alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0
        self._waiting: deque[tuple[int, Event]] = deque()

    async def acquire(self, size: int) -> None:
        """Wait until ``size`` bytes fit."""
        if not self._waiting and self._fits(size):
            self.held += size
            return
        turn = size, Event()
        self._waiting.append(turn)
        try:
            await turn[1].wait()
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._admit()
            else:  # cancelled just after its turn came
                self.release(size)
            raise

    def release(self, size: int) -> None:
        self.held -= size
        self._admit()

    def _fits(self, size: int) -> bool:
        return self.held == 0 or self.held + size <= self._most

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, event = self._waiting.popleft()
            self.held += size
            event.set()


class Attachments:
    """Builder of the bodies of submissions. Files are read in ``threads``; their paths start at ``folder``."""

    def __init__(self, folder: Path, threads: Executor, most: int | None = None) -> None:
        """Hold at most ``most`` bytes; None: ``MAX_HELD_BYTES``."""
        self._folder = folder
        self._threads = threads
        self.room = ByteRoom(MAX_HELD_BYTES if most is None else most)

    @asynccontextmanager
    async def body_of(self, job: Job) -> AsyncIterator[Body]:
        """Yield what is to be sent for ``job``, and free its memory at the end.

        Waits for room before anything is read. Raises ``FileChanged`` before the first purchase step.
        """
        if not job.local:
            yield job.inputs
            return
        plan = await in_thread(self._threads, BodyPlan, job, self._folder)
        await self.room.acquire(plan.length)
        try:
            with closing(await in_thread(self._threads, plan.build)) as body:
                yield body
        finally:
            self.room.release(plan.length)


class _Attached(msgspec.Struct, frozen=True):
    """One file in a body."""

    path: str
    sha256: str
    head: bytes
    size: int


class BodyPlan:
    """Parts of the body of one submission, and its length, before any file is read."""

    def __init__(self, job: Job, folder: Path) -> None:
        """Look up the lengths of the files. Raises ``FileChanged``."""
        self._folder = folder
        self._files: list[_Attached] = []
        mark = f"file {secrets.token_hex(16)}"
        inputs = {**job.inputs, **{name: self._marked(job, name, mark) for name in job.local}}
        self._texts = msgspec.json.encode(inputs).split(mark.encode())
        self.length = sum(map(len, self._texts)) + sum(len(file.head) + 4 * -(-file.size // 3) for file in self._files)
        if self.length > MAX_BODY:  # a body of the files as they were checked is not so long
            raise FileChanged(f"{self._files[0].path} is larger than when it was checked")

    def _marked(self, job: Job, name: str, mark: str) -> Json:
        value, media_types = job.inputs[name], iter(job.local[name])

        def place(item: Json) -> Json:
            if not is_reference(item):
                return item
            path, sha256 = parse_reference(item)
            self._files.append(_Attached(path, sha256, uri_head(next(media_types)).encode(), self._size(path)))
            return mark

        return [place(item) for item in value] if isinstance(value, list) else place(value)

    def _size(self, path: str) -> int:
        try:
            status = (self._folder / path).stat()
        except OSError as error:
            raise FileChanged(f"{path} cannot be read any more: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise FileChanged(f"{path} is no file any more")
        return status.st_size

    def build(self) -> mmap:
        """Return the encoded inputs, with the bytes of the files in them. Raises ``FileChanged``."""
        body = mmap(-1, self.length)
        try:
            for text, file in zip(self._texts, [*self._files, None], strict=True):
                body.write(text)
                if file is not None:
                    body.write(file.head)
                    self._write_file(body, file)
        except BaseException:
            body.close()
            raise
        return body

    def _write_file(self, body: mmap, attached: _Attached) -> None:
        """Write the bytes of one file into ``body``, in base64."""
        digest, left = hashlib.sha256(), attached.size
        try:
            with (self._folder / attached.path).open("rb") as file:
                while left and (piece := file.read(min(_STEP, left))):
                    digest.update(piece)
                    body.write(base64.b64encode(piece))
                    left -= len(piece)
                changed = left or file.read(1)
        except OSError as error:
            raise FileChanged(f"{attached.path} cannot be read any more: {error.strerror}") from None
        if changed or digest.hexdigest() != attached.sha256:
            raise FileChanged(f"{attached.path} has changed since it was checked")
