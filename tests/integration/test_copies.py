"""Copies and sidecars of a run: made beside it, recorded, remade when missing or stale, never over a foreign file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.harness import Service
from support.virtual_time import LoopClock

from runner.core.errors import ManifestError, UsageError
from runner.engine import operations
from runner.engine.maintenance.make_copies import CopiesResult, make_copies
from runner.engine.maintenance.verify import VerifyReport, check
from runner.engine.publishing import publisher
from runner.engine.publishing import step as publishing_step
from runner.files.output_folder import Folder
from runner.ledger import open_reader
from runner.planning.selection import JobFilter, JobNames

pytestmark = pytest.mark.anyio

WEB = {"file": "web/{{ job.id }}.jpg", "fit": "32x32"}
THUMB = {"file": "thumb/{{ job.id }}.webp", "fit": "16x16", "mode": "cover"}


def mug(prompt: str = "a mug", **more: object) -> dict[str, Any]:
    return {"id": "mug", "prompt": prompt, **more}


async def remake(service: Service, *jobs: dict[str, Any], only: str | None = None, **settings: Any) -> CopiesResult:
    manifest = service.manifest(*jobs, **settings)
    names = JobNames(patterns=(only,)) if only else None
    return await make_copies(Folder(service.output), manifest.jobs, JobFilter(names=names))


def verified(service: Service) -> VerifyReport:
    with open_reader(service.output) as ledger:
        return check(ledger, Folder(service.output))


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def recorded(service: Service, job_id: str = "mug") -> dict[str, str]:
    """The hash of each copy of a job, by its path; each is that of the file."""
    found = {copy.path: copy.sha256 for copy in service.record(job_id).copies}
    for path, sha256 in found.items():
        assert hashlib.sha256((service.output / path).read_bytes()).hexdigest() == sha256
    return found


async def test_a_run_makes_the_copies_and_the_next_one_makes_none(service):
    """Each is in place, whole, in its size, recorded with its hash; the original is as it came; all is done once."""
    report = await service.run(service.manifest(mug(), copies=[WEB, THUMB]))
    assert (report.done, report.copies, report.copies_failed, report.exit_code) == (1, 2, 0, 0)
    assert service.files() == ["mug.png", "thumb/mug.webp", "web/mug.jpg"]
    assert set(recorded(service)) == {"thumb/mug.webp", "web/mug.jpg"}
    assert size_of(service.output / "thumb/mug.webp") == (16, 16)
    record = service.record("mug")
    original = (service.output / "mug.png").read_bytes()
    assert hashlib.sha256(original).hexdigest() == record.outputs[0].sha256 == record.copies[0].of
    before = (service.output / "web/mug.jpg").stat().st_ino
    again = await service.run(service.manifest(mug(), copies=[WEB, THUMB]))
    assert (again.skipped, again.copies, again.exit_code, service.submissions) == (1, 0, 0, 1)
    assert (service.output / "web/mug.jpg").stat().st_ino == before
    assert sum(record.state == "done" for record in service.seen) == 1, "a copy is no change of state"


async def test_a_wait_for_copies_says_how_many_are_left(service, monkeypatch, caplog):
    """A run whose pictures are all delivered does not look as if it had stopped."""
    jobs = [mug(str(number)) | {"id": f"mug-{number}"} for number in range(6)]
    await service.run(service.manifest(*jobs))
    monkeypatch.setattr(publisher, "TELL_SECONDS", 0.0)
    caplog.set_level("INFO", logger="runner.engine.publishing.publisher")
    assert (await remake(service, *jobs, copies=[WEB, THUMB])).made == 12
    assert "copies: 0 made, those of 6 jobs left" in caplog.messages


async def test_copies_of_pictures_that_were_done_before_are_made_without_buying(service):
    """``copies:`` added to a finished batch: the next run makes them, and submits nothing."""
    await service.run(service.manifest(mug()))
    report = await service.run(service.manifest(mug(), copies=[WEB]))
    assert (report.skipped, report.copies, service.submissions) == (1, 1, 1)
    assert set(recorded(service)) == {"web/mug.jpg"}


async def test_what_is_missing_or_stale_is_remade_and_nothing_else(service):
    """A deleted copy, and one whose recipe has changed; the third stays as it is. No network is needed."""
    third = {"file": "third/{{ job.id }}.png"}
    await service.run(service.manifest(mug(), copies=[WEB, THUMB, third]))
    (service.output / "web/mug.jpg").unlink()
    kept = (service.output / "third/mug.png").stat().st_ino
    result = await remake(service, mug(), copies=[WEB, {**THUMB, "fit": "20x20"}, third])
    assert (result.made, result.failed, result.exit_code) == (2, 0, 0)
    assert size_of(service.output / "thumb/mug.webp") == (20, 20)
    assert (service.output / "third/mug.png").stat().st_ino == kept
    assert len(recorded(service)) == 3
    assert (await remake(service, mug(), copies=[WEB, {**THUMB, "fit": "20x20"}, third])).made == 0


async def test_another_original_has_other_copies_and_edited_back_the_old_ones(service):
    """After other inputs, and after going back, each copy is of the picture that is in force."""
    found = []
    for prompt in ("a mug", "a green mug", "a mug"):
        report = await service.run(service.manifest(mug(prompt), copies=[WEB]))
        assert (report.copies, report.copies_failed) == (1, 0)
        found.append(recorded(service)["web/mug.jpg"])
        assert service.record("mug").copies[0].of == service.record("mug").outputs[0].sha256
    assert found[0] == found[2] != found[1]
    assert service.submissions == 2


async def test_only_the_selected_jobs_have_their_copies_made(service):
    """``--only`` means here what it means elsewhere; a name that matches nothing is an error."""
    jobs = [mug(), {"id": "cup", "prompt": "a cup"}]
    await service.run(service.manifest(*jobs))
    assert (await remake(service, *jobs, copies=[WEB], only="c*")).made == 1
    assert "web/mug.jpg" not in service.files()
    with pytest.raises(UsageError, match="no job matches"):
        await remake(service, *jobs, copies=[WEB], only="tote")


@pytest.mark.parametrize("whose", ["a stranger's", "changed by hand", "a folder", "a link"])
async def test_a_file_that_is_not_ours_is_never_replaced(service, whose, tmp_path):
    """It stays as it is and is told; the other copies are made, and the picture counts as done."""
    await service.run(service.manifest(mug(), copies=[WEB] if whose == "changed by hand" else []))
    target = service.output / "web/mug.jpg"
    target.parent.mkdir(exist_ok=True)
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    if whose == "a folder":
        target.mkdir()
    elif whose == "a link":
        target.symlink_to(other)
    else:
        target.write_bytes(b"mine")
    report = await service.run(service.manifest(mug(), copies=[{**WEB, "quality": 50}, THUMB]))
    assert (report.skipped, report.copies, report.copies_failed, report.exit_code) == (1, 1, 1, 1)
    assert "web/mug.jpg" in report.notes[-1]
    assert "1 copy could not be made" in report.notes[-1]
    assert target.is_dir() if whose == "a folder" else target.read_bytes() == b"mine"
    assert other.read_bytes() == b"mine"
    assert (service.output / "thumb/mug.webp").is_file()


async def test_a_copy_leaves_the_folder_by_no_link(service, tmp_path):
    """A folder that is a link to elsewhere gets no file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    service.output.mkdir(exist_ok=True)
    (service.output / "web").symlink_to(outside)
    report = await service.run(service.manifest(mug(), copies=[WEB]))
    assert (report.done, report.copies_failed, report.exit_code) == (1, 1, 1)
    assert list(outside.iterdir()) == []


