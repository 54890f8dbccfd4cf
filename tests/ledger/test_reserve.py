"""A disk or a quota that is full while requests are in flight: what was bought is recorded, nothing more is bought."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.core.errors import LedgerError
from runner.core.models import State
from runner.ledger import Ledger, Log
from runner.ledger.records import line_of

if TYPE_CHECKING:
    from conftest import MakeRecord

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a file system of its own"),
]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of two megabytes, in memory."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Leave no byte."""
    with (folder / "ballast").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 64, 1):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


async def test_answers_are_recorded_on_a_full_disk_and_intents_are_refused(small: Path, record: MakeRecord) -> None:
    """Room for what is in flight was taken before the first intent."""
    ledger = Ledger(Log(small / "results.jsonl", writable=True))
    prompt = {"inputs": {"prompt": "x" * 900}}
    names = [f"job-{number}" for number in range(16)]
    for name in names:
        await ledger.append(record(name, State.SUBMITTING, request_id=None, **prompt))
    fill(small)
    for name in names:
        await ledger.append(record(name, State.SUBMITTED, **prompt))
    with pytest.raises(LedgerError, match="the disk is full"):
        await ledger.append(record("late", State.SUBMITTING, request_id=None, **prompt))
    ledger.close()
    log = Log(small / "results.jsonl", writable=False)
    assert [(found.id, found.state) for found in log.latest()] == [(name, State.SUBMITTED) for name in names]
    log.close()


async def test_without_room_for_what_will_be_in_flight_nothing_is_bought(small: Path, record: MakeRecord) -> None:
    """The first intent is refused; what is owed from before can still be recorded where it fits."""
    ledger = Ledger(Log(small / "results.jsonl", writable=True))
    await ledger.append(record("owed", State.SUBMITTED))
    fill(small)
    with pytest.raises(LedgerError, match="no disk space is left to record purchases"):
        await ledger.append(record("new", State.SUBMITTING, request_id=None))
    (small / "ballast").unlink()
    await ledger.append(record("owed", State.GENERATED))
    ledger.close()


def test_the_reserve_is_gone_when_the_log_is_closed(small: Path, record: MakeRecord) -> None:
    """And a reader takes nobody's reserve away."""
    log = Log(small / "results.jsonl", writable=True)
    log.write([line_of(record("mug", State.SUBMITTING, request_id=None))])
    reserve = small / ".runner" / "results.jsonl.reserve"
    Log(small / "results.jsonl", writable=False).close()
    assert reserve.stat().st_size > 0
    log.close()
    assert not reserve.exists()
