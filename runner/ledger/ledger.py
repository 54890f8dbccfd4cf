"""Ledger of a running program: one writer of the results log that commits in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgspec

from runner.core.aio import outlast
from runner.core.errors import LedgerError
from runner.core.models import OWED, Record, State
from runner.core.shards import Shard, shard_of
from runner.ledger.file_owners import FileOwners, owns_path
from runner.ledger.index import RedoState
from runner.ledger.layout import look, path_of
from runner.ledger.locking import HeldParts
from runner.ledger.log import Log
from runner.ledger.readers import EMPTY, LedgerReader, LedgerWriter, ShardedReader
from runner.ledger.records import line_of

RECORDS_PER_TURN = 64
"""Number of records read after which other tasks of the event loop get a turn."""


class _Group(msgspec.Struct):
    """Records that are written to the disk together, and the result."""

    records: list[Record] = msgspec.field(default_factory=list)
    lines: list[bytes] = msgspec.field(default_factory=list)
    ended: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    error: BaseException | None = None


class Ledger:
    """Purchases in one results log, and the only way to add to them."""

    def __init__(self, log: Log, notify: Callable[[Record], None] = lambda _: None) -> None:
        """Open the ledger on ``log``; ``notify`` is called with each record once it is durable."""
        self.path = log.path
        self._log = log
        self._notify = notify
        self._waiting = _Group()
        self._writing = False
        self._looking = asyncio.Lock()
        self._all_found = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")

    @property
    def older(self) -> Path | None:
        """Return the path of the log if it is an older copy than the last run left."""
        return self.path if self._log.older else None

    async def append(self, record: Record, *, quiet: bool = False) -> Record:
        """Make ``record`` durable and return it. Raises ``LedgerError`` if that is not certain.

        ``quiet``: the record is no change of state, and is not passed on to ``notify``.

        Records that arrive during a write are written together afterwards. A cancelled caller still waits for the disk,
        so that no record is left half done.
        """
        line = line_of(record)
        if record.state is State.SUBMITTING and self._log.full:
            raise LedgerError(f"{self._log.path}: the disk is full; nothing more is bought")
        group = self._waiting
        group.lines.append(line)
        group.records.append(record)
        if not self._writing:
            self._write_waiting()
        cancelled = await outlast(group.ended)
        if group.error is not None:
            raise group.error
        if not quiet:
            self._notify(record)
        if cancelled is not None:
            raise cancelled
        return record

    def _write_waiting(self) -> None:
        """Hand all waiting records to the disk. A cancelled caller does not cancel the write."""
        group, self._waiting = self._waiting, _Group()
        try:
            buys = any(record.state is State.SUBMITTING for record in group.records)
            write = partial(self._log.write, group.lines, buys=buys)
            work = asyncio.get_running_loop().run_in_executor(self._thread, write)
        except RuntimeError as error:
            group.error = LedgerError(f"{self._log.path}: closed; nothing more is bought")
            group.error.__cause__ = error
            group.ended.set()
            return
        self._writing = True
        work.add_done_callback(partial(self._written, group))

    def _written(self, group: _Group, work: asyncio.Future[None]) -> None:
        """Index the records now on the disk, before anything else is written, and wake the waiting callers."""
        self._writing = False
        group.error = work.exception()
        if group.error is None:
            for record, line in zip(group.records, group.lines, strict=True):
                self._log.count(record, len(line))
        group.ended.set()
        if self._waiting.records:
            self._write_waiting()

    def purchases(self, job_id: str, api: str) -> list[Record]:
        """Return the purchases of a job at one API, oldest first."""
        return [record for record in self.history(job_id) if record.api == api]

    def history(self, job_id: str, but: int = 0) -> list[Record]:
        """Return the purchases of a job at any API, oldest first; all ``but`` the one of that number."""
        spans = self._log.index.purchases(job_id, but)
        return [record for span in spans if (record := self._log.read(span)).id == job_id]

    def with_request(self, request_id: str) -> Record | None:
        """Return the purchase that has this request, at any API."""
        span = self._log.index.with_request(request_id)
        record = self._log.read(span) if span is not None else None
        return record if record is not None and record.request_id == request_id else None

    def owed(self, api: str) -> list[Record]:
        """Return the purchases at this API that are paid, not downloaded yet, oldest first."""
        return [record for record in self._log.unsettled(*OWED) if record.api == api]

    def interrupted(self) -> list[Record]:
        """Return intents without an answer: the process ended before."""
        return self._log.unsettled(State.SUBMITTING)

    def redo(self, api: str) -> RedoState:
        """Return the state of the newest redo at this API."""
        found = self._log.index.redo
        names = {api, *self._log.aliases} if api == self._log.api else {api}
        return max((found[name] for name in names if name in found), default=RedoState())

    def apis(self) -> set[str]:
        """Return the addresses of the API at which anything was bought, by the names that records show."""
        return {self._log.api if name in self._log.aliases else name for name in self._log.index.apis}

    def same_apis(self) -> set[tuple[str, ...]]:
        """Return each group of addresses that the user has declared to be one service."""
        return self._log.index.same_apis

    def treat_as(self, api: str, aliases: frozenset[str]) -> None:
        """Show purchases made at ``aliases`` as made at ``api`` from now on."""
        self._log.api, self._log.aliases = api, aliases

    def latest(self) -> Iterator[Record]:
        """Yield the last record of every purchase, in order of first appearance."""
        return self._log.latest()

    def claim(self, ids: Iterable[str]) -> None:
        """Mark these jobs as jobs of the manifest. The mark lasts while this ledger is open: one manifest each."""
        self._log.index.claim(ids)

    def unclaimed(self) -> Iterator[Record]:
        """Yield the last record of every purchase of jobs that were not claimed, and of purchases added since.

        Only these records are read.
        """
        return self._log.unclaimed()

    async def owner_of(self, path: str) -> Record | None:
        """Return the purchase whose file is at ``path`` or is being moved away from there; of several the newest."""
        async with self._looking:
            if not self._all_found:
                await self._find_all()
        number = self._log.file_owners.at(path) if self._log.file_owners is not None else None
        record = None if number is None else self._log.purchase(number)
        return record if record is not None and owns_path(record, path) else None

    async def _find_all(self) -> None:
        """Index the files of all purchases, with turns for other tasks. Purchases written meanwhile are included."""
        owners = self._log.file_owners = FileOwners()
        for number in self._log.index.numbers():
            record = self._log.purchase(number)
            if record is not None and not any(self._is_newer(other, record) for other in owners.where(record)):
                owners.note(record, number)
            if number % RECORDS_PER_TURN == 0:
                await asyncio.sleep(0)
        self._all_found = True

    def _is_newer(self, number: int, record: Record) -> bool:
        other = self._log.purchase(number)
        return other is not None and other.at > record.at

    def compact(self) -> None:
        """Rewrite the file if most lines are superseded. Must be the last operation on the ledger."""
        self._log.compact()

    def close(self) -> None:
        self._thread.shutdown()
        self._log.close()


class ShardedLedger(ShardedReader):
    """Ledgers of all shards; each record is written to the log of its own shard, if that shard is held."""

    def __init__(self, root: Path, ledgers: dict[int, Ledger]) -> None:
        super().__init__(len(ledgers), ledgers)
        self.path = root
        self._ledgers = ledgers

    async def append(self, record: Record, *, quiet: bool = False) -> Record:
        return await self._ledgers[shard_of(record.id, len(self._ledgers))].append(record, quiet=quiet)

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
    """Open the parts held by ``acquire`` or ``acquire_all``; ``notify`` is called with each record once it is durable.

    If all shards of a folder are held together, all are read. Raises ``LedgerError`` or ``LedgerCorrupt``.
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
    """Open the folder ``root`` for reading, all shards together. Takes no lock and changes nothing."""
    with ExitStack() as stack:
        while True:
            layout = look(root)
            found = stack.enter_context(_opened(root, layout.shards))
            if look(root).shards == layout.shards:  # otherwise a split or merge happened during the opening
                break
        yield found


@contextmanager
def open_others(root: Path, shard: Shard | None) -> Iterator[LedgerReader]:
    """Open the logs of the other shards for reading; an empty reader if there are none."""
    if shard is None or shard.of == 1:
        yield EMPTY
        return
    with _opened(root, tuple(other for other in shard.all if other != shard)) as found:
        yield found


@contextmanager
def _opened(root: Path, shards: tuple[Shard, ...]) -> Iterator[LedgerReader]:
    """Open the ledgers of ``shards`` as one reader, or the folder's ledger if there are no shards."""
    with ExitStack() as stack:
        ledgers = {}
        for shard in shards or (None,):
            ledger = Ledger(Log(path_of(root, shard), writable=False))
            stack.callback(ledger.close)
            ledgers[shard.index if shard else 1] = ledger
        yield ShardedReader(shards[0].of, ledgers) if shards else ledgers[1]
