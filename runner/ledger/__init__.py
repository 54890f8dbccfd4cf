"""The results manifest, the only state there is: ``<output>/results.jsonl``.

``Log`` is the file, ``Index`` knows where the last line of each purchase stands, ``run_lock`` keeps a second run out,
and ``Ledger`` is what the running program holds: one writer that commits in groups. An ``append`` that has returned is
on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from anyio import CancelScope, Lock

from runner.disk import in_thread
from runner.ledger.lock import Holder, read_holder, run_lock
from runner.ledger.log import Log
from runner.model import OWED, Record, State

__all__ = ["Holder", "Ledger", "Log", "read_holder", "run_lock"]


@dataclass(slots=True)
class _Batch:
    """Records that go to the disk together, and how that ended."""

    records: list[Record] = field(default_factory=list)
    written: bool = False
    error: Exception | None = None


class Ledger:
    """What is known of every purchase, and the one way to add to it."""

    def __init__(self, log: Log, notify: Callable[[Record], None] = lambda _: None) -> None:
        """``notify`` is told of each record once it is durable."""
        self._log = log
        self._notify = notify
        self._batch = _Batch()
        self._lock = Lock(fast_acquire=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")

    async def append(self, record: Record) -> Record:
        """Make ``record`` durable and return it. Raises ``LedgerError`` if that is not certain.

        Whoever gets the lock writes for all that wait. A cancelled caller still waits for the disk, so that a record
        is never half of what happened.
        """
        batch = self._batch
        batch.records.append(record)
        with CancelScope(shield=True):
            async with self._lock:
                if not batch.written:
                    await self._commit(batch)
        if batch.error is not None:
            raise batch.error
        self._notify(record)
        return record

    async def _commit(self, batch: _Batch) -> None:
        self._batch = _Batch()
        try:
            lengths = await in_thread(self._thread, self._log.write, batch.records)
            self._log.count(batch.records, lengths)
        except Exception as error:  # noqa: BLE001 - each of those who wait raises it
            batch.error = error
        batch.written = True

    def purchases(self, job_id: str, api: str) -> list[Record]:
        """The purchases of a job at one API, oldest first."""
        return [record for record in self.history(job_id) if record.api == api]

    def history(self, job_id: str) -> list[Record]:
        """The purchases of a job at any API, oldest first."""
        return [
            record
            for span in self._log.index.purchases(job_id)
            if (record := self._log.read(span)).id == job_id
        ]

    def owed(self, api: str) -> list[Record]:
        """What was bought at this API and is not delivered, oldest first."""
        return [record for record in self._log.unsettled(*OWED) if record.api == api]

    def interrupted(self) -> list[Record]:
        """Intents that no answer followed before a process died."""
        return self._log.unsettled(State.SUBMITTING)

    def latest(self) -> Iterator[Record]:
        """Every purchase as it stands, in order of first appearance."""
        return self._log.latest()

    def compact(self) -> None:
        """Rewrite the file if most of it is superseded. The last thing that is done with a ledger."""
        self._log.compact()

    def close(self) -> None:
        self._thread.shutdown()
        self._log.close()
