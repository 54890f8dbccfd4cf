"""Files against their records: what is wrong is named, and put right without buying anything."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import normalize

import pytest
from support.harness import plain
from support.virtual_time import LoopClock

from runner.core.models import State
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.engine.maintenance.verify import FindingKind, VerifyReport, check
from runner.ledger import open_reader
from runner.ledger.records import encode

if TYPE_CHECKING:
    from support.harness import Service

    from runner.engine.maintenance.repair_files import RepairResult

pytestmark = pytest.mark.anyio


def look(service: Service) -> VerifyReport:
    folder = operations.Folder(service.output)
    with open_reader(folder.root) as ledger:
        return check(ledger, folder)


def named(found: VerifyReport) -> dict[str, str]:
    return {finding.path: finding.kind.value for finding in found.wrong}


async def repair(service: Service) -> RepairResult:
    return await operations.repair(operations.Folder(service.output), clock=LoopClock(), environ=service.environ)


def flip(path) -> bytes:
    """Another byte in the middle; returns what the file holds then."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    return bytes(body)


def swap(service: Service, one: str, other: str) -> None:
    first, second = service.output / one, service.output / other
    body = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(body)


def everything(service: Service) -> dict[str, bytes]:
    return {path: (service.output / path).read_bytes() for path in service.files()}


def damage(service: Service) -> None:
    """``a`` altered, ``b`` truncated, ``c`` deleted, ``d`` and ``e`` swapped; ``f`` stays."""
    flip(service.output / "a.png")
    body = (service.output / "b.png").read_bytes()
    (service.output / "b.png").write_bytes(body[:-30])
    (service.output / "c.png").unlink()
    swap(service, "d.png", "e.png")


async def test_a_folder_that_is_right_has_nothing_to_say(service):
    """Every file is looked at, and nothing is found or changed."""
    await service.run(jobs=3)
    found = look(service)
    assert (found.checked, found.ok, found.wrong) == (3, 3, ())


async def test_flipped_truncated_deleted_and_swapped_are_all_named(service):
    """Each by what happened to it; of swapped files both, with what each holds."""
    await service.run(jobs=6)
    damage(service)
    before = everything(service)
    found = look(service)
    assert named(found) == {
        "a.png": "altered",
        "b.png": "truncated",
        "c.png": "missing",
        "d.png": "swapped",
        "e.png": "swapped",
    }
    assert (found.checked, found.ok) == (6, 1)
    owners = {finding.path: finding.belongs_to for finding in found.of(FindingKind.SWAPPED)}
    assert [(owners[path].id, owners[path].path) for path in ("d.png", "e.png")] == [("e", "e.png"), ("d", "d.png")]
    assert everything(service) == before


async def test_repair_restores_all_of_it_without_a_purchase(service):
    """Swapped files are renamed back, the others fetched again; the altered bytes are kept beside them."""
    await service.run(jobs=6)
    right = everything(service)
    damage(service)
    altered, truncated = ((service.output / name).read_bytes() for name in ("a.png", "b.png"))
    served = service.emulator.stats["calls"]["file"]
    done = await repair(service)
    assert (done.after.wrong, done.failed) == ((), {})
    assert sorted(done.repaired) == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert done.kept == ["a.png.altered", "b.png.altered"]
    assert everything(service) == {**right, "a.png.altered": altered, "b.png.altered": truncated}
    assert service.submissions == 6
    assert service.emulator.stats["calls"]["file"] == served + 3, "swapped files are not fetched"
    assert (await service.run(jobs=6)).skipped == 6


async def test_repair_of_what_is_right_changes_nothing(service):
    """Not a line, not a file."""
    await service.run(jobs=2)
    before = everything(service), service.lines()
    done = await repair(service)
    assert (done.repaired, done.kept, done.after.wrong) == ([], [], ())
    assert (everything(service), service.lines()) == before


async def test_an_altered_file_never_takes_the_place_of_an_earlier_one(service):
    """`.altered`, `.altered-2`: what a person made of a picture is nobody's to delete."""
    await service.run()
    one = flip(service.output / "a.png")
    await repair(service)
    (service.output / "a.png").write_bytes(b"painted over")
    await repair(service)
    assert service.files() == ["a.png", "a.png.altered", "a.png.altered-2"]
    assert (service.output / "a.png.altered").read_bytes() == one
    assert (service.output / "a.png.altered-2").read_bytes() == b"painted over"


