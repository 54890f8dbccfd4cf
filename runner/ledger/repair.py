"""Repair of a damaged results log, without the risk of buying twice (``verify --repair-log``).

Every readable line is kept, in order. For a damaged line the worst case is assumed. The purchase that the line names is
held as ``unknown``, unless a later line of the purchase can be read. If the request id can be read, the purchase is
owed again. Damage that names no purchase holds every job that a run would buy next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from filecmp import cmp
from itertools import count
from pathlib import Path

import msgspec

from runner.core import disk
from runner.core.errors import LedgerError
from runner.core.models import OPEN, OWED, Fault, Record, State
from runner.ledger.last_line import forget_last_line
from runner.ledger.records import decode, encode, follow
from runner.ledger.salvage import Fragment, Gap, Key, LogScan, scan_log

BLOCK = 1 << 20
"""Bytes of a log that are copied at once."""

_GOES_ON = OPEN | OWED | {State.RELEASED}
"""States after which a job's next line is about the same purchase. After others, or a ``rebuy``, a new one begins."""
_MAY_BE_BOUGHT = frozenset({State.SUBMITTING, State.RELEASED, State.FAILED, State.CANCELLED})
_NEEDED = frozenset({"api", "model", "inputs", "fingerprint", "file"})
"""Fields of a purchase that are needed to poll its request for a job."""


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch that was cut out: its line, from 1, and the fields that can still be read."""

    line: int
    fragment: Fragment
    named: bool
    """True if the damaged purchase is known."""


class SalvageResult(msgspec.Struct, frozen=True, kw_only=True):
    """Content of a log after the repair."""

    lines: Sequence[bytes]
    """Readable lines, without newlines. They are in memory once: for a million jobs they take a gigabyte."""
    damages: tuple[Damage, ...]
    """Empty if the log was in order. A torn tail does not count, since every opening of the log cuts it off."""
    held: tuple[Record, ...]
    """Lines that were added: ``unknown``, or ``submitted`` if a request could be read."""

    @property
    def kept(self) -> int:
        """Return the number of readable lines."""
        return len(self.lines)

    def written(self) -> Iterator[bytes]:
        """Yield the lines of the new file."""
        for line in self.lines:
            yield line + b"\n"
        yield from map(encode, self.held)

    @property
    def hidden(self) -> bool:
        """Tell whether purchases may be lost of which no line can be read."""
        return any(not damage.named for damage in self.damages)


def salvage(lines: Iterable[bytes], *, at: str, api: str) -> SalvageResult:
    """Repair the ``lines`` of a log, as a file yields them. The result always loads; only reading ``lines`` may raise.

    ``at`` is the time of the added lines. ``api`` is the API that a run would buy from, as records name it. It is used
    for damage that names no API, in a log without readable lines.
    """
    scan = scan_log(lines)
    held_jobs = _HeldJobs(scan, at=at, api=api)
    damages = tuple(map(held_jobs.hold, scan.gaps))
    if not all(damage.named for damage in damages):
        held_jobs.hold_all()
    return SalvageResult(lines=scan.lines, damages=damages, held=tuple(held_jobs.held.values()))


class _HeldJobs:
    """Choice of the jobs to hold, from all that can be read."""

    def __init__(self, scan: LogScan, *, at: str, api: str) -> None:
        self.held: dict[Key, Record] = {}
        self._scan = scan
        self._at = at
        self._api = api
        self._requests = scan.requests()
        self._apis = {decode(line).api for line in scan.lines} if scan.gaps else set()

    def hold(self, gap: Gap) -> Damage:
        """Hold the purchase that one gap may hide."""
        fragment = self._identify(gap.fragment)
        named = fragment is not None and self._hold(fragment, gap.before)
        return Damage(line=gap.line, fragment=fragment or gap.fragment, named=named)

    def hold_all(self) -> None:
        """Hold every job that a run may buy: damage that names no purchase may be about any of them."""
        taken = {job_id for job_id, _ in self.held}
        for job_id in self._scan.numbers:
            newest = self._scan.newest(job_id)
            if newest is None or job_id in taken or not (newest.state in _MAY_BE_BOUGHT or _bought_anew(newest)):
                continue
            following = newest if _goes_on(newest) else _next_purchase(newest, newest.purchase + 1)
            self._keep(self._unknown(following, None))

    def _identify(self, fragment: Fragment) -> Fragment | None:
        """Return ``fragment`` with the purchase that it is about; None: its fields cannot be trusted."""
        key = self._requests.get(fragment.request_id or "")
        if key is not None:
            return msgspec.structs.replace(fragment, id=key[0], purchase=key[1])
        renamed = any(fragment.id == old for old, _ in self._scan.renamed)
        if fragment.id is None or not (fragment.recurs or renamed or fragment.id in self._scan.numbers):
            return None
        newest = self._scan.newest(fragment.id)
        said = fragment.fields.get("file")
        if newest is not None and not fragment.recurs and said not in (None, newest.file):
            return None  # the rest of another job's id may equal this id
        likely = fragment.purchase is None or newest is None or fragment.purchase <= newest.purchase + 1
        return fragment if likely else msgspec.structs.replace(fragment, purchase=None)

    def _hold(self, fragment: Fragment, before: int) -> bool:
        """Hold the purchase of ``fragment`` unless nothing of it is hidden; False: no record can be made."""
        assert fragment.id is not None
        if self._scan.goes_on(fragment.id, fragment.purchase, before):
            return True
        key = fragment.id, fragment.purchase or self._next(fragment.id)
        if key in self._scan.last:
            return self._hold_known(key, fragment)
        if self._taken_over_again(key, fragment):
            return True
        sibling = self._scan.newest(fragment.id)
        if sibling is not None:
            return self._keep(self._unknown(_next_purchase(sibling, key[1]), fragment.request_id))
        return self._hold_unseen(key, fragment, before)

    def _next(self, job_id: str) -> int:
        """Return the purchase number of the next line of a job."""
        newest = self._scan.newest(job_id)
        if newest is None:
            return 1
        return newest.purchase if _goes_on(newest) else newest.purchase + 1

    def _hold_known(self, key: Key, fragment: Fragment) -> bool:
        """Hold a purchase with readable lines; an owed or done one stays so, because no later line reverts that.

        If the user said that the job is to be bought anew, the damage may hide the purchase after this one.
        """
        record, newest = self._scan.record(key), self._scan.newest(key[0])
        if record == newest and _bought_anew(record):
            self._keep(self._unknown(_next_purchase(record, key[1] + 1), None))
        if record.owed or record.state is State.DONE:
            return True
        if fragment.request_id is not None:
            return self._keep(self._owed(record, fragment))
        return record.state is State.UNKNOWN or self._keep(self._unknown(record, None))

    def _taken_over_again(self, key: Key, fragment: Fragment) -> bool:
        """Tell whether this was the first line of a renamed job, and the line under the old id is readable.

        The next run then writes that first line again.
        """
        old = fragment.fields.get("renamed_from")
        return (old, key[1]) in self._scan.last and not self._scan.numbers.get(key[0])

    def _hold_unseen(self, key: Key, fragment: Fragment, before: int) -> bool:
        """Hold a purchase of a job without readable lines, made of the fields in the fragment."""
        fields = {"model": "", "inputs": {}, "fingerprint": "", "file": key[0], "manifest": "-", **fragment.fields}
        known = {name: fields[name] for name in ("model", "inputs", "fingerprint", "file", "manifest")}
        api = self._api_of(fragment, before)
        record = Record(id=key[0], purchase=key[1], state=State.UNKNOWN, at=self._at, api=api, **known)
        if (
            fragment.request_id is not None
            and fragment.fields.keys() >= _NEEDED
            and self._keep(self._owed(record, fragment))
        ):
            return True
        unknown = self._unknown(record, fragment.request_id)
        return self._keep(unknown) or self._keep(msgspec.structs.replace(unknown, inputs={}, file="held"))

    def _api_of(self, fragment: Fragment, before: int) -> str:
        """Return the API that a fragment names if other lines name it too, else that of the line before or after."""
        said = fragment.fields.get("api")
        if isinstance(said, str) and (said in self._apis or not self._apis):
            return said
        return decode(self._scan.lines[max(0, before - 1)]).api if self._scan.lines else self._api

    def _owed(self, record: Record, fragment: Fragment) -> Record:
        since = fragment.fields.get("submitted_at") or record.at
        return follow(record, State.SUBMITTED, self._at, request_id=fragment.request_id, submitted_at=since)

    def _unknown(self, record: Record, request_id: str | None) -> Record:
        text = "the results log was damaged, and the outcome of this purchase may have been in the damaged part"
        fault = Fault(code="damaged", message=text + (f"; request {request_id} was readable" if request_id else ""))
        return follow(record, State.UNKNOWN, self._at, error=fault, request_id=request_id or record.request_id)

    def _keep(self, record: Record) -> bool:
        """Add a line if it is a valid record; an owed purchase replaces one that is only unknown."""
        try:
            decode(encode(record))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return False
        key = record.id, record.purchase
        if key not in self.held or record.owed:
            self.held[key] = record
        return True


def _bought_anew(record: Record) -> bool:
    """Tell whether the user asked to buy again: by skipping an open question, or by a redo not bought yet."""
    return record.rebuy or record.redo > record.redone


def _goes_on(record: Record) -> bool:
    """Tell whether the next line of a job would be about this purchase, and not begin another."""
    return record.state in _GOES_ON and not record.rebuy


def _next_purchase(record: Record, purchase: int) -> Record:
    """Return another purchase of the same job, of which nothing else is known; it fulfils a pending redo."""
    return Record(
        id=record.id,
        purchase=purchase,
        state=State.UNKNOWN,
        at=record.at,
        api=record.api,
        manifest=record.manifest,
        model=record.model,
        inputs=record.inputs,
        fingerprint=record.fingerprint,
        file=record.file,
        numbered_at=record.numbered_at,
        reserved_usd=record.reserved_usd,
        priced_seconds=record.priced_seconds,
        day=record.day,
        trusted_hosts=record.trusted_hosts,
        max_file_bytes=record.max_file_bytes,
        max_pixels=record.max_pixels,
        strict_size=record.strict_size,
        redone=record.redo,
    )


class RepairedLog(msgspec.Struct, frozen=True, kw_only=True):
    """Log that was checked, and repaired if needed."""

    path: Path
    found: SalvageResult
    copy: Path | None
    """Path of a copy of the damaged log; None: nothing was damaged."""


def repair(path: Path, *, at: str, api: str) -> RepairedLog:
    """Repair the log at ``path``, keeping a copy of the damaged one.

    Needs the lock. Atomic, and may be repeated. Raises ``LedgerError`` if the disk refuses; the log is then unchanged.
    """
    try:
        with path.open("rb") as file:
            found = salvage(file, at=at, api=api)
        if not found.damages:
            forget_last_line(path)
            return RepairedLog(path=path, found=found, copy=None)
        copy = _copy_for(path)
        mode = path.stat().st_mode & 0o777
        if not copy.exists():
            with path.open("rb") as file:
                disk.replace_file(copy, iter(lambda: file.read(BLOCK), b""), mode)
            copy.chmod(mode)
        forget_last_line(path)
        disk.replace_file(path, found.written(), mode)
        with suppress(OSError):
            path.chmod(mode)
    except OSError as error:
        raise LedgerError(
            f"{path}: cannot be repaired: {error.strerror}. The log is unchanged and nothing was bought. Free disk "
            "space or change the permissions, and repeat."
        ) from error
    return RepairedLog(path=path, found=found, copy=copy)


def _copy_for(path: Path) -> Path:
    """Return a free path for a copy of the damaged log, or the copy that an interrupted repair made."""
    names = (path.parent / ".runner" / f"{path.name}.damaged-{number}" for number in count(1))
    return next(name for name in names if not name.exists() or cmp(name, path, shallow=False))
