"""Photos of this machine as inputs: sent when their turn comes, told apart by their bytes, never bought unseen."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from mmap import mmap

import pytest
from PIL import Image
from support.harness import Service

from runner.api.outputs import is_input
from runner.core.models import Fault, State
from runner.emulator import InjectedFault
from runner.engine.steps import attachments, submit
from runner.engine.stop import Stop

pytestmark = pytest.mark.anyio

EDIT = """
model: emulator/edit/image-to-image
defaults: {width: 64, height: 64}
jobs:
"""


def photo(service: Service, name: str, colour: tuple[int, int, int] = (200, 30, 30), side: int = 40) -> str:
    """Write a photo of one colour; its SHA-256."""
    path = service.folder / name
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (side, side), colour).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def edits(*jobs: str) -> str:
    return EDIT + "".join(f"- {job}\n" for job in jobs)


async def test_a_photo_is_sent_and_recorded_by_its_path_and_hash(service: Service) -> None:
    """The results log names the photo and holds none of its bytes; the picture shows that the photo arrived."""
    sha256 = photo(service, "photos/mug.png")
    text = edits("{id: a, prompt: p, image_url: photos/mug.png, images: [photos/mug.png, https://a.example.com/b.png]}")
    report = await service.run(await service.read(text))
    assert (report.exit_code, report.done) == (0, 1)
    reference = f"file:photos/mug.png#sha256={sha256}"
    inputs = service.record().inputs
    assert inputs["image_url"] == reference
    assert inputs["images"] == [reference, "https://a.example.com/b.png"]
    assert b"base64" not in (service.output / "results.jsonl").read_bytes()
    with Image.open(service.output / "a.png") as image:
        red, green, blue = image.convert("RGB").getpixel((58, 58))
    assert red > 150
    assert green < 80 > blue


async def test_the_same_bytes_elsewhere_buy_nothing(service: Service) -> None:
    """A photo that was moved or renamed is the same input, with an id of its own and with one made for it."""
    photo(service, "photos/mug.png")
    jobs = ("{id: a, prompt: p, image_url: photos/mug.png}", "{prompt: q, image_url: photos/mug.png}")
    assert (await service.run(await service.read(edits(*jobs)))).done == 2
    (service.folder / "photos/mug.png").rename(service.folder / "cup.png")
    moved = [job.replace("photos/mug", "cup") for job in jobs]
    report = await service.run(await service.read(edits(*moved)))
    assert (report.skipped, report.done) == (2, 0)
    assert service.submissions == 2


async def test_another_photo_under_the_same_name_is_a_changed_input(service: Service) -> None:
    """What was bought was bought of another photo."""
    text = edits("{id: a, prompt: p, image_url: mug.png}")
    photo(service, "mug.png")
    await service.run(await service.read(text))
    photo(service, "mug.png", (30, 30, 200))
    assert (await service.run(await service.read(text))).done == 1
    assert [record.purchase for record in service.purchases("a")] == [1, 2]


@pytest.mark.parametrize("gone", [False, True])
async def test_a_photo_that_changes_after_the_check_is_not_bought(service: Service, gone: bool) -> None:
    """Neither what was checked nor what is there now is bought unseen; the other job is, and the next run is right."""
    text = edits("{id: a, prompt: p, image_url: mug.png}", "{id: b, prompt: q, image_url: cup.png}")
    photo(service, "mug.png")
    photo(service, "cup.png")
    manifest = await service.read(text)
    if gone:
        (service.folder / "mug.png").unlink()
    else:
        photo(service, "mug.png", (30, 30, 200))
    report = await service.run(manifest)
    assert (report.exit_code, report.done, report.left) == (75, 1, 1)
    (note,) = report.notes
    assert note.startswith("a was not bought: mug.png ")
    assert "Run again" in note
    assert service.purchases("a") == []
    assert service.submissions == 1
    photo(service, "mug.png", (30, 30, 200))
    assert (await service.run(await service.read(text))).done == 1


async def test_many_changed_photos_are_named_up_to_a_few(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was replaced during the run fills no screen."""
    monkeypatch.setattr(submit, "MAX_CHANGED_NOTES", 2)
    photo(service, "mug.png")
    manifest = await service.read(edits(*(f"{{id: j{n}, prompt: p{n}, image_url: mug.png}}" for n in range(5))))
    photo(service, "mug.png", (1, 2, 3))
    report = await service.run(manifest)
    assert (report.left, len(report.notes)) == (5, 3)