async def test_jobs_may_exchange_the_names_of_their_copies(service):
    """A copy of ours under another job's new name is replaced: the manifest says whose it is now."""
    names = {"mug": "one", "cup": "two"}

    def jobs() -> list[dict[str, Any]]:
        return [
            {"id": job_id, "prompt": f"a {job_id}", "copies": [{"file": f"web/{name}.jpg"}]}
            for job_id, name in names.items()
        ]

    await service.run(service.manifest(*jobs()))
    first = {path: (service.output / path).read_bytes() for path in ("web/one.jpg", "web/two.jpg")}
    names = {"mug": "two", "cup": "one"}
    result = await remake(service, *jobs())
    assert (result.made, result.failed) == (2, 0)
    assert (service.output / "web/one.jpg").read_bytes() == first["web/two.jpg"]
    assert (service.output / "web/two.jpg").read_bytes() == first["web/one.jpg"]
    assert (await remake(service, *jobs())).made == 0


@pytest.mark.parametrize("quality", [85, 20])
async def test_a_crash_between_record_and_rename_is_made_good(service, monkeypatch, quality):
    """The file is still the earlier copy, which the record names: it is ours, and replaced."""
    await service.run(service.manifest(mug(), copies=[{**WEB, "quality": 60}]))
    earlier = (service.output / "web/mug.jpg").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(publishing_step, "place", lambda *_: None)
        await remake(service, mug(), copies=[{**WEB, "quality": 85}])
    assert (service.output / "web/mug.jpg").read_bytes() == earlier
    result = await remake(service, mug(), copies=[{**WEB, "quality": quality}])
    assert (result.made, result.failed) == (1, 0)
    assert (service.output / "web/mug.jpg").read_bytes() != earlier
    recorded(service)
    assert list((service.output / ".runner/incoming").iterdir()) == []


