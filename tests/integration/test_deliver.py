"""Bringing files home: whole, right, under their final names, whatever the storage answers."""

from __future__ import annotations

import gc

import pytest
from support.harness import plain

from runner.core import disk
from runner.core.models import State
from runner.emulator import InjectedFault
from runner.files.download import _Download

pytestmark = pytest.mark.anyio


def file(kind: str, **parameters: object) -> InjectedFault:
    return InjectedFault(on="file", kind=kind, **parameters)


PASSING = {
    "404 once": file("status", status=404, each=1),
    "403 once": file("status", status=403, each=1),
    "500 twice": file("status", status=500, each=2),
    "cut after two thirds": file("truncate", each=2),
    "a short picture of matching length": file("short", each=2),
    "an error page as image/png": file("html", each=2),
    "a flipped bit": file("flip", each=2),
    "reset": file("reset", each=3),
    "one redirect to a private address": file("redirect", location="http://127.0.0.1:9/secret", each=1),
    "no answer": file("hang", each=1),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_a_fault_of_the_storage_is_tried_again_in_the_same_run(service, fault):
    """A download that is cut short, broken or refused is repeated; only the whole picture gets the name."""
    service.fault(fault)
    report = await service.run(jobs=2)
    assert (report.exit_code, report.done) == (0, 2)
    assert service.files() == ["a.png", "b.png"]
    assert service.submissions == 2


@pytest.mark.parametrize("side", [64, 512])
async def test_a_picture_is_on_the_disk_before_its_name_is(service, flushes, side):
    """If the power fails a moment later there is no half picture under a final name, be it small or large."""
    report = await service.run(service.manifest({"id": "a", "prompt": "a mug", "width": side, "height": side}))
    assert report.done == 1
    number = (service.output / "a.png").stat().st_ino
    assert any("out/a.png" not in names for found, names in flushes if found == number)


@pytest.mark.parametrize("kind", ["truncate", "reset", "html", "huge"])
async def test_downloads_that_fail_leave_nothing_in_memory(service, kind):
    """Blocks of a hundred broken downloads would be a gigabyte; cycles of garbage are rarely looked for."""
    service.fault(file(kind))
    manifest = service.manifest(*plain(3), max_file="2MB", retries=2)
    gc.collect()
    gc.disable()
    try:
        assert (await service.run(manifest)).owed == 3
        left = [found for found in gc.get_objects() if isinstance(found, _Download)]
    finally:
        gc.enable()
    assert left == []


LASTING = {
    "storage down": (file("status", status=500), "storage"),
    "always cut": (file("truncate"), "storage"),
    "always an error page": (file("html"), "bad_file"),
    "always a flipped bit": (file("flip"), "bad_file"),
    "redirect to a private address": (file("redirect", location="http://127.0.0.1:9/secret"), "untrusted_host"),
    "endless": (file("huge"), "too_large"),
}


@pytest.mark.parametrize(("fault", "code"), LASTING.values(), ids=LASTING)
async def test_what_cannot_be_delivered_stays_owed_and_the_next_run_fetches_it(service, fault, code):
    """A paid result is never called failed: `generated`, exit 75, no file; a later run delivers without buying."""
    service.fault(fault)
    manifest = service.manifest(*plain(1), max_file="2MB", retries=2)
    report = await service.run(manifest)
    assert (report.exit_code, report.owed) == (75, 1)
    assert (service.record().state, service.record().error.code) == (State.GENERATED, code)
    assert service.files() == []
    service.fault()
    assert (await service.run(manifest)).done == 1
    assert service.submissions == 1
    assert list((service.output / ".runner" / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ({"picture": "jpeg"}, "a.jpg"),
        ({"picture": "webp"}, "a.webp"),
        ({"octet_stream": True}, "a.png"),
        ({"no_length": True}, "a.png"),
    ],
)
async def test_the_bytes_decide_the_extension(make_service, mode, name):
    """JPEG, WebP, a wrong type in the header, no Content-Length: the file is named by what it is."""
    service = await make_service(**mode)
    assert (await service.run()).exit_code == 0
    assert service.files() == [name]


async def test_a_picture_of_another_size_is_kept_with_a_warning(make_service):
    """Services round sizes: the picture is paid, so it is kept, and the record says `warning: size`."""
    service = await make_service(sizes="round16")
    report = await service.run(service.manifest({"id": "a", "prompt": "x", "size": "100x100"}))
    assert (report.exit_code, report.done) == (0, 1)
    assert (service.record().state, service.record().warning) == (State.DONE, "size")
    assert service.files() == ["a.png"]


async def test_strict_size_sets_the_picture_aside(make_service):
    """`strict_size` refuses it: stuck as `wrong_output`, kept under .rejected/, accepted once the setting goes."""
    service = await make_service(sizes="round16")
    job = {"id": "a", "prompt": "x", "size": "100x100"}
    report = await service.run(service.manifest(job, strict_size=True))
    assert (report.exit_code, report.unknown, service.record().error.code) == (2, 1, "wrong_output")
    assert service.files() == [".rejected/a/1/a.png"]
    files_served = service.emulator.stats["calls"]["file"]
    assert (await service.run(service.manifest(job))).done == 1
    assert service.record().warning == "size"
    assert service.files() == ["a.png"]
    assert service.emulator.stats["calls"]["file"] == files_served, "accepted from where it was put"
    assert service.submissions == 1


async def test_the_storage_never_sees_the_token(service):
    """Files are fetched without the Authorization header."""
    await service.run(jobs=3)
    assert service.emulator.stats["authorization_on_files"] == 0


@pytest.mark.slow
async def test_storage_down_for_most_of_a_run_stops_buying_at_the_bound(service):
    """More than max(100, 4 x concurrency) undelivered results stop the buying; later runs deliver without buying."""
    service.fault(file("status", status=500, after=1))
    jobs = [{"id": f"j{number}", "prompt": f"p {number}"} for number in range(160)]
    manifest = service.manifest(*jobs, retries=1)
    report = await service.run(manifest)
    bought = service.submissions
    assert report.exit_code == 75
    assert 100 < bought <= 101 + 2 * 4
    assert (report.done, report.owed, report.left) == (1, bought - 1, 160 - bought)
    assert sum(service.record(f"j{n}").state is State.GENERATED for n in range(bought)) == bought - 1
    service.fault()
    report = await service.run(manifest)
    assert (report.done, report.left, report.exit_code) == (bought - 1, 160 - bought, 75)
    assert service.submissions == bought
    assert (await service.run(manifest)).exit_code == 0
    assert service.submissions == 160


async def test_expired_links_are_fetched_anew_from_the_request(service):
    """A link in an old record that no longer works is asked for again; nothing is bought."""
    service.fault(file("status", status=500))
    await service.run()
    results = service.output / "results.jsonl"
    results.write_bytes(results.read_bytes().replace(b"/0.png", b"/expired.png"))
    service.fault()
    assert (await service.run()).done == 1
    assert service.submissions == 1


async def test_a_link_that_leads_nowhere_any_more_is_asked_for_anew(service):
    """A storage that moved, or a name that leads to a private address now: the request knows where the file is."""
    service.fault(file("status", status=500))
    await service.run()
    results = service.output / "results.jsonl"
    base = service.emulator.base.removesuffix("/v1").encode()
    results.write_bytes(results.read_bytes().replace(base + b"/files", b"https://gone.invalid/files"))
    assert b"gone.invalid" in results.read_bytes()
    service.fault()
    assert (await service.run(service.manifest(*plain(1), trusted_hosts=["gone.invalid"]))).done == 1
    assert service.submissions == 1


async def test_with_a_disk_nearly_full_nothing_is_bought(service, monkeypatch):
    """What could not be kept is not paid for: exit 73 before the first submission, and a run with room goes on.

    Where all is done already, nothing needs room.
    """
    monkeypatch.setattr(disk, "RESERVE_BYTES", 1 << 62)
    monkeypatch.setattr(disk, "RESERVE_SHARE", 1)
    report = await service.run(jobs=2)
    assert (report.exit_code, report.left, service.submissions) == (73, 2, 0)
    assert "nearly full" in report.stopped.reason
    with monkeypatch.context() as better:
        better.setattr(disk, "RESERVE_BYTES", 0)
        assert (await service.run(jobs=2)).done == 2
    assert (await service.run(jobs=2)).exit_code == 0


SHEET = {"id": "sheet", "model": "emulator/contact-sheet/text-to-image", "prompt": "x", "count": 3}
NUMBERED = ["set/1.png", "set/2.png", "set/3.png"]


async def test_a_file_that_names_the_output_tells_several_apart(service):
    """`file: "set/{{ output }}"` of a job with three outputs: 1, 2, 3, and no ending of ours."""
    job = {**SHEET, "file": "set/{{ output }}.{{ ext }}"}
    assert (await service.run(service.manifest(job, defaults={}))).exit_code == 0
    assert service.files() == NUMBERED
    (service.output / "set/2.png").unlink()
    assert (await service.run(service.manifest(job, defaults={}))).done == 1
    assert service.files() == NUMBERED
    assert service.submissions == 1


async def test_numbered_files_are_collected_without_the_manifest(service):
    """Where the numbers stand is on record before anything is bought."""
    service.fault(InjectedFault(on="file", kind="status", status=500))
    job = {**SHEET, "file": "set/{{ output }}"}
    assert (await service.run(service.manifest(job, defaults={}, retries=0))).owed == 1
    (service.folder / "batch.yaml").unlink()
    service.fault()
    assert (await service.collect()).done == 1
    assert service.files() == NUMBERED


async def test_another_place_for_the_number_renames_the_files(service):
    """From `set/1`, `set/1-2`, `set/1-3` to `set/1`, `set/2`, `set/3` and back, and nothing is bought."""
    await service.run(service.manifest({**SHEET, "file": "set/1"}, defaults={}))
    assert service.files() == ["set/1-2.png", "set/1-3.png", "set/1.png"]
    report = await service.run(service.manifest({**SHEET, "file": "set/{{ output }}"}, defaults={}))
    assert (report.skipped, service.files()) == (1, NUMBERED)
    renamed = {**SHEET, "id": "strip", "file": "strip-{{ output }}"}
    assert (await service.run(service.manifest(renamed, defaults={}))).skipped == 1
    assert service.files() == ["strip-1.png", "strip-2.png", "strip-3.png"]
    assert service.submissions == 1
