"""Bodies with files: built of the bytes that were checked, and bounded in memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.local_inputs import MAX_BODY, parse_reference, reference
from runner.core.models import Job, Json
from runner.engine.steps.attachments import Attachments, BodyPlan, ByteRoom, FileChanged

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def job_of(folder: Path, inputs: dict[str, Json], *names: str) -> Job:
    """A job whose inputs ``names`` are files of ``folder``, as they are now."""

    def refer(item: str) -> str:
        return reference(item, hashlib.sha256((folder / item).read_bytes()).hexdigest()) if "://" not in item else item

    local = {}
    for name in names:
        items = inputs[name] if isinstance(inputs[name], list) else [inputs[name]]
        local[name] = tuple("image/png" for item in items if "://" not in item)
        referred = [refer(item) for item in items]
        inputs = {**inputs, name: referred if isinstance(inputs[name], list) else referred[0]}
    return Job(id="a", model="m", inputs=inputs, fingerprint="f", file="a", local=local)


@given(st.binary(max_size=70), st.binary(min_size=1, max_size=9), st.text(max_size=20))
def test_a_body_is_the_inputs_with_each_file_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, one: bytes, two: bytes, prompt: str
) -> None:
    """Whatever the lengths and texts: the service reads the same inputs, with the whole files in base64."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "one").write_bytes(one)
    (folder / "two").write_bytes(two)
    inputs = {"prompt": prompt, "image": "one", "images": ["two", "https://a.b/c.png", "one"]}
    plan = BodyPlan(job_of(folder, inputs, "image", "images"), folder)
    with closing(plan.build()) as built:
        body = bytes(built)
    assert len(body) == plan.length

    def uri(data: bytes) -> str:
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"

    assert json.loads(body) == {
        "prompt": prompt,
        "image": uri(one),
        "images": [uri(two), "https://a.b/c.png", uri(one)],
    }


def test_a_long_file_is_encoded_without_gaps(tmp_path: Path) -> None:
    """Of many steps, whose ends leave no padding inside."""
    data = bytes(range(256)) * 3333 + b"x"
    (tmp_path / "long").write_bytes(data)
    with closing(BodyPlan(job_of(tmp_path, {"image": "long"}, "image"), tmp_path).build()) as built:
        found = json.loads(bytes(built))
    assert base64.b64decode(found["image"].partition(",")[2], validate=True) == data


CHANGES = {
    "other bytes": lambda path: path.write_bytes(b"other"),
    "shorter": lambda path: path.write_bytes(b"fir"),
    "longer": lambda path: path.write_bytes(b"first and more"),
    "gone": lambda path: path.unlink(),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "much larger": lambda path: os.truncate(path, MAX_BODY),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changed_since_the_check_is_not_sent(tmp_path: Path, change) -> None:
    """Nobody has seen what is in it now, and the record would name another hash."""
    path = tmp_path / "first.png"
    path.write_bytes(b"first")
    job = job_of(tmp_path, {"image": "first.png"}, "image")
    change(path)
    with pytest.raises(FileChanged, match=r"first\.png"):
        BodyPlan(job, tmp_path).build()


@pytest.mark.parametrize("change", [CHANGES["other bytes"], CHANGES["longer"], CHANGES["shorter"], CHANGES["gone"]])
def test_a_file_that_changes_while_it_waits_is_not_sent(tmp_path: Path, change) -> None:
    """Its length was looked up before the wait for room; what is read afterwards is compared."""
    path = tmp_path / "first.png"
    path.write_bytes(b"first")
    plan = BodyPlan(job_of(tmp_path, {"image": "first.png"}, "image"), tmp_path)
    change(path)
    with pytest.raises(FileChanged, match=r"first\.png"):
        plan.build()


def test_references_read_back() -> None:
    """Whatever a path looks like."""
    for path in ("photos/mug.jpg", "a#sha256=b", "file:x", "a b\n.png"):
        assert parse_reference(reference(path, "0" * 64)) == (path, "0" * 64)


async def test_bodies_together_stay_below_the_bound(tmp_path: Path) -> None:
    """Of fifty jobs at once, no more are held than fit, each is let in, and all of the room is free at the end."""
    (tmp_path / "mug.png").write_bytes(bytes(3000))
    job = job_of(tmp_path, {"image": "mug.png"}, "image")
    with ThreadPoolExecutor(4) as threads:
        attachments, held, done = Attachments(tmp_path, threads, most=10_000), 0, 0

        async def send() -> None:
            nonlocal held, done
            async with attachments.body_of(job) as body:
                held += len(body)
                assert held <= attachments.room.held <= 10_000
                await asyncio.sleep(0)
                held -= len(body)
                done += 1

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(send)
    assert (done, attachments.room.held) == (50, 0)


async def test_room_is_given_in_the_order_of_asking() -> None:
    """A large body is not passed by small ones for ever, and one larger than all room goes alone."""
    room, order = ByteRoom(10), []

    async def take(name: str, size: int) -> None:
        await room.acquire(size)
        order.append(name)

    await take("first", 8)
    async with anyio.create_task_group() as group:
        for name, size in (("giant", 30), ("small", 1), ("other", 2)):
            group.start_soon(take, name, size)
            await asyncio.sleep(0)
        assert order == ["first"]
        room.release(8)
        await asyncio.sleep(0.01)
        assert (order, room.held) == (["first", "giant"], 30)
        room.release(30)
    assert order == ["first", "giant", "small", "other"]


async def test_a_cancelled_wait_leaves_no_room_taken() -> None:
    """Before its turn, and in the moment in which its turn comes."""
    room = ByteRoom(10)
    await room.acquire(10)
    waiting = [asyncio.ensure_future(room.acquire(6)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    room.release(10)  # the second has its turn
    waiting[1].cancel()  # and is cancelled before it goes on
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    assert room.held == 0


async def test_a_failure_frees_the_room(tmp_path: Path) -> None:
    """The room of a job that is not bought, or whose submission is cancelled, is that of others again."""
    (tmp_path / "mug.png").write_bytes(b"mug")
    job = job_of(tmp_path, {"image": "mug.png"}, "image")
    with ThreadPoolExecutor(1) as threads:
        attachments = Attachments(tmp_path, threads)
        with pytest.raises(ZeroDivisionError):
            async with attachments.body_of(job):
                raise ZeroDivisionError
        (tmp_path / "mug.png").write_bytes(b"jug")
        with pytest.raises(FileChanged):
            async with attachments.body_of(job):
                pass
    assert attachments.room.held == 0