async def test_an_earlier_copy_of_the_same_length_is_not_taken_for_the_new_one(service, monkeypatch):
    """After a crash the bytes decide, not the length."""
    await service.run(service.manifest(mug(), copies=[WEB]))
    with monkeypatch.context() as patch:
        patch.setattr(publishing_step, "place", lambda *_: None)
        await remake(service, mug(), copies=[{**WEB, "quality": 30}])
    path, new = service.output / "web/mug.jpg", service.record("mug").copies[0]
    path.write_bytes(path.read_bytes()[: new.bytes].ljust(new.bytes, b"\0"))
    result = await remake(service, mug(), copies=[{**WEB, "quality": 30}])
    assert (result.made, result.failed) == (0, 1), "neither the earlier copy nor the new one: it is not ours"


async def test_a_copy_that_cannot_be_made_fails_no_job(service):
    """Too small a ``max_bytes``: told and counted, exit 1; the purchase stays done, and nothing is bought for it."""
    copies = [{**WEB, "max_bytes": "10B"}, THUMB]
    report = await service.run(service.manifest(mug(), copies=copies))
    assert (report.done, report.failed, report.copies, report.copies_failed) == (1, 0, 1, 1)
    assert (report.exit_code, report.as_json()["copies_failed"]) == (1, 1)
    again = await service.run(service.manifest(mug(), copies=copies))
    assert (again.skipped, again.copies_failed, again.exit_code, service.submissions) == (1, 1, 1, 1)


async def test_a_bug_in_the_making_of_one_copy_is_told_and_the_others_are_made(service, monkeypatch):
    """Whatever goes wrong with one job's copies, the other jobs have theirs, and none is failed."""
    keep = publishing_step.keep

    def break_one(folder: Folder, data: bytes) -> Any:
        if b"WEBP" in data[:16]:
            raise ZeroDivisionError
        return keep(folder, data)

    monkeypatch.setattr(publishing_step, "keep", break_one)
    jobs = [mug(copies=[THUMB]), {"id": "cup", "prompt": "a cup"}]
    report = await service.run(service.manifest(*jobs, copies=[WEB]))
    assert (report.done, report.copies) == (2, 1)
    assert report.copies_failed > 0
    assert "a bug in runner" in report.notes[-1]
    assert "web/cup.jpg" in service.files()


async def test_an_original_that_was_changed_by_hand_has_no_copies(service):
    """A copy is of what was bought, or it is not made."""
    await service.run(service.manifest(mug()))
    path = service.output / "mug.png"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    result = await remake(service, mug(), copies=[WEB])
    assert (result.made, result.failed, result.exit_code) == (0, 1, 1)


async def test_each_output_has_its_copies_and_what_is_no_picture_has_a_sidecar_only(service):
    """Two pictures of one request: a suffix, or the number in the template. A text has a sidecar."""
    sheet = {"id": "s", "prompt": "a mug", "model": "emulator/contact-sheet/text-to-image", "count": 2}
    kit = {"id": "k", "prompt": "a kit", "model": "emulator/kit/text-to-image"}
    numbered = {"file": "n{{ output }}/{{ job.id }}.png"}
    report = await service.run(service.manifest(sheet, kit, copies=[WEB, numbered], sidecar="json", defaults={}))
    found = service.files()
    assert {"web/s.jpg", "web/s-2.jpg", "n1/s.png", "n2/s.png"} <= set(found)
    originals = [output.path for job_id in "sk" for output in service.record(job_id).outputs]
    assert len(originals) >= 4
    assert {f"{path}.json" for path in originals} <= set(found)
    assert report.copies_failed == 0


