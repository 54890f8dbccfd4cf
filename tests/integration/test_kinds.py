"""Outputs of every kind, each delivered by itself: what is paid for arrives, whatever else can not be had."""

from __future__ import annotations

import json
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from PIL import Image
from support.harness import plain
from support.virtual_time import LoopClock

from runner.core.models import Output, Record, State
from runner.emulator import InjectedFault, responses
from runner.engine import operations
from runner.engine.steps import fetch_output
from runner.engine.steps.shipment import Shipment
from runner.files.download import StorageAnswer
from runner.files.output_folder import IncomingFile
from runner.ledger.records import decode

pytestmark = pytest.mark.anyio

KIT = {"id": "a", "model": "emulator/kit/text-to-image", "prompt": "a mug"}


def job(model: str, **more: object) -> dict[str, object]:
    return {"id": "a", "model": f"emulator/{model}", "prompt": "a mug", **more}


def file(kind: str, **parameters: object) -> InjectedFault:
    return InjectedFault(on="file", kind=kind, **parameters)


def served(service) -> int:
    return service.emulator.stats["calls"].get("file", 0)


@pytest.mark.parametrize(
    ("model", "name", "media_type", "unchecked"),
    [
        ("jingle/text-to-audio", "a.wav", "audio/wav", False),
        ("figurine/text-to-3d", "a.glb", "model/gltf-binary", False),
        ("caption/image-to-text", "a.txt", "text/plain", True),
        ("boxes/image-to-json", "a.json", "application/json", True),
        ("inline/text-to-image", "a.png", "image/png", False),
    ],
)
async def test_every_kind_of_output_is_delivered(service, model, name, media_type, unchecked):
    """Sound, 3D, text, JSON, a picture inside the answer: under its name, done, and left alone by the next run."""
    manifest = service.manifest(job(model), defaults={})
    assert (await service.run(manifest)).exit_code == 0
    output = service.record().outputs[0]
    assert service.files() == [name]
    assert (output.path, output.media_type, output.unchecked) == (name, media_type, unchecked)
    assert (service.output / name).stat().st_size == output.bytes
    assert (await service.run(manifest)).skipped == 1
    assert (service.submissions, served(service)) == (1, int(name in ("a.wav", "a.glb")))


async def test_a_text_is_kept_to_the_letter_and_json_can_be_read(service):
    """A result that is no file becomes one."""
    await service.run(service.manifest(job("caption/image-to-text"), defaults={}))
    assert (service.output / "a.txt").read_text() == "A caption of a mug"
    await service.run(service.manifest(job("boxes/image-to-json"), defaults={}))
    assert json.loads((service.output / "a.json").read_bytes())["boxes"] == [[0, 0, 32, 32]]


async def test_a_result_without_a_file_that_was_deleted_comes_back_free(service):
    """It is asked for again at the API, like a picture at its storage."""
    manifest = service.manifest(job("caption/image-to-text"), defaults={})
    await service.run(manifest)
    (service.output / "a.txt").unlink()
    assert (await service.run(manifest)).done == 1
    assert (service.files(), service.submissions) == (["a.txt"], 1)


async def test_files_beside_the_picture_arrive_with_it(service):
    """Subtitles and a scene: each with its own ending, one after the other."""
    assert (await service.run(service.manifest(KIT, defaults={}))).exit_code == 0
    assert service.files() == ["a-2.srt", "a-3.glb", "a.png"]
    assert [output.unchecked for output in service.record().outputs] == [False, True, False]


async def test_what_cannot_be_had_keeps_nothing_else_from_arriving(service):
    """The subtitles are gone at the storage: `done` with `warning: partial`, the error in their place, exit 0."""
    service.fault(file("status", status=404, number=1))
    report = await service.run(service.manifest(KIT, defaults={}))
    record = service.record()
    assert (report.exit_code, report.done, record.state, record.warning) == (0, 1, State.DONE, "partial")
    assert service.files() == ["a-3.glb", "a.png"]
    assert [output.error and output.error.code for output in record.outputs] == [None, "storage", None]
    assert [cause.code for cause in report.causes] == ["partial"]