async def test_pictures_that_no_record_names_are_foreign(service):
    """Other files, and `runner`'s own, are nobody's business; repair leaves the foreign ones where they are."""
    await service.run()
    for path in ("mine.PNG", "scan.tif", "shop/clip.mp4", "notes.txt", "a.psd", ".runner/x.png"):
        (service.output / path).parent.mkdir(exist_ok=True)
        (service.output / path).write_bytes(b"x")
    assert named(look(service)) == dict.fromkeys(("mine.PNG", "scan.tif", "shop/clip.mp4"), "foreign")
    done = await repair(service)
    assert (done.repaired, done.failed) == ([], {})
    assert named(done.after) == dict.fromkeys(("mine.PNG", "scan.tif", "shop/clip.mp4"), "foreign")


async def test_a_name_that_a_disk_composes_otherwise_is_not_foreign(service):
    """A folder that was on a Mac has `é` as two characters: its pictures are nobody else's for that."""
    await service.run(service.manifest({"id": "é", "prompt": "a mug"}))
    (service.output / "é.png").rename(service.output / normalize("NFD", "é.png"))
    assert FindingKind.FOREIGN not in named(look(service)).values()


async def test_what_the_api_no_longer_has_stays_reported(service):
    """Altered, and gone at the API: the altered version is kept, the record stays done, the picture is missing."""
    await service.run()
    flip(service.output / "a.png")
    service.fault(InjectedFault(on="file", kind="status", status=404), InjectedFault(on="result", kind="forget"))
    done = await repair(service)
    assert named(done.after) == {"a.png": "missing"}
    assert "unavailable, both in the storage and at the API" in done.failed["a.png"]
    assert (service.record().state, service.submissions) == (State.DONE, 1)
    assert service.files() == ["a.png.altered"]


async def test_a_copy_over_another_picture_is_named_and_undone(service):
    """`b` was copied over `a`: b's bytes are not needed twice and are kept as altered; `a` is fetched."""
    await service.run(jobs=2)
    right = everything(service)
    (service.output / "a.png").write_bytes(right["b.png"])
    (finding,) = look(service).wrong
    assert (finding.kind, finding.path, finding.belongs_to.id) == (FindingKind.SWAPPED, "a.png", "b")
    assert (await repair(service)).after.wrong == ()
    assert everything(service) == {**right, "a.png.altered": right["b.png"]}


async def test_three_files_in_a_ring_and_a_move(service):
    """a holds b, b holds c, c holds a; d stands under e's name and e is gone."""
    await service.run(jobs=5)
    right = everything(service)
    for path, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (service.output / f"{path}.png").write_bytes(right[f"{other}.png"])
    (service.output / "d.png").replace(service.output / "e.png")
    assert named(look(service)) == {
        **dict.fromkeys(("a.png", "b.png", "c.png", "e.png"), "swapped"),
        "d.png": "missing",
    }
    served = service.emulator.stats["calls"]["file"]
    assert (await repair(service)).after.wrong == ()
    assert everything(service) == right
    assert service.emulator.stats["calls"]["file"] == served + 1


async def test_files_set_aside_are_checked_and_brought_back_too(service):
    """What a newer purchase replaced is paid as well; gone, it is nobody's loss."""
    job = {"id": "mug", "prompt": "a mug"}
    await service.run(service.manifest(job))
    await service.run(service.manifest({**job, "prompt": "a green mug"}))
    right = everything(service)
    aside = service.output / ".replaced/mug/1/mug.png"
    bad = flip(aside)
    assert named(look(service)) == {".replaced/mug/1/mug.png": "altered"}
    done = await repair(service)
    assert (done.after.wrong, done.failed) == ((), {})
    assert everything(service) == {**right, ".replaced/mug/1/mug.png.altered": bad}
    aside.unlink()
    assert look(service).wrong == ()
    assert service.submissions == 2


async def test_an_old_picture_put_in_the_place_of_the_new_one_is_swapped(service):
    """Somebody copied the replaced version back: it is named as what it is, and the right one returns."""
    job = {"id": "mug", "prompt": "a mug"}
    await service.run(service.manifest(job))
    await service.run(service.manifest({**job, "prompt": "a green mug"}))
    right = everything(service)
    (service.output / ".replaced/mug/1/mug.png").replace(service.output / "mug.png")
    (finding,) = look(service).wrong
    assert (finding.kind, finding.purchase, finding.belongs_to.purchase) == (FindingKind.SWAPPED, 2, 1)
    assert (await repair(service)).after.wrong == ()
    assert everything(service) == right


async def test_rejected_pictures_are_checked(make_service):
    """They are paid and wait for a word; an altered one is kept apart, and the next delivery fetches it."""
    service = await make_service(sizes="round16")
    await service.run(service.manifest({"id": "a", "prompt": "x", "size": "100x100"}, strict_size=True))
    flip(service.output / ".rejected/a/1/a.png")
    assert named(look(service)) == {".rejected/a/1/a.png": "altered"}
    assert (await repair(service)).after.wrong == ()
    assert service.files() == [".rejected/a/1/a.png.altered"]
    assert (await service.run(service.manifest({"id": "a", "prompt": "x", "size": "100x100"}))).done == 1
    assert service.submissions == 1


