"""Long work beside the event loop: others have their turn meanwhile, and what must not be left is waited for."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import anyio
import pytest

from runner.core.aio import at_work, pull, to_its_end

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
"""Seconds that a thread waits for a loop which has its turn; one that is held up loses."""


async def test_the_loop_goes_on_while_the_last_disk_work_ends() -> None:
    """A file of gigabytes that is still hashed when a run ends keeps nobody from hearing a second signal."""
    heard = threading.Event()
    async with anyio.create_task_group() as group, at_work(ThreadPoolExecutor(1)) as disk:
        hashing = disk.submit(heard.wait, PATIENCE)
        group.start_soon(_set, heard)
    assert hashing.result() is True


async def _set(event: threading.Event) -> None:
    await asyncio.sleep(0)
    event.set()


async def test_disk_work_has_ended_when_its_threads_are_left_whatever_happens() -> None:
    """Nothing is written to a folder that another run may hold by then."""
    released, done = threading.Event(), threading.Event()

    def write() -> None:
        released.wait(PATIENCE)
        done.set()

    with anyio.CancelScope() as scope:
        async with at_work(ThreadPoolExecutor(1)) as disk:
            disk.submit(write)
            asyncio.get_running_loop().call_soon(released.set)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert done.is_set()


async def test_a_cancelled_caller_waits_for_what_must_come_to_its_end() -> None:
    """A cancellation, anyio's or one of asyncio's own, is obeyed once the thread is through, and not before."""
    released = threading.Event()
    done: list[str] = []

    def rewrite() -> None:
        released.wait(PATIENCE)
        done.append("rewritten")

    task = asyncio.create_task(to_its_end(rewrite))
    for step in range(6):
        await asyncio.sleep(0)
        if step == 2:
            task.cancel()
    assert (task.done(), done) == (False, [])
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["rewritten"]


async def test_what_a_thread_raises_reaches_the_caller() -> None:
    """What the disk refuses is no matter of where it was asked."""

    def refuse(name: str) -> None:
        raise PermissionError(name)

    with pytest.raises(PermissionError, match="results"):
        await to_its_end(refuse, name="results")


async def test_items_are_worked_out_off_the_loop_as_they_are_wanted() -> None:
    """A pass over a million jobs comes in pieces, each beside the loop, and none is made that nobody asked for."""
    made: list[str] = []
    items = ((made.append(threading.current_thread().name), number)[1] for number in count())
    assert [await pull(items, 3), await pull(items, 2)] == [[0, 1, 2], [3, 4]]
    assert len(made) == 5
    assert threading.current_thread().name not in made
    assert await pull(iter(()), 3) == []