async def test_a_partial_purchase_is_done_and_costs_no_more_questions(service):
    """The next run skips it; what is there is not downloaded again."""
    service.fault(file("status", status=404, number=1))
    manifest = service.manifest(KIT, defaults={})
    await service.run(manifest)
    before = served(service)
    assert (await service.run(manifest)).skipped == 1
    assert (served(service), service.submissions) == (before, 1)


async def test_nothing_is_downloaded_twice_because_another_output_fails(service):
    """Of three outputs one is refused at every try: the two others are asked for once."""
    service.fault(file("status", status=500, number=1))
    assert (await service.run(service.manifest(KIT, defaults={}, retries=3))).owed == 1
    assert served(service) == 2 + 4


async def test_a_storage_with_a_bad_day_leaves_the_purchase_owed_and_the_rest_in_place(service):
    """A 500 may pass: the picture is in its place already, and the next run fetches what is missing alone."""
    service.fault(file("status", status=500, number=1))
    manifest = service.manifest(KIT, defaults={}, retries=1)
    report = await service.run(manifest)
    assert (report.exit_code, report.owed, service.record().state) == (75, 1, State.GENERATED)
    assert service.files() == ["a-3.glb", "a.png"]
    service.fault()
    before = served(service)
    assert (await service.run(manifest)).exit_code == 0
    assert (service.files(), service.record().warning) == (["a-2.srt", "a-3.glb", "a.png"], None)
    assert (served(service) - before, service.submissions) == (1, 1)


async def test_wrong_bytes_are_given_up_only_when_they_come_again_in_a_later_run(service):
    """An error page under 200 in place of one output: owed after the first run, done without it after the second."""
    service.fault(file("html", number=2))
    manifest = service.manifest(KIT, defaults={}, retries=1)
    assert (await service.run(manifest)).owed == 1
    report = await service.run(manifest)
    assert (report.exit_code, report.done, service.record().warning) == (0, 1, "partial")
    assert [output.error and output.error.code for output in service.record().outputs] == [None, None, "bad_file"]
    assert service.files() == ["a-2.srt", "a.png"]


async def test_partial_purchases_are_collected_without_the_manifest(service):
    """The errors and the files that arrived are on record; `collect` goes on from there."""
    service.fault(file("status", status=500, number=0))
    await service.run(service.manifest(KIT, defaults={}, retries=0))
    (service.folder / "batch.yaml").unlink()
    service.fault()
    assert (await service.collect()).done == 1
    assert service.files() == ["a-2.srt", "a-3.glb", "a.png"]


async def test_an_address_of_an_input_is_no_output(service):
    """A model that sends the input's address back beside its picture: nobody waits for that."""
    ours = "https://shop.example.org/mug.png"
    service.fault(InjectedFault(on="result", kind="echo", text=ours))
    manifest = service.manifest(job("edit/image-to-image", image_url=ours), defaults={})
    report = await service.run(manifest)
    assert (report.exit_code, service.record().warning, len(service.record().outputs)) == (0, None, 1)
    assert service.files() == ["a.png"]


async def test_an_address_that_is_not_trusted_is_told_and_keeps_nothing_back(service):
    """Somebody else's address beside the picture: the picture is done, the address stands there with its error."""
    service.fault(InjectedFault(on="result", kind="echo", text="https://shop.example.org/mug.png"))
    report = await service.run()
    assert (report.exit_code, report.done, service.record().warning) == (0, 1, "partial")
    assert service.record().outputs[0].error.code == "untrusted_host"
    assert service.files() == ["a-2.png"]


