"""Odd answers of a service that means well: the picture arrives, the rest is told, and nothing is bought twice."""

from __future__ import annotations

import pytest
from PIL import Image
from support.harness import plain
from support.virtual_time import LoopClock

from runner.core.models import State
from runner.emulator import InjectedFault
from runner.emulator.service import PLENTY
from runner.engine import operations
from runner.engine.maintenance.cancel import CancelResult

pytestmark = pytest.mark.anyio


def odd(kind: str, text: str = "") -> InjectedFault:
    return InjectedFault(on="result", kind=kind, text=text)


def job(model: str, **more: object) -> dict[str, object]:
    return {"id": "a", "model": f"emulator/{model}", "prompt": "a mug", **more}


@pytest.mark.parametrize("form", ["no_scheme", "space", "data", "base64"])
async def test_an_address_in_an_odd_form_is_followed(service, form):
    """Without a scheme, with a blank in it, or the picture itself in its place: delivered whole, and bought once."""
    service.fault(odd("address", form))
    report = await service.run()
    assert (report.exit_code, report.done, service.submissions) == (0, 1, 1)
    assert (service.files(), service.record().warning) == (["a.png"], None)
    with Image.open(service.output / "a.png") as image:
        assert image.size == (64, 64)


async def test_a_thumbnail_that_is_gone_keeps_no_picture_back(service):
    """The picture is done, the thumbnail's error stands in its place, and the next run asks for neither."""
    service.fault(odd("thumbnail"))
    report = await service.run()
    record = service.record()
    assert (report.exit_code, record.state, record.warning) == (0, State.DONE, "partial")
    assert [output.error and output.error.http_status for output in record.outputs] == [None, 404]
    assert service.files() == ["a.png"]
    assert ((await service.run()).skipped, service.submissions) == (1, 1)


async def test_inputs_that_are_sent_back_are_no_outputs(service):
    """The whole input beside the picture, addresses and all: one output, no warning."""
    service.fault(odd("echo"))
    inputs = {"image_url": "https://shop.example.org/mug.png", "images": ["https://shop.example.org/side.png"]}
    report = await service.run(service.manifest(job("edit/image-to-image", **inputs), defaults={}))
    assert (report.exit_code, service.record().warning, len(service.record().outputs)) == (0, None, 1)
    assert service.files() == ["a.png"]


@pytest.mark.parametrize(
    ("ending", "media_type", "unchecked"),
    [
        ("wav", "audio/wav", False),
        ("mp3", "audio/mpeg", False),
        ("ogg", "audio/ogg", False),
        ("glb", "model/gltf-binary", False),
        ("svg", "image/svg+xml", False),
        ("srt", "text/plain", True),
        ("obj", "text/plain", True),
        ("json", "application/json", True),
        ("zip", "application/zip", True),
    ],
)
async def test_files_of_every_kind_are_delivered_under_their_names(service, ending, media_type, unchecked):
    """Sound, scenes, drawings, texts, archives: done at the first try."""
    service.fault(odd("ending", ending))
    report = await service.run()
    output = service.record().outputs[0]
    assert (report.exit_code, service.files(), service.record().warning) == (0, [f"a.{ending}"], None)
    assert (output.media_type, output.unchecked) == (media_type, unchecked)
    assert service.emulator.stats["calls"]["file"] == 1


async def test_a_documented_cancel_is_understood(make_service):
    """202 with `"status": "completed", "outcome": "cancelled"`: that status is the call's own, and no picture is due.

    What could not be called off stays owed, though its answer says `completed` as well.
    """
    service = await make_service(workers=1, seconds=600.0)
    await service.run(service.manifest(*plain(2), timeout="1s"))
    folder = operations.Folder(service.output)
    ended = await operations.cancel(folder, clock=LoopClock(), environ=service.environ)
    assert ended == CancelResult(cancelled=1, owed=1)
    assert sorted(service.record(job).state for job in "ab") == [State.CANCELLED, State.SUBMITTED]
    assert service.emulator.stats["balance_usd"] == PLENTY - 0.0045


@pytest.mark.parametrize(("message", "bought"), [("NSFW content detected", 1), ("the worker went away", 2)])
async def test_a_failure_in_words_alone_is_bought_again_once_at_most(service, message, bought):
    """Not at all where the words blame the input."""
    service.fault(InjectedFault(on="job", kind="message_only", message=message))
    for _ in range(4):
        await service.run()
    assert (service.record().state, service.record().error.message) == (State.FAILED, message)
    assert service.submissions == bought


async def test_zeros_behind_a_picture_are_harmless(service):
    """Some storages pad what they keep: the picture is whole and is delivered."""
    service.fault(InjectedFault(on="file", kind="padded", bytes=100_000))
    assert (await service.run()).done == 1
    assert service.record().outputs[0].bytes > 100_000


@pytest.mark.parametrize(
    ("picture", "fault"),
    [("png", {"kind": "padded", "bytes": 600 * 2**20}), ("jpeg", {"kind": "huge"}), ("webp", {"kind": "huge"})],
)
async def test_a_picture_that_goes_on_behind_its_end_is_left_soon(make_service, picture, fault):
    """600 MB of zeros or an endless stream behind 64 × 64 pixels: nothing is kept, and a later run has the picture."""
    service = await make_service(picture=picture)
    service.fault(InjectedFault(on="file", **fault))
    manifest = service.manifest(*plain(1), retries=0)
    assert (await service.run(manifest)).owed == 1
    assert service.record().error.code == "too_large"
    assert "its pixels allow" in service.record().error.message
    assert service.files() == []
    service.fault()
    assert ((await service.run(manifest)).done, service.submissions) == (1, 1)


async def test_a_wallet_that_is_empty_stops_the_buying(make_service):
    """Two pictures fit in, the third is refused: exit 77, nothing in doubt, nothing charged beyond the balance."""
    service = await make_service(balance=0.01)
    report = await service.run(service.manifest(*plain(5), concurrency=1))
    assert (report.exit_code, report.done, report.unknown, report.left) == (77, 2, 0, 3)
    assert "no balance left" in report.stopped.reason
    assert service.emulator.stats["charged_usd"] == 0.009