async def test_a_photo_is_read_before_the_intent_is_written(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails, or a process that dies while it reads, leaves no purchase in doubt."""
    photo(service, "mug.png")
    seen: list[bytes] = []
    build = attachments.BodyPlan.build

    def look(plan: attachments.BodyPlan) -> mmap:
        seen.append((service.output / "results.jsonl").read_bytes())
        return build(plan)

    monkeypatch.setattr(attachments.BodyPlan, "build", look)
    await service.run(await service.read(edits("{id: a, prompt: p, image_url: mug.png}")))
    assert seen == [b""]


async def test_a_refused_photo_is_read_again_and_bought_once(service: Service) -> None:
    """Busy, then accepted: one purchase, and the room of the first try is free for the second."""
    photo(service, "mug.png")
    service.fault(InjectedFault(on="submit", kind="status", status=429, times=2))
    report = await service.run(await service.read(edits("{id: a, prompt: p, image_url: mug.png}")))
    assert report.done == 1
    assert len(service.purchases("a")) == 1


async def test_an_echo_of_the_photo_is_no_result(service: Service) -> None:
    """A service that sends the input back inside its answer has made nothing yet."""
    photo(service, "mug.png")
    await service.run(await service.read(edits("{id: a, prompt: p, image_url: mug.png}")))
    record, body = service.record(), (service.folder / "mug.png").read_bytes()
    echo = f"data:image/png;base64,{base64.b64encode(body).decode()}"
    assert is_input(echo, record.inputs)
    assert not is_input(echo.replace("iVBOR", "iVBOS"), record.inputs)


async def test_more_bodies_than_fit_wait_for_each_other(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the concurrency; each is bought in its turn."""
    monkeypatch.setattr(attachments, "MAX_HELD_BYTES", 5000)
    most = 0
    acquire = attachments.ByteRoom.acquire

    async def watch(room: attachments.ByteRoom, size: int) -> None:
        nonlocal most
        await acquire(room, size)
        most = max(most, room.held)

    monkeypatch.setattr(attachments.ByteRoom, "acquire", watch)
    for number in range(12):
        photo(service, f"{number}.png", (number * 20, 9, 9), side=200)
    jobs = [f"{{id: j{n}, prompt: p{n}, image_url: {n}.png}}" for n in range(12)]
    report = await service.run(await service.read("concurrency: 12" + edits(*jobs)))
    assert report.done == 12
    assert 1000 < most <= 5000


async def test_an_interrupted_wait_for_room_buys_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that wait to be read when the run is stopped are left, and no purchase of theirs is in doubt."""
    stop, loop = Stop(), asyncio.get_running_loop()
    photo(service, "mug.png")
    fill = attachments.BodyPlan.build

    def interrupt(plan: attachments.BodyPlan) -> mmap:
        loop.call_soon_threadsafe(stop.interrupt, "interrupted")
        return fill(plan)

    monkeypatch.setattr(attachments.BodyPlan, "build", interrupt)
    monkeypatch.setattr(attachments, "MAX_HELD_BYTES", 10)
    manifest = await service.read(edits(*(f"{{id: j{n}, prompt: p{n}, image_url: mug.png}}" for n in range(4))))
    report = await service.run(manifest, stop=stop)
    assert report.exit_code == 75
    assert report.unknown == 0
    assert report.left >= 3
    assert all(record.state is not State.UNKNOWN for record in service.lines())


def test_an_error_that_repeats_the_photo_is_recorded_without_its_bytes() -> None:
    """Some services print the input that they refuse; the results log and the screen keep the rest of the message."""
    echo = base64.b64encode(bytes(range(256)) * 20).decode()
    fault = Fault(code="bad_input", message=f"image_url: not readable: data:image/png;base64,{echo}")
    assert fault.message == "image_url: not readable: data:image/png;base64,…"