@pytest.mark.parametrize("before", ["  ", "\n", ""])
async def test_addresses_with_blanks_or_without_a_host_are_followed(service, before):
    """Blanks around an address mean nothing, and one that begins with its path is seen from the API's."""
    service.fault(InjectedFault(on="result", kind="relative", text=before))
    assert (await service.run()).done == 1
    assert service.files() == ["a.png"]


@pytest.mark.parametrize("encoding", ["gzip", "base64", "aws-chunked", "UTF-8"])
async def test_a_stored_content_encoding_keeps_no_picture_from_arriving(service, encoding):
    """Compressed bytes are decoded; a header that says something else than the bytes means nothing."""
    service.fault(file("encoded", text=encoding))
    assert (await service.run()).done == 1
    assert service.files() == ["a.png"]


async def test_output_that_follows_a_moment_later_is_waited_for(service):
    """`completed` without output is asked after again, and is not stuck at once."""
    service.fault(InjectedFault(on="result", kind="no_output", each=3))
    report = await service.run()
    assert (report.exit_code, report.done, service.submissions) == (0, 1, 1)


async def test_output_that_never_follows_is_waited_for_once(service):
    """A minute in the first run; later runs ask and go on."""
    service.fault(InjectedFault(on="result", kind="no_output"))
    first = await service.run()
    assert (first.exit_code, service.record().error.code) == (2, "no_output")
    assert first.seconds > 50
    assert (await service.run()).seconds < 20


async def test_a_picture_of_more_pixels_than_allowed_says_which_key_allows_it(service):
    """It is downloaded once a run, the message names `max_pixels`, and a larger one brings it home without buying."""
    small = service.manifest(*plain(1), max_pixels=4000)
    assert (await service.run(small)).owed == 1
    assert service.record().error.code == "too_large"
    assert "raise `max_pixels` in the manifest and run again (free)" in service.record().error.message
    assert served(service) == 1
    assert (await service.run(service.manifest(*plain(1), max_pixels=4096))).done == 1
    assert service.submissions == 1


async def test_max_pixels_is_on_record_for_whoever_collects(service):
    """Collecting needs no manifest, and asks no less of a picture for it."""
    await service.run(service.manifest(*plain(1), max_pixels=4000))
    (service.folder / "batch.yaml").unlink()
    assert (await service.collect()).done == 0
    assert (service.record().max_pixels, service.record().error.code) == (4000, "undeliverable")


async def test_verify_tells_what_could_not_be_had_and_repair_asks_again(service):
    """Missing, with the reason; `--repair` fetches it free once it can be had, and the warning goes."""
    service.fault(file("status", status=404, number=1))
    await service.run(service.manifest(KIT, defaults={}))
    folder = operations.Folder(service.output)
    failed = await operations.repair(folder, clock=LoopClock(), environ=service.environ)
    assert [finding.path for finding in failed.after.wrong] == ["a-2"]
    assert "HTTP 404" in (failed.after.wrong[0].note or "")
    assert "HTTP 404" in failed.failed["a-2"]
    lines = len(service.lines())
    await operations.repair(folder, clock=LoopClock(), environ=service.environ)
    assert len(service.lines()) == lines, "what changes nothing is not recorded"
    service.fault()
    before = served(service)
    done = await operations.repair(folder, clock=LoopClock(), environ=service.environ)
    assert (done.repaired, done.after.wrong) == (["a-2"], ())
    assert (service.record().state, service.record().warning) == (State.DONE, None)
    assert service.files() == ["a-2.srt", "a-3.glb", "a.png"]
    assert (served(service) - before, service.submissions) == (1, 1)


async def test_a_deleted_file_of_a_partial_purchase_comes_back(service):
    """What was had is missed when it is gone; what never was is not."""
    service.fault(file("status", status=404, number=1))
    manifest = service.manifest(KIT, defaults={}, retries=1)
    await service.run(manifest)
    (service.output / "a.png").unlink()
    await service.run(manifest)
    assert service.files() == ["a-3.glb", "a.png"]
    assert (service.record().state, service.record().warning) == (State.DONE, "partial")
    assert (await service.run(manifest)).skipped == 1
    assert service.submissions == 1