async def test_a_sidecar_says_how_a_picture_was_made(service):
    """Prompt, inputs, model, request, cost and hash stand beside the picture; with another cost it is written anew."""
    await service.run(service.manifest(mug(), sidecar="json"))
    found = json.loads((service.output / "mug.png.json").read_bytes())
    record = service.record("mug")
    assert (found["prompt"], found["inputs"], found["model"]) == ("a mug", record.inputs, record.model)
    assert (found["request_id"], found["cost_usd"]) == (record.request_id, record.cost_usd)
    assert found["sha256"] == hashlib.sha256((service.output / "mug.png").read_bytes()).hexdigest()
    assert (await remake(service, mug(), sidecar="json")).made == 0
    assert (await remake(service, mug(sidecar="none"), sidecar="json")).made == 0


async def test_a_renamed_job_keeps_its_copies_or_gets_them_under_the_new_name(service):
    """The name of a copy is the manifest's: what no longer has a name there stays, and belongs to nobody."""
    await service.run(service.manifest(mug(), copies=[WEB]))
    report = await service.run(service.manifest({"id": "cup", "prompt": "a mug"}, copies=[WEB]))
    assert (report.skipped, report.copies, report.copies_failed, service.submissions) == (1, 1, 0, 1)
    assert set(recorded(service, "cup")) == {"web/cup.jpg", "web/mug.jpg"}


async def test_a_manifest_with_a_wrong_copy_buys_nothing(service):
    """Two copies under one name are told before anything is bought."""
    with pytest.raises(ManifestError, match=r"the copy `web/mug\.jpg` is also that of the job"):
        service.manifest(mug(), copies=[WEB, WEB])
    assert service.submissions == 0


async def test_verify_knows_copies_and_a_repair_makes_them_again(service):
    """An altered copy is kept beside, a missing one is made; the original stays, and nothing is bought."""
    manifest = service.manifest(mug(), copies=[WEB, THUMB], sidecar="json")
    await service.run(manifest)
    assert verified(service).wrong == ()
    assert verified(service).checked == 4
    (service.output / "web/mug.jpg").write_bytes(b"mine")
    (service.output / "thumb/mug.webp").unlink()
    found = {finding.path: (finding.kind.value, finding.copy) for finding in verified(service).wrong}
    assert found == {"web/mug.jpg": ("truncated", True), "thumb/mug.webp": ("missing", True)}
    original = (service.output / "mug.png").stat().st_ino
    done = await operations.repair(
        Folder(service.output), manifest=service.manifest(mug(), copies=[WEB, THUMB], sidecar="json"),
        environ=service.environ, clock=LoopClock(),
    )  # fmt: skip
    assert done.after.wrong == ()
    assert (service.output / "web/mug.jpg.altered").read_bytes() == b"mine"
    assert (service.output / "mug.png").stat().st_ino == original
    assert service.submissions == 1


async def test_without_the_manifest_a_repair_leaves_copies_as_they_are(service):
    """The recipes are in the manifest: a changed copy is told, and stays."""
    await service.run(service.manifest(mug(), copies=[WEB]))
    (service.output / "web/mug.jpg").write_bytes(b"mine")
    done = await operations.repair(Folder(service.output), environ=service.environ, clock=LoopClock())
    assert [finding.path for finding in done.after.wrong] == ["web/mug.jpg"]
    assert (service.output / "web/mug.jpg").read_bytes() == b"mine"


async def test_a_copy_that_is_wanted_no_more_and_deleted_is_forgotten(service):
    """Taken out of the manifest and deleted: after the next run ``verify`` does not ask for it."""
    await service.run(service.manifest(mug(), copies=[WEB, THUMB]))
    (service.output / "web/mug.jpg").unlink()
    assert len(verified(service).wrong) == 1
    await service.run(service.manifest(mug(), copies=[THUMB]))
    assert verified(service).wrong == ()
    assert set(recorded(service)) == {"thumb/mug.webp"}
