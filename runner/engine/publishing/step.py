"""Making of the missing and stale copies of one job: examine, make, record, rename.

A copy is recorded before its rename, with the hash of the earlier copy that it replaces. After a crash between the
two, the file at its path is therefore known as ours, whichever of the two it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Container
from concurrent.futures import Executor
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec

from runner.core.copies import FORMATS, CopyFile
from runner.core.disk import in_thread
from runner.core.errors import OutputError, RunnerError
from runner.core.media_formats import MAX_PIXELS
from runner.core.models import Job, Output, Record, State
from runner.core.name_sets import NameSet
from runner.engine.publishing.wanted import WantedCopy, find_made, wanted
from runner.files.copy_placement import flush_folders, is_in_place, keep, place, replaced_hash
from runner.files.output_folder import Folder
from runner.files.pictures import MAX_DECODED
from runner.ledger import LedgerWriter
from runner.planning.rules import in_force

RECORDS_PER_TURN = 64


class Made(msgspec.Struct, frozen=True):
    """New copy with its temporary file."""

    want: WantedCopy
    copy: CopyFile
    temporary: Path


class PublishResult(msgspec.Struct):
    """Number of copies made of one job, and the reasons why others could not be made."""

    made: int = 0
    failed: dict[str, str] = msgspec.field(default_factory=dict)
    """Reasons by path."""

    def fail(self, want: WantedCopy, why: object) -> None:
        self.failed[want.path] = str(why)


class PublishStep:
    """Step that makes the copies and sidecars of one job after another."""

    def __init__(self, ledger: LedgerWriter, folder: Folder, makers: Executor, disk: Executor) -> None:
        """Create the step. ``makers`` decode and encode; ``disk`` waits for the disk meanwhile."""
        self._ledger = ledger
        self._folder = folder
        self._makers = makers
        self._disk = disk
        self._recorded: NameSet | None = None
        """Paths and hashes of all copies that records named when a foreign file was first met; None: not read yet."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Locks by job id: the copies of two purchases of one job are made one after the other."""

    async def make(self, job: Job) -> PublishResult:
        """Make what is missing or stale of ``job``. Problems of single files are in the result.

        Raises ``OutputError`` for a disk error, ``LedgerError`` if the results log cannot be written.
        """
        async with self._locks.setdefault(job.id, asyncio.Lock()):
            return await self._make_all(job)

    async def _make_all(self, job: Job) -> PublishResult:
        record = in_force(self._ledger.history(job.id))
        result = PublishResult()
        if record is None or record.state is not State.DONE:
            return result
        made, dropped = await in_thread(self._makers, self._make_stale, job, record, result)
        claimed = await self._claim(record, made, result)
        if not (claimed or dropped) or not await self._record(record, claimed, dropped):
            claimed = []
        await in_thread(self._disk, self._place, made, claimed, result)
        return result

    def is_stale(self, job: Job) -> bool:
        """Tell whether anything of ``job`` is missing or stale. Reads the ledger: nothing else may use it."""
        record = in_force(self._ledger.history(job.id))
        return record is not None and record.state is State.DONE and any(self._examine(job, record))

    def _examine(self, job: Job, record: Record) -> tuple[list[WantedCopy], set[str]]:
        """Return what is missing or stale, and the paths of copies that are not wanted any more and gone."""
        wants = list(wanted(job, record))
        stale = [w for w in wants if (made := find_made(record, w)) is None or not is_in_place(self._folder, made)]
        unwanted = {copy.path for copy in record.copies} - {want.path for want in wants}
        return stale, {path for path in unwanted if not os.path.lexists(self._folder.root / path)}

    def _make_stale(self, job: Job, record: Record, result: PublishResult) -> tuple[list[Made], set[str]]:
        """Make what is missing or stale under temporary names; also return the paths to forget."""
        stale, dropped = self._examine(job, record)
        made: list[Made] = []
        for number in dict.fromkeys(want.number for want in stale):
            made += self._make(record, [want for want in stale if want.number == number], result)
        return made, dropped

    def _make(self, record: Record, stale: list[WantedCopy], result: PublishResult) -> list[Made]:
        """Make the files of one output under temporary names."""
        output = stale[0].output
        sidecars = [want for want in stale if want.recipe is None]
        made = [self._keep(want, want.content, "application/json") for want in sidecars]
        pictures = [want for want in stale if want.recipe is not None]
        if not pictures:
            return made
        original, why = self._read(output)
        if original is None:
            for want in pictures:
                result.fail(want, why)
            return made
        from runner.files.copies import CopyBytes, make_copies  # noqa: PLC0415 - loads Pillow; most runs need none

        prompt = record.inputs.get("prompt")
        copies = make_copies(
            original,
            [want.recipe for want in pictures if want.recipe is not None],
            prompt=prompt if isinstance(prompt, str) else "",
            model=record.model,
            max_pixels=record.max_pixels or MAX_PIXELS,
        )
        for want, copy in zip(pictures, copies, strict=True):
            if isinstance(copy, CopyBytes):
                kind = FORMATS[want.recipe.format].media_type if want.recipe is not None else ""
                made.append(self._keep(want, copy.data, kind, copy.width, copy.height))
            else:
                result.fail(want, copy)
        return made

    def _read(self, output: Output) -> tuple[bytes | None, str]:
        """Return the bytes of an original, or None and the reason why there are none to make copies of."""
        if (output.bytes or 0) > MAX_DECODED:
            return None, f"the original has {output.bytes:,} bytes, too many to make copies of"
        try:
            data = self._folder.path(output.path or "").read_bytes()
        except OSError as error:
            return None, f"the original {output.path} cannot be read: {error.strerror}"
        if hashlib.sha256(data).hexdigest() != output.sha256:
            return None, f"the original {output.path} was changed; `runner verify --repair` brings it back"
        return data, ""

    def _keep(
        self, want: WantedCopy, data: bytes, media_type: str, width: int | None = None, height: int | None = None
    ) -> Made:
        temporary, sha256 = keep(self._folder, data)
        copy = CopyFile(
            path=want.path,
            bytes=len(data),
            sha256=sha256,
            recipe=want.digest,
            of=want.output.sha256 or "",
            media_type=media_type,
            width=width,
            height=height,
        )
        return Made(want, copy, temporary)

    async def _claim(self, record: Record, made: list[Made], result: PublishResult) -> list[Made]:
        """Return what may be put in place: where nothing is, or an earlier copy of ours."""
        own = {
            f"{sha256} {copy.path}"
            for other in self._ledger.history(record.id)
            for copy in other.copies
            for sha256 in (copy.sha256, copy.replaces)
        }
        claimed, occupied = await in_thread(self._disk, self._claim_paths, made, own)
        # With its suffix, the name of a further output may be that of another job's copy.
        doubtful = [one for one in occupied if one.want.number == 1]
        if doubtful:
            recorded = await self._all_recorded()
            more, still = await in_thread(self._disk, self._claim_paths, doubtful, recorded)
            claimed += more
            occupied = {one: why for one, why in occupied.items() if one.want.number > 1} | still
        for one, why in occupied.items():
            result.fail(one.want, why)
        return claimed

    def _claim_paths(self, made: list[Made], ours: Container[str]) -> tuple[list[Made], dict[Made, RunnerError]]:
        """Flush new copies, and return those that may be put in place, and the reasons why others may not.

        ``ours`` has the earlier copies, as hash, space and path.
        """
        claimed, occupied = [], dict[Made, RunnerError]()
        for one in made:
            try:
                replaces = replaced_hash(self._folder, one.temporary, one.copy, ours)
            except OutputError:
                raise
            except RunnerError as why:
                occupied[one] = why
            else:
                claimed.append(msgspec.structs.replace(one, copy=msgspec.structs.replace(one.copy, replaces=replaces)))
        return claimed, occupied

    async def _all_recorded(self) -> NameSet:
        """Return the copies of all jobs, as of the first call: another job may have had this path before."""
        if self._recorded is None:
            self._recorded = NameSet()
            for number, record in enumerate(self._ledger.latest()):
                for copy in record.copies:
                    self._recorded.add(f"{copy.sha256} {copy.path}")
                if number % RECORDS_PER_TURN == 0:
                    await asyncio.sleep(0)
        return self._recorded

    async def _record(self, record: Record, made: list[Made], dropped: set[str]) -> bool:
        """Record the copies with the purchase as it now stands, without the ``dropped`` ones.

        Return False if the purchase is not in force any more.
        """
        now = in_force(self._ledger.history(record.id))
        if now is None or (now.purchase, now.state, now.outputs) != (record.purchase, State.DONE, record.outputs):
            return False
        paths = {one.copy.path for one in made} | dropped
        copies = (*(copy for copy in now.copies if copy.path not in paths), *(one.copy for one in made))
        await self._ledger.append(msgspec.structs.replace(now, copies=copies), quiet=True)
        return True

    def _place(self, made: list[Made], claimed: list[Made], result: PublishResult) -> None:
        """Give recorded copies their names, and delete the others."""
        for one in claimed:
            try:
                place(self._folder, one.temporary, one.copy)
            except OutputError:
                raise
            except RunnerError as why:
                result.fail(one.want, why)
            else:
                result.made += 1
        flush_folders(self._folder, [one.copy for one in claimed])
        for one in made:
            one.temporary.unlink(missing_ok=True)