def owed(stem: str) -> Record:
    """A purchase whose first file goes to ``stem``."""
    line = b'{"id":"a","purchase":1,"state":"generated","at":"","api":"","manifest":"","model":"","inputs":{},'
    return decode(line + f'"fingerprint":"","request_id":"r","file":"{stem}"}}'.encode())


def placed(stem: str, ending: str) -> str:
    """Where a file with such an ending goes."""
    return fetch_output._final_path(owed(stem), 1, ending)


def test_an_ending_makes_no_name_that_cannot_be():
    """A stranger's ending could name the results log, which then could not be read, or be longer than a disk takes."""
    assert placed("results", "jsonl") == "results.bin"
    assert placed("results.1-of-4", "jsonl") == "results.1-of-4.bin"
    assert placed("mug", "jsonl") == "mug.jsonl"
    assert placed("n" * 245, "safetensors") == "n" * 245 + ".bin"


async def test_an_error_page_where_a_picture_should_be_is_never_delivered_as_a_file(service):
    """However many kinds are accepted: HTML at a picture's address stays a fault of the storage."""
    service.fault(file("html"))
    assert (await service.run(service.manifest(*plain(1), retries=1))).owed == 1
    assert (service.record().error.code, service.files()) == ("bad_file", [])


async def test_an_edited_job_with_several_outputs_sets_aside_what_was_there(service):
    """The older files of a set move to the archive together, those of other kinds too."""
    await service.run(service.manifest(KIT, defaults={}))
    await service.run(service.manifest({**KIT, "prompt": "a jug"}, defaults={}))
    assert service.files() == [
        ".replaced/a/1/a-2.srt", ".replaced/a/1/a-3.glb", ".replaced/a/1/a.png", "a-2.srt", "a-3.glb", "a.png"
    ]  # fmt: skip


@pytest.mark.slow
async def test_a_picture_inside_the_answer_may_be_as_long_as_files_are(service, monkeypatch):
    """Five megabytes of Base64 are read; as many of brackets are not."""
    picture = drawn(1300)
    long = {"image": f"data:image/png;base64,{b64encode(picture).decode()}"}
    assert len(long["image"]) > 4_500_000
    monkeypatch.setitem(responses._WITHOUT_FILES, "inline", lambda prompt: long)
    assert (await service.run(service.manifest(job("inline/text-to-image"), defaults={}))).done == 1
    assert (service.output / "a.png").read_bytes() == picture
    monkeypatch.setitem(responses._WITHOUT_FILES, "inline", lambda prompt: {"boxes": [[]] * 1_600_000})
    manifest = service.manifest(
        {**job("inline/text-to-image"), "id": "b", "prompt": "a jug"}, defaults={}, timeout="20s"
    )
    assert (await service.run(manifest)).owed == 1
    assert "not because of files in it" in service.record("b").error.message


def drawn(side: int) -> bytes:
    """A PNG of noise."""
    body = BytesIO()
    Image.effect_noise((side, side), 100).convert("RGB").point(lambda value: value * 7 % 256).save(body, "PNG")
    return body.getvalue()


async def test_a_new_set_that_arrives_in_part_completes_and_the_old_one_is_kept(service):
    """Edited, and the storage has a bad day: two files of the new set are in place, the old set is in the archive.

    The next run fetches the third, and nothing is bought or lost in between.
    """
    await service.run(service.manifest(KIT, defaults={}))
    old = {name: (service.output / name).read_bytes() for name in service.files()}
    service.fault(file("status", status=500, number=0))
    edited = service.manifest({**KIT, "prompt": "a jug"}, defaults={}, retries=0)
    assert (await service.run(edited)).owed == 1
    assert [name for name in service.files() if "replaced" not in name] == ["a-2.srt", "a-3.glb"]
    service.fault()
    assert (await service.run(edited)).exit_code == 0
    assert [name for name in service.files() if "replaced" not in name] == ["a-2.srt", "a-3.glb", "a.png"]
    assert {name: (service.output / ".replaced/a/1" / name).read_bytes() for name in old} == old
    assert service.submissions == 2


