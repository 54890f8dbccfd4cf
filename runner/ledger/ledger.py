"""The ledger that a running program holds: one writer that commits in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

import msgspec

from runner.core.aio import outlast
from runner.core.disk import DiskSpeed
from runner.core.errors import LedgerError
from runner.core.models import OWED, Record, State
from runner.core.shards import Shard, shard_of
from runner.ledger.file_owners import FileOwners, owns_path
from runner.ledger.index import RedoState
from runner.ledger.layout import look, path_of
from runner.ledger.locking import HeldParts
from runner.ledger.log import Log, line_of
from runner.ledger.readers import EMPTY, LedgerReader, LedgerWriter, ShardedReader

TURNS = 64
"""After so many lines written at once the event loop has its turn."""


class _Group(msgspec.Struct):
    """Records that go to the disk together, and how that ended."""

    records: list[Record] = msgspec.field(default_factory=list)
    lines: list[bytes] = msgspec.field(default_factory=list)
    ended: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    error: BaseException | None = None


class Ledger:
    """What is known of every purchase, and the one way to add to it."""

    def __init__(self, log: Log, notify: Callable[[Record], None] = lambda _: None) -> None:
        """``notify`` is told of each record once it is durable."""
        self.path = log.path
        self._log = log
        self._notify = notify
        self._waiting = _Group()
        self._writing = False
        self._at_once = 0
        self._looking = asyncio.Lock()
        self._all_found = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self.judgement = DiskSpeed()
        """Whether a line is written where it stands."""

    @property
    def older(self) -> Path | None:
        """The log, if it is an older copy than the last run left."""
        return self.path if self._log.older else None

    async def append(self, record: Record) -> Record:
        """Make ``record`` durable and return it. Raises ``LedgerError`` if that is not certain.

        A quick disk writes it at once. On another, what comes while it is busy is written together afterwards. A
        cancelled caller still waits for the disk, so that a record is never half of what happened.
        """
        line = line_of(record)
        if record.state is State.SUBMITTING and self._log.full:
            raise LedgerError(f"{self._log.path}: the disk has no more room; nothing more is bought")
        if not self._writing and self.judgement.quick():
            begun = perf_counter()
            self._log.write([line], buys=record.state is State.SUBMITTING)
            self.judgement.learn(perf_counter() - begun)
            self._log.count(record, len(line))
            self._notify(record)
            self._at_once += 1
            if self._at_once % TURNS == 0:
                await asyncio.sleep(0)  # signals want to be heard, too
            return record
        return await self._append_together(record, line)

    async def _append_together(self, record: Record, line: bytes) -> Record:
        batch = self._waiting
        batch.lines.append(line)
        batch.records.append(record)
        if not self._writing:
            self._write_waiting()
        cancelled = await outlast(batch.ended)
        if batch.error is not None:
            raise batch.error
        self._notify(record)
        if cancelled is not None:
            raise cancelled
        return record

    def _write_waiting(self) -> None:
        """Hand all that waits to the disk. Nobody's cancellation reaches it there."""
        batch, self._waiting = self._waiting, _Group()
        try:
            buys = any(record.state is State.SUBMITTING for record in batch.records)
            write = partial(self._log.write, batch.lines, buys=buys)
            work = asyncio.get_running_loop().run_in_executor(self._thread, write)
        except RuntimeError as error:
            batch.error = LedgerError(f"{self._log.path}: closed; nothing more is bought")
            batch.error.__cause__ = error
            batch.ended.set()
            return
        self._writing = True
        work.add_done_callback(partial(self._written, batch))

    def _written(self, batch: _Group, work: asyncio.Future[None]) -> None:
        """Index what is on the disk now, before anything else is written, and wake those who wait."""
        self._writing = False
        batch.error = work.exception()
        if batch.error is None:
            for record, line in zip(batch.records, batch.lines, strict=True):
                self._log.count(record, len(line))
        batch.ended.set()
        if self._waiting.records:
            self._write_waiting()

    def purchases(self, job_id: str, api: str) -> list[Record]:
        """The purchases of a job at one API, oldest first."""
        return [record for record in self.history(job_id) if record.api == api]

    def history(self, job_id: str, but: int = 0) -> list[Record]:
        """The purchases of a job at any API, oldest first; all ``but`` the one of that number."""
        spans = self._log.index.purchases(job_id, but)
        return [record for span in spans if (record := self._log.read(span)).id == job_id]

    def with_request(self, request_id: str) -> Record | None:
        """The purchase that has this request, at any API."""
        records = map(self._log.read, self._log.index.with_request(request_id))
        return next((record for record in records if record.request_id == request_id), None)

    def owed(self, api: str) -> list[Record]:
        """What was bought at this API and is not delivered, oldest first."""
        return [record for record in self._log.unsettled(*OWED) if record.api == api]

    def interrupted(self) -> list[Record]:
        """Intents that no answer followed before a process died."""
        return self._log.unsettled(State.SUBMITTING)

    def redo(self, api: str) -> RedoState:
        """How far the newest redo at this API is."""
        found = self._log.index.redo
        names = {api, *self._log.aliases} if api == self._log.api else {api}
        return max((found[name] for name in names if name in found), default=RedoState())

    def apis(self) -> set[str]:
        """Addresses of the API at which anything was bought, by the names that records show."""
        return {self._log.api if name in self._log.aliases else name for name in self._log.index.apis}

    def same_apis(self) -> set[tuple[str, ...]]:
        """Addresses that the user has said to be one service, as often as that was said."""
        return self._log.index.same_apis

    def treat_as(self, api: str, aliases: frozenset[str]) -> None:
        """Show purchases made at ``aliases`` as made at ``api`` from now on."""
        self._log.api, self._log.aliases = api, aliases

    def latest(self) -> Iterator[Record]:
        """Every purchase as it stands, in order of first appearance."""
        return self._log.latest()

    def claim(self, ids: Iterable[str]) -> None:
        """Say that the manifest has these jobs. It is remembered as long as this ledger is open: one manifest each."""
        self._log.index.claim(ids)

    def unclaimed(self) -> Iterator[Record]:
        """Every purchase as it stands of jobs that were not claimed, and what came after that; no other is read."""
        return self._log.unclaimed()

    async def owner_of(self, path: str) -> Record | None:
        """The purchase whose file stands at ``path`` or is just being moved away from there; of several the newest."""
        async with self._looking:
            if not self._all_found:
                await self._find_all()
        number = self._log.standing.at(path) if self._log.standing is not None else None
        record = None if number is None else self._log.purchase(number)
        return record if record is not None and owns_path(record, path) else None

    async def _find_all(self) -> None:
        """Look through all purchases, with a turn for others now and then; what they write meanwhile is noted, too."""
        standing = self._log.standing = FileOwners()
        for number in self._log.index.numbers():
            record = self._log.purchase(number)
            if record is not None and not any(self._is_newer(other, record) for other in standing.where(record)):
                standing.note(record, number)
            if number % TURNS == 0:
                await asyncio.sleep(0)
        self._all_found = True

    def _is_newer(self, number: int, record: Record) -> bool:
        other = self._log.purchase(number)
        return other is not None and other.at > record.at

    def compact(self) -> None:
        """Rewrite the file if most of it is superseded. The last thing that is done with a ledger."""
        self._log.compact()

    def close(self) -> None:
        self._thread.shutdown()
        self._log.close()


