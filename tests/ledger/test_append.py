"""Appending: durable when it returns, in groups, whoever is cancelled, and never again after a failure."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from runner.core.errors import LedgerError
from runner.core.models import Record, State
from runner.ledger import Ledger, Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conftest import MakeRecord

pytestmark = pytest.mark.anyio


class Watched(Log):
    """A log that counts its flushes and can be held up or broken like a disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, writable=True)
        self.sizes: list[int] = []
        self.free = threading.Event()
        self.free.set()
        self.busy = threading.Event()
        self.broken = False

    def write(self, lines: Sequence[bytes], *, buys: bool = True) -> None:
        self.sizes.append(len(lines))
        self.busy.set()
        assert self.free.wait(30)
        if self.broken:
            raise LedgerError("the disk is gone")
        super().write(lines, buys=buys)


def on_disk(path: Path) -> list[str]:
    log = Log(path, writable=False)
    ids = [record.id for record in log.latest()]
    log.close()
    return ids


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


async def test_concurrent_appends_are_all_durable_in_order_and_share_flushes(path: Path, record: MakeRecord) -> None:
    """A thousand jobs that record at once on a slow disk cost a handful of flushes; what has returned is durable."""
    log = Watched(path)
    told: list[str] = []
    ledger = Ledger(log, lambda entry: told.append(entry.id))
    names = [f"job-{number}" for number in range(1000)]

    async def append(name: str) -> None:
        returned = await ledger.append(record(name))
        assert ledger.history(name) == [returned]

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(append, name)
    assert on_disk(path) == names
    assert sorted(told) == sorted(names)
    assert sum(log.sizes) == 1000
    assert len(log.sizes) <= 5
    ledger.close()


class Slow(Watched):
    """A disk that takes a few milliseconds for a flush."""

    def write(self, lines: Sequence[bytes], *, buys: bool = True) -> None:
        super().write(lines, buys=buys)
        time.sleep(0.003)


async def test_a_slow_disk_is_flushed_for_many_jobs_at_once(path: Path, record: MakeRecord) -> None:
    """Durability does not cost a flush a line where a flush takes time; each line is durable all the same."""
    log = Slow(path)
    ledger = Ledger(log)
    async with anyio.create_task_group() as group:
        for number in range(300):
            group.start_soon(ledger.append, record(f"job-{number}"))
    assert len(on_disk(path)) == sum(log.sizes) == 300
    assert len(log.sizes) <= 20
    ledger.close()


async def test_lines_of_one_job_stand_in_the_order_of_their_appends(path: Path, record: MakeRecord) -> None:
    """An append that returned comes before one that began afterwards, and the index reads the right bytes."""
    ledger = Ledger(Log(path, writable=True))

    async def live(name: str) -> None:
        for state in (State.SUBMITTING, State.SUBMITTED, State.GENERATED, State.DONE):
            await ledger.append(record(name, state))
            assert [entry.state for entry in ledger.history(name)] == [state]

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(live, f"job-{number}")
    ledger.close()
    log = Log(path, writable=False)
    assert [entry.state for entry in log.latest()] == [State.DONE] * 50
    log.close()


async def test_a_cancelled_append_ends_up_on_disk_before_it_returns(path: Path, record: MakeRecord) -> None:
    """A record is never half of what happened: the caller waits for the disk and is cancelled afterwards."""
    log = Watched(path)
    told: list[str] = []
    ledger = Ledger(log, lambda entry: told.append(entry.id))
    log.free.clear()
    returned: list[str] = []

    async def append(name: str) -> None:
        returned.append((await ledger.append(record(name))).id)
        await anyio.lowlevel.checkpoint()
        returned.append("not cancelled")

    async with anyio.create_task_group() as group:
        for name in ("writing", "waiting"):
            group.start_soon(append, name)
        await anyio.to_thread.run_sync(log.busy.wait)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0)
        log.free.set()
    assert returned == told == ["writing", "waiting"]
    assert on_disk(path) == ["writing", "waiting"]
    ledger.close()


async def test_an_append_cancelled_from_outside_anyio_keeps_the_ledger_right(path: Path, record: MakeRecord) -> None:
    """``Task.cancel`` passes every shield; still each line is written once, and what comes next is indexed right."""
    log = Watched(path)
    told: list[str] = []
    ledger = Ledger(log, lambda entry: told.append(entry.id))
    log.free.clear()
    tasks = [asyncio.create_task(ledger.append(record(name))) for name in ("writing", "waiting", "last")]
    await anyio.to_thread.run_sync(log.busy.wait)
    for task in tasks[:2]:
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    log.free.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError, asyncio.CancelledError, Record]
    await ledger.append(record("after"))
    names = ["writing", "waiting", "last", "after"]
    assert [ledger.history(name)[0].id for name in names] == names
    assert sorted(told) == sorted(names)
    assert count_lines(path) == len(names)
    ledger.close()


async def test_a_failed_write_fails_all_that_wait_and_all_that_come(path: Path, record: MakeRecord) -> None:
    """Nobody is told that a record is durable once the disk has refused."""
    log = Watched(path)
    told: list[str] = []
    ledger = Ledger(log, lambda entry: told.append(entry.id))
    await ledger.append(record("first"))
    log.broken = True
    names = ["second", "third", "fourth"]
    ended = await asyncio.gather(*[ledger.append(record(name)) for name in names], return_exceptions=True)
    assert [type(one) for one in ended] == [LedgerError] * 3
    assert told == on_disk(path) == ["first"]
    assert ledger.history("second") == []
    ledger.close()


async def test_one_record_that_cannot_be_written_fails_alone(path: Path, record: MakeRecord) -> None:
    """What waits for the same flush is not punished for it."""
    ledger = Ledger(Log(path, writable=True))
    odd = record("odd", inputs={"prompt": "\udcff"})
    ended = await asyncio.gather(
        *[ledger.append(one) for one in (record("a"), odd, record("b"))], return_exceptions=True
    )
    assert [type(one) for one in ended] == [Record, LedgerError, Record]
    assert "'odd' cannot be recorded" in str(ended[1])
    await ledger.append(record("c"))
    assert on_disk(path) == ["a", "b", "c"]
    ledger.close()


async def test_appending_to_a_closed_ledger_is_an_error(path: Path, record: MakeRecord) -> None:
    """It does not wait for ever, and does not pretend."""
    ledger = Ledger(Log(path, writable=True))
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.append(record())


async def test_appending_after_compaction_is_an_error(path: Path, record: MakeRecord) -> None:
    """The record would go to a file that is no longer there."""
    ledger = Ledger(Log(path, writable=True))
    for _ in range(3):
        await ledger.append(record())
    ledger.compact()
    with pytest.raises(LedgerError, match="rewritten"):
        await ledger.append(record())
    ledger.close()
    assert on_disk(path) == ["mug"]


@pytest.mark.parametrize("state", [State.SUBMITTING, State.SUBMITTED, State.DONE])
async def test_nothing_is_written_to_a_file_that_lost_its_name(path: Path, record: MakeRecord, state: State) -> None:
    """The next run would not find it."""
    ledger = Ledger(Log(path, writable=True))
    await ledger.append(record("mug", State.SUBMITTED))
    os.rename(path, path.with_name("elsewhere"))  # noqa: PTH104 - in a test that may wait
    with pytest.raises(LedgerError, match="moved, replaced or deleted while a run used it"):
        await ledger.append(record("tote", state))
    ledger.close()