async def test_a_new_set_that_is_never_whole_is_done_in_part(service):
    """The links of one output are gone and the API forgets the request: what is there is kept and told, at last."""
    service.fault(file("status", status=500, number=0))
    manifest = service.manifest(KIT, defaults={}, retries=1)
    assert (await service.run(manifest)).owed == 1
    service.fault(file("status", status=404, number=0), InjectedFault(on="result", kind="forget"))
    assert (await service.run(manifest)).unknown == 1, "stuck: for the user's word, and asked for once more"
    last = await service.run(manifest)
    assert (last.exit_code, service.record().state, service.record().warning) == (0, State.DONE, "partial")
    assert service.files() == ["a-2.srt", "a-3.glb"]
    assert service.submissions == 1


async def test_a_link_that_was_asked_for_once_is_not_given_up(service):
    """Links grow old: before an output counts as gone, the API has been asked for its address anew."""
    service.fault(file("status", status=404, number=1))
    manifest = service.manifest(KIT, defaults={}, retries=0)
    assert (await service.run(manifest)).owed == 1
    assert service.files() == ["a-3.glb", "a.png"]
    service.fault()
    assert (await service.run(manifest)).done == 1
    assert service.record().warning is None


async def test_a_file_in_the_way_of_one_output_keeps_the_set_together(service):
    """Nobody's file is overwritten, nothing is left over on the way, and once it is moved all of the set arrives."""
    service.output.mkdir()
    mine = service.output / "a-2.srt"
    mine.write_text("mine")
    manifest = service.manifest(KIT, defaults={})
    report = await service.run(manifest)
    assert (report.owed, service.record().error.code) == (1, "file_in_the_way")
    assert (service.files(), mine.read_text()) == (["a-2.srt"], "mine")
    assert list((service.output / ".runner/incoming").iterdir()) == []
    mine.rename(service.output / "mine.txt")
    assert (await service.run(manifest)).done == 1
    assert service.files() == ["a-2.srt", "a-3.glb", "a.png", "mine.txt"]


def test_outputs_that_the_api_names_anew_keep_what_arrived():
    """By their place; where there are more or fewer than before, nothing says which is which, and all begin anew."""
    first, second = Output(url="https://a/1"), Output(url="https://a/2")
    record = msgspec.structs.replace(owed("a"), outputs=(first, second))
    shipment = Shipment(record)
    here = IncomingFile(source=Path("x"), output=msgspec.structs.replace(first, path="a.png", sha256="0"))
    shipment.arrive(1, here)
    shipment.fail(2, StorageAnswer(404), final=False)
    assert shipment.wants_fresh_links
    assert shipment.renew((Output(url="https://a/1?new"), Output(url="https://a/2?new"))) == []
    assert [output.url for output in shipment.record.outputs] == ["https://a/1", "https://a/2?new"]
    assert (shipment.waiting, shipment.over) == ([2], True)
    assert shipment.renew((Output(url="https://a/1?new"),)) == [here]
    assert (shipment.waiting, shipment.failures) == ([1], {})


@pytest.mark.parametrize(("told", "taken"), [(2**62, 2_000_000_000), (-1, 1), (None, 89_000_000), (5000, 5000)])
def test_a_strangers_record_allows_no_more_pixels_than_a_manifest_may(told, taken):
    """A results log may come from anywhere, and decoding takes memory for each pixel."""
    record = msgspec.structs.replace(owed("a"), max_pixels=told)
    assert fetch_output.OutputFetcher.limits_of(SimpleNamespace(_limits=None), record).max_pixels == taken