async def test_what_is_owed_is_no_missing_file(service):
    """Its files are not promised yet."""
    service.fault(InjectedFault(on="file", kind="status", status=500))
    await service.run(service.manifest(*plain(2), retries=0))
    found = look(service)
    assert (found.checked, found.wrong) == (0, ())


async def test_another_apis_files_are_put_right_from_here_only(make_service):
    """They are checked and moved back; what would have to be fetched is left to its own API, and said."""
    one, other = await make_service(), await make_service()
    await one.run(one.manifest(*plain(3)))
    swap(one, "a.png", "b.png")
    (one.output / "c.png").unlink()
    done = await repair(other)
    assert named(done.after) == {"c.png": "missing"}
    assert "another API" in done.failed["c.png"]
    assert other.emulator.stats["calls"].get("file", 0) == 0


async def test_a_crash_in_the_middle_of_a_repair_loses_nothing(service):
    """Swapped files that were moved away and not yet back are found where replaced files lie, by a run as well."""
    await service.run(jobs=2)
    right = everything(service)
    swap(service, "a.png", "b.png")
    folder = operations.Folder(service.output)
    with open_reader(folder.root) as ledger:
        records = {record.id: record for record in ledger.latest()}
    folder.restore_file(records["b"], records["b"].outputs[0], "a.png")
    assert service.files() == [".replaced/b/1/b.png", "b.png"]
    assert named(look(service)) == {"a.png": "missing", "b.png": "swapped"}
    served = service.emulator.stats["calls"]["file"]
    assert (await repair(service)).after.wrong == ()
    assert everything(service) == right
    assert service.emulator.stats["calls"]["file"] == served


async def test_a_missing_file_is_taken_from_where_it_was_set_aside(service):
    """Its bytes are here: nothing is fetched."""
    await service.run()
    right = everything(service)
    aside = service.output / ".replaced/a/1"
    aside.mkdir(parents=True)
    (service.output / "a.png").rename(aside / "a.png")
    assert named(look(service)) == {"a.png": "missing"}
    served = service.emulator.stats["calls"]["file"]
    assert (await repair(service)).after.wrong == ()
    assert everything(service) == right
    assert service.emulator.stats["calls"]["file"] == served


async def test_a_job_that_left_its_place_to_another_is_not_wrong(service):
    """`mug` is gone from the manifest, `cup` writes to mug.png: that file is cup's by right, and repair leaves it."""
    await service.run(service.manifest({"id": "mug", "prompt": "a mug"}))
    await service.run(service.manifest({"id": "cup", "prompt": "a cup", "file": "mug"}))
    before = everything(service)
    assert (look(service).wrong, look(service).ok) == ((), 2)
    await repair(service)
    assert everything(service) == before
    (service.output / ".replaced/mug/1/mug.png").unlink()
    assert look(service).wrong == ()


async def test_links_out_of_the_folder_are_not_followed_for_writing(service, tmp_path):
    """A folder that was replaced by a link elsewhere: reported, and nothing is written there."""
    await service.run(service.manifest({"id": "mug", "prompt": "x", "file": "shop/mug"}))
    elsewhere = tmp_path / "elsewhere"
    (service.output / "shop").rename(elsewhere)
    flip(elsewhere / "mug.png")
    (service.output / "shop").symlink_to(elsewhere)
    done = await repair(service)
    assert named(done.after) == {"shop/mug.png": "altered"}
    assert "by a link" in done.failed["shop/mug.png"]
    assert [path.name for path in elsewhere.iterdir()] == ["mug.png"]


async def test_a_mended_log_buys_nothing_again(service):
    """Damage in the results manifest, mended: the run collects or holds, and submits only what was never submitted."""
    await service.run(jobs=3)
    results = service.output / "results.jsonl"
    records = service.lines()
    lines = [encode(record) for record in records]
    last = max(number for number, record in enumerate(records) if record.id == "b")
    lines[last] = lines[last].replace(b'"state"', b"\xff\xff\xff\xff")
    results.write_bytes(b"".join(lines))
    (mended,) = operations.repair_log(
        operations.Folder(service.output), operations.RunOptions(), environ=service.environ
    )
    found, copy = mended.found, mended.copy
    assert copy is not None
    assert [damage.line for damage in found.damages] == [last + 1]
    report = await service.run(jobs=3)
    assert service.submissions == 3
    assert (report.done, report.skipped, report.unknown) in ((1, 2, 0), (0, 3, 0), (0, 2, 1))