class ShardedLedger(ShardedReader):
    """The ledgers of all shards; each record is written to its own, if that shard is held."""

    def __init__(self, root: Path, ledgers: dict[int, Ledger]) -> None:
        super().__init__(len(ledgers), ledgers)
        self.path = root
        self._ledgers = ledgers

    async def append(self, record: Record) -> Record:
        return await self._ledgers[shard_of(record.id, len(self._ledgers))].append(record)

    async def owner_of(self, path: str) -> Record | None:
        found = [await ledger.owner_of(path) for ledger in self._ledgers.values()]
        return max(filter(None, found), key=lambda record: record.at, default=None)

    def compact(self) -> None:
        for ledger in self._ledgers.values():
            ledger.compact()

    def close(self) -> None:
        for ledger in self._ledgers.values():
            ledger.close()


def open_ledger(root: Path, held: HeldParts, notify: Callable[[Record], None] = lambda _: None) -> LedgerWriter:
    """Open what ``acquire`` or ``acquire_all`` holds. ``notify`` is told of each record once it is durable.

    Of a folder whose shards are held to work through, all are read. Raises ``LedgerError`` or ``LedgerCorrupt``.
    """
    if held.alone:
        return Ledger(Log(path_of(root, held.parts[0]), writable=True), notify)
    ledgers: dict[int, Ledger] = {}
    try:
        for shard in held.shards:
            ledgers[shard.index] = Ledger(Log(path_of(root, shard), writable=shard in held.parts), notify)
    except BaseException:
        for ledger in ledgers.values():
            ledger.close()
        raise
    return ShardedLedger(root, ledgers)


@contextmanager
def open_reader(root: Path) -> Iterator[LedgerReader]:
    """Read what is known of the folder ``root``, all shards together. Takes no lock and changes nothing."""
    with ExitStack() as stack:
        while True:
            layout = look(root)
            found = stack.enter_context(_opened(root, layout.shards))
            if look(root).shards == layout.shards:  # else it was split or merged while they were opened
                break
        yield found


@contextmanager
def open_others(root: Path, shard: Shard | None) -> Iterator[LedgerReader]:
    """Read what the other shards know; nothing where there are none."""
    if shard is None or shard.of == 1:
        yield EMPTY
        return
    with _opened(root, tuple(other for other in shard.all if other != shard)) as found:
        yield found


@contextmanager
def _opened(root: Path, shards: tuple[Shard, ...]) -> Iterator[LedgerReader]:
    """The ledgers of ``shards`` as one; the whole folder's where there are none."""
    with ExitStack() as stack:
        ledgers = {}
        for shard in shards or (None,):
            ledger = Ledger(Log(path_of(root, shard), writable=False))
            stack.callback(ledger.close)
            ledgers[shard.index if shard else 1] = ledger
        yield ShardedReader(shards[0].of, ledgers) if shards else ledgers[1]
