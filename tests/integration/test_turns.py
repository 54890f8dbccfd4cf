"""Passes over a long batch leave the event loop its turns, so that signals are heard, and a signal cuts them short."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from benchmarks.material import FLAT, write_done, write_feed
from support.harness import Service, plain

import runner
from runner.core.models import Record, State
from runner.engine.redo import CHUNK
from runner.engine.stop import Stop
from runner.ledger import log
from runner.ledger.records import decode, encode
from runner.manifest import JobStore, parse_budget

pytestmark = pytest.mark.anyio

JOBS = 1500
AT_ONCE = 600
"""Lines and jobs that the loop may pass in one turn: a few milliseconds' worth."""


@pytest.fixture
async def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How many lines of results manifests and jobs the loop itself passed, by its turns."""
    loop: Any = asyncio.get_running_loop()
    seen: Counter[int] = Counter()

    def count(number: int) -> None:
        if threading.current_thread() is threading.main_thread():
            seen[loop.turns] += number

    def counted(call: Callable[..., Any], size: Callable[..., int]) -> Callable[..., Any]:
        def look(*args: Any) -> Any:
            count(size(*args))
            return call(*args)

        return look

    def passed(spool: JobStore) -> Iterator[bytes]:
        for line in lines(spool):
            count(1)
            yield line

    lines = JobStore._lines
    monkeypatch.setattr(JobStore, "_lines", passed)
    monkeypatch.setattr(os, "pread", counted(os.pread, lambda *_: 1))
    monkeypatch.setattr(log, "decode", counted(log.decode, lambda _: 1))
    return seen


def as_it_is(records: list[Record]) -> list[Record]:
    return records


def superseded(records: list[Record]) -> list[Record]:
    return records * 3


def renamed(records: list[Record]) -> list[Record]:
    """The last job had another id."""
    return [*records[:-1], msgspec.structs.replace(records[-1], id="old")]


def all_redone(records: list[Record]) -> list[Record]:
    """A redo whose jobs are all at an end, and that is not closed yet."""
    *rest, last = (msgspec.structs.replace(record, redo=1, redone=1) for record in records)
    return [*rest, msgspec.structs.replace(last, redo_chosen=True)]


def all_but_chosen(records: list[Record]) -> list[Record]:
    """A redo whose choice a crash cut short after the last mark."""
    return [*records[:-1], msgspec.structs.replace(records[-1], redo=1)]


@pytest.mark.parametrize(
    ("history", "options"),
    [
        (as_it_is, {}),
        pytest.param(as_it_is, {"redo": runner.RedoMode.ALL}, marks=pytest.mark.slow),
        pytest.param(as_it_is, {"redo": runner.RedoMode.MISSING}, marks=pytest.mark.slow),
        pytest.param(superseded, {}, marks=pytest.mark.slow),
        pytest.param(renamed, {}, marks=pytest.mark.slow),
        pytest.param(all_redone, {}, marks=pytest.mark.slow),
        pytest.param(all_but_chosen, {}, marks=pytest.mark.slow),
        pytest.param(all_but_chosen, {"redo": runner.RedoMode.ALL}, marks=pytest.mark.slow),
    ],
)
async def test_no_pass_over_a_long_batch_holds_up_the_loop(service, looks, history, options):
    """Opening, deciding, a redo's beginning and end, the budget, the sum, compacting: a signal is heard meanwhile."""
    write_feed(service.folder, JOBS)
    path = service.folder / f"{FLAT}.yaml"
    write_done(path, service.emulator.base)
    results = service.folder / FLAT / "results.jsonl"
    records = history([decode(line) for line in results.read_bytes().splitlines()])
    results.write_bytes(b"".join(map(encode, records)))
    manifest = runner.load(path)
    looks.clear()
    report = await service.run(manifest, budget=parse_budget("0.001"), **options)
    assert report.total == JOBS
    assert service.submissions == 0
    assert max(looks.values()) <= AT_ONCE


class Tripwire(list[Record]):
    """Interrupts the run at a record of some kind."""

    def __init__(self, stop: Stop, at: Callable[[Record], bool]) -> None:
        super().__init__()
        self._stop = stop
        self._at = at

    def append(self, record: Record) -> None:
        super().append(record)
        if self._at(record):
            self._stop.interrupt("interrupted by SIGINT")


async def redo(service: Service, manifest: runner.Manifest, at: Callable[[Record], bool]) -> runner.Report:
    """A redo of everything that is interrupted at a record."""
    stop = Stop()
    service.seen = Tripwire(stop, at)
    return await service.run(manifest, redo=runner.RedoMode.ALL, stop=stop)


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "chunk"), [(60, 20), pytest.param(300, CHUNK, marks=pytest.mark.slow)])
async def test_a_signal_ends_a_redos_choice_and_the_same_command_goes_on_with_it(service, monkeypatch, jobs, chunk):
    """It stops among the marks: nothing is bought, it is said, and the next time each job is bought exactly once."""
    monkeypatch.setattr(runner.engine.redo, "CHUNK", chunk)
    manifest = service.manifest(*({"id": f"j{n}", "prompt": f"p {n}"} for n in range(jobs)), concurrency=64)
    await service.run(manifest)
    report = await redo(service, manifest, lambda record: record.redo == 1)
    marked = {record.id for record in service.lines() if record.redo}
    assert 0 < len(marked) < jobs
    assert not any(record.redo_chosen for record in service.lines())
    assert (report.exit_code, report.left, report.total) == (75, jobs, jobs)
    assert "same command" in " ".join(report.notes)
    assert service.submissions == jobs
    service.seen = []
    report = await service.run(manifest, redo=runner.RedoMode.ALL)
    assert (report.done, report.exit_code, service.submissions) == (jobs, 0, 2 * jobs)


async def test_a_signal_before_the_first_mark_begins_no_redo(service):
    """Interrupted while it was being looked at: nothing is marked, and nobody has to finish it."""
    await service.run(jobs=2)
    stop = Stop()
    stop.interrupt("interrupted by SIGINT")
    report = await service.run(jobs=2, redo=runner.RedoMode.ALL, stop=stop)
    assert (report.exit_code, report.left, report.total, report.notes) == (75, 2, 2, ())
    assert not any(record.redo for record in service.lines())
    assert (await service.run(jobs=2)).exit_code == 0
    assert service.submissions == 2


async def test_a_redo_that_is_through_when_a_signal_comes_is_closed(service):
    """All was brought home: the redo has ended, and the same command begins a new one."""
    manifest = service.manifest(*plain(2), concurrency=1)
    await service.run(manifest)
    report = await redo(service, manifest, lambda record: record.redone == 1 and record.state is State.DONE)
    assert (report.done, report.exit_code, report.notes) == (2, 0, ())
    assert any(record.redo_closed for record in service.lines())
    assert (await service.run(manifest, redo=runner.RedoMode.ALL)).done == 2
    assert service.submissions == 6
