"""Where a small step of disk work is done: where it stands on a quick disk, in a thread on a slow one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from runner.core import disk as disks
from runner.core.disk import CAUTION, MOST_LOST, THREAD_SECONDS, TWICE, Disk, DiskSpeed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def seen(judgement: DiskSpeed, seconds: float) -> int:
    """How many steps go to threads before the next is done where it stands, and takes so long."""
    waited = 0
    while not judgement.quick():
        waited += 1
    judgement.learn(seconds)
    return waited


def test_one_slow_step_is_anybodys_doing() -> None:
    """A machine that is busy for a moment does not make a quick disk slow."""
    judgement = DiskSpeed()
    assert [seen(judgement, seconds) for seconds in (0, 1, 0, 1, 0)] == [0] * 5


def test_a_disk_that_stays_slow_is_tried_ever_more_rarely() -> None:
    """Each try holds up everything else, so there are few of them; a disk that has become quick is found out."""
    judgement = DiskSpeed()
    waits = [seen(judgement, 1) for _ in range(4 * TWICE)]
    assert waits == [0, 0, CAUTION, 0, 2 * CAUTION, 0, 4 * CAUTION, 0]
    assert seen(judgement, 0) == 8 * CAUTION
    assert [seen(judgement, 0) for _ in range(3)] == [0, 0, 0]


def test_a_disk_is_slow_once_more_is_lost_than_a_few_threads_would_cost() -> None:
    """A little too slow each time is noticed as well, later."""
    judgement = DiskSpeed()
    steps = int(MOST_LOST / THREAD_SECONDS)
    assert [seen(judgement, 2.001 * THREAD_SECONDS) for _ in range(steps + 1)] == [0] * steps + [CAUTION]


def test_steps_that_wait_for_the_interpreter_now_and_then_stay_where_they_are() -> None:
    """Threads that are busy with other steps hold up each third one: more threads would only do so more."""
    judgement = DiskSpeed()
    assert [seen(judgement, seconds * THREAD_SECONDS) for seconds in (2, 0.3, 0.3) * 1000] == [0] * 3000


async def test_kinds_of_steps_are_judged_apart() -> None:
    """Looking may be quick where flushing is slow."""

    def flush() -> str:
        return threading.current_thread().name

    def look() -> str:
        return threading.current_thread().name

    with Disk(1, "disk") as disk:
        disk.judgement(flush).take_care()
        assert (await disk.small(flush), await disk.small(look)) == ("disk_0", threading.current_thread().name)


async def test_a_step_that_fails_is_judged_and_raises_the_same() -> None:
    """What the disk refuses reaches the caller, wherever the step was done."""

    def refuse() -> None:
        raise PermissionError("no")

    with Disk(1, "disk") as disk:
        for _ in range(2):
            with pytest.raises(PermissionError):
                await disk.small(refuse)
            disk.judgement(refuse).take_care()


def test_room_is_looked_for_now_and_then_and_what_is_written_meanwhile_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small files cost one look at the disk, and stop where the reserve begins; who is refused takes nothing."""
    rooms = [100, 100]
    monkeypatch.setattr(disks, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(disks, "room", lambda _: rooms.pop())
    with Disk(1, "disk") as disk:
        assert [disk.fits(str(tmp_path / "x"), length) for length in (100, 99, 60)] == [False, True, True]
        disk.wrote(60)
        assert [disk.fits(str(tmp_path / "x"), length) for length in (40, 39)] == [False, True]
        assert rooms == [100]
        monkeypatch.setattr(disks, "LOOK_SECONDS", 0.0)
        assert disk.fits(str(tmp_path / "x"), 99)
