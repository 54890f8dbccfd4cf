"""Putting files in place: never over another's, never losing a paid one, and again after a crash at any point."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import pytest

from runner.core.disk import hash_file
from runner.core.errors import OutputError
from runner.core.models import Output, Record, State
from runner.files import folder_reader, renames
from runner.files.errors import FileMoved, PathOccupied
from runner.files.output_folder import Folder, IncomingFile
from runner.files.record_paths import archive_path, paths_of
from runner.files.renames import move


def output_of(path: str | None, body: bytes, **changes: Any) -> Output:
    digest = hashlib.sha256(body).hexdigest()
    return Output(url="https://x.runcomfy.net/0.png", path=path, bytes=len(body), sha256=digest, **changes)


def purchase(number: int, *outputs: Output, state: State = State.DONE, **changes: Any) -> Record:
    fields: dict[str, Any] = {"id": "mug", "at": "", "api": "api", "manifest": "-", "model": "a/b", "inputs": {}}
    fields |= {"fingerprint": f"sha256:{number}", "file": "mug", "request_id": f"r{number}"}
    return Record(purchase=number, state=state, outputs=outputs, **{**fields, **changes})


class Desk:
    """An output folder, and the two or three steps that deliveries take in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = Folder(root)
        self.folder.prepare()
        self.arrived = 0

    def arrive(self, path: str, body: bytes) -> IncomingFile:
        """A downloaded file that waits for its name."""
        self.arrived += 1
        source = self.folder.incoming / str(self.arrived)
        source.write_bytes(body)
        return IncomingFile(source=source, output=output_of(path, body))

    def deliver(self, number: int, body: bytes, *older: Record, path: str = "mug.png", **changes: Any) -> Record:
        """Bring one picture of a purchase home, and return it done."""
        arrival = self.arrive(path, body)
        record = purchase(number, arrival.output, state=State.GENERATED, **changes)
        self.folder.place(record, [arrival], [*older, record])
        return msgspec.structs.replace(record, state=State.DONE)

    def redeliver(self, record: Record, *older: Record) -> None:
        """What the next run does with a purchase that was recorded as about to be renamed."""
        self.folder.prepare()
        (output,) = record.outputs
        found = self.folder.find_checked(record, output)
        if found is not None:
            arrival = IncomingFile(source=self.folder.path(found), output=output)
        else:
            arrival = self.arrive("mug.png", BODIES[record.purchase])
        self.folder.place(record, [arrival], [*older, record])

    def files(self) -> dict[str, bytes]:
        """Every file outside the runner's own folder, and its bytes."""
        found = (path for path in sorted(self.root.rglob("*")) if path.is_file())
        names = {path.relative_to(self.root).as_posix(): path.read_bytes() for path in found}
        return {name: body for name, body in names.items() if not name.startswith(".runner/")}


@pytest.mark.parametrize("way", ["place", "archive_arrivals", "reject"])
def test_a_new_name_is_flushed(tmp_path: Path, flushes: list[tuple[int, set[str]]], way: str) -> None:
    """The name is on the disk before anyone says done: power may fail in between. The bytes were flushed before."""
    desk = Desk(tmp_path)
    arrival = desk.arrive("cups/mug.png", b"one")
    record = purchase(1, arrival.output, state=State.GENERATED)
    getattr(desk.folder, way)(record, [arrival], *([[record]] if way == "place" else []))
    (name,) = desk.files()
    folder = (tmp_path / name).parent.stat().st_ino
    assert any(found == folder and name in names for found, names in flushes)


BODIES = {1: b"one", 2: b"two", 3: b"three"}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "output")


def test_an_arrival_gets_its_name_and_leaves_nothing_behind(desk: Desk) -> None:
    """In a folder of its own, made for it."""
    record = desk.deliver(1, b"one", path="a/b/mug.png")
    assert desk.files() == {"a/b/mug.png": b"one"}
    assert list(desk.folder.incoming.iterdir()) == []
    assert desk.folder.present(record)


@pytest.mark.parametrize("kind", ["file", "equal length", "folder", "link", "dangling link"])
def test_a_foreign_file_is_never_overwritten(desk: Desk, kind: str, tmp_path: Path) -> None:
    """Whatever stands there stays as it is, and so does the paid picture."""
    target = desk.root / "mug.png"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"theirs")
    if kind == "folder":
        target.mkdir()
    elif kind.endswith("link"):
        target.symlink_to(tmp_path / "nowhere" if kind == "dangling link" else elsewhere)
    else:
        target.write_bytes(b"two" if kind == "equal length" else b"theirs")
    before = os.lstat(target)
    arrival = desk.arrive("mug.png", b"one")
    record = purchase(1, arrival.output, state=State.GENERATED)
    with pytest.raises(PathOccupied, match=r"mug\.png is not the runner's and is in the way.*The picture is paid"):
        desk.folder.place(record, [arrival], [record])
    after = os.lstat(target)
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
    assert arrival.source.read_bytes() == b"one"
    assert elsewhere.read_bytes() == b"theirs"


@pytest.fixture
def linkless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no links, as memory cards and some shared folders."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("linkless")
def test_files_get_their_names_and_replace_none_where_there_are_no_links(desk: Desk) -> None:
    """What was placed already is known again there, and a stranger's file stays."""
    arrival = desk.arrive("mug.png", b"one")
    record = purchase(1, arrival.output, state=State.GENERATED)
    for source in (arrival, desk.arrive("mug.png", b"one")):
        desk.folder.place(record, [source], [record])
        assert desk.files() == {"mug.png": b"one"}
    other = desk.arrive("mug.png", b"two")
    with pytest.raises(PathOccupied, match="not the runner's and is in the way"):
        desk.folder.place(purchase(2, other.output, state=State.GENERATED), [other], [])
    assert desk.files() == {"mug.png": b"one"}


def test_a_picture_gets_its_name_while_another_jobs_long_file_is_moved(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading through a film of gigabytes that is replaced keeps nobody else waiting."""
    first = desk.deliver(1, b"one", path="film.mp4")
    reading, go_on = Event(), Event()

    def slow(path: Path) -> str:
        reading.set()
        assert go_on.wait(60)
        return hash_file(path)

    monkeypatch.setattr(folder_reader, "hash_file", slow)
    mover = Thread(target=desk.deliver, args=(2, b"two", first), kwargs={"path": "film.mp4"})
    quick = Thread(target=desk.deliver, args=(1, b"mug"), daemon=True)
    mover.start()
    assert reading.wait(60)
    quick.start()
    quick.join(30)
    waited = quick.is_alive()
    go_on.set()
    mover.join(60)
    assert not waited
    assert desk.files() == {"film.mp4": b"two", ".replaced/mug/1/film.mp4": b"one", "mug.png": b"mug"}


def test_a_new_purchases_picture_takes_the_place_of_the_old_one(desk: Desk) -> None:
    """The old file moves to ``.replaced/<id>/<purchase>/`` and can be found there."""
    first = desk.deliver(1, b"one", path="x/mug.png")
    second = desk.deliver(2, b"two", first, path="x/mug.png")
    third = desk.deliver(3, b"three", first, second, path="x/mug.jpg")
    assert desk.files() == {
        "x/mug.jpg": b"three",
        ".replaced/mug/1/mug.png": b"one",
        ".replaced/mug/2/mug.png": b"two",
    }
    for record in (first, second, third):
        assert desk.folder.present(record)
    assert desk.folder.find_checked(first, first.outputs[0]) == archive_path(first, "x/mug.png")
    assert desk.folder.displaced(first)
    assert not desk.folder.displaced(third)


def test_several_outputs_are_set_aside_and_placed_together(desk: Desk) -> None:
    """A purchase of two pictures replaces one of two."""
    done = []
    for number, bodies in ((1, (b"a", b"b")), (2, (b"c", b"d"))):
        arrivals = [desk.arrive(f"mug{n}.png", body) for n, body in enumerate(bodies)]
        record = purchase(number, *[arrival.output for arrival in arrivals])
        desk.folder.place(record, arrivals, [*done, record])
        done.append(record)
    assert desk.files() == {
        "mug0.png": b"c",
        "mug1.png": b"d",
        ".replaced/mug/1/mug0.png": b"a",
        ".replaced/mug/1/mug1.png": b"b",
    }


# What a person altered


def test_a_file_retouched_by_hand_makes_room_and_is_kept(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """The new paid picture is not blocked for ever, the person's work is not lost, and it is said."""
    first = desk.deliver(1, b"one")
    (desk.root / "mug.png").write_bytes(b"one, retouched")
    desk.deliver(2, b"two", first)
    assert desk.files() == {"mug.png": b"two", "mug.png.altered": b"one, retouched"}
    assert "mug.png was changed by hand; that version is kept as mug.png.altered" in caplog.text


def test_retouched_files_never_replace_each_other(desk: Desk) -> None:
    """The next free name is taken; a link or folder of that name is not free either."""
    done = [desk.deliver(1, b"one")]
    (desk.root / "mug.png.altered-2").symlink_to("nowhere")
    for number in (2, 3, 4):
        (desk.root / "mug.png").write_bytes(b"retouched %d" % number)
        done.append(desk.deliver(number, BODIES.get(number, b"four"), *done))
    assert desk.files() == {
        "mug.png": b"four",
        "mug.png.altered": b"retouched 2",
        "mug.png.altered-3": b"retouched 3",
        "mug.png.altered-4": b"retouched 4",
    }


def test_a_retouched_file_that_is_not_in_the_way_stays_where_it_is(desk: Desk) -> None:
    """The new picture has another name, so nothing needs to move."""
    first = desk.deliver(1, b"one")
    (desk.root / "mug.png").write_bytes(b"retouched")
    desk.deliver(2, b"two", first, path="mug.jpg")
    assert desk.files() == {"mug.png": b"retouched", "mug.jpg": b"two"}


def test_a_file_that_only_this_purchase_names_is_foreign(desk: Desk) -> None:
    """Its record says where the picture shall go, not that what stands there is ours; nor does one that failed."""
    (desk.root / "mug.png").write_bytes(b"theirs")
    failed = purchase(1, output_of("mug.png", b"one"), state=State.FAILED)
    with pytest.raises(PathOccupied):
        desk.deliver(2, b"two", failed)
    assert desk.files() == {"mug.png": b"theirs"}


def test_a_folder_in_place_of_our_file_is_foreign(desk: Desk) -> None:
    """Only files are set aside."""
    first = desk.deliver(1, b"one")
    (desk.root / "mug.png").unlink()
    (desk.root / "mug.png").mkdir()
    with pytest.raises(PathOccupied):
        desk.deliver(2, b"two", first)
    assert (desk.root / "mug.png").is_dir()


# The same bytes twice


def test_the_same_picture_bought_twice_is_there_for_both(desk: Desk) -> None:
    """Each purchase has a file of its own, so that moving one does not lose the other."""
    first = desk.deliver(1, b"same")
    second = desk.deliver(2, b"same", first)
    assert desk.files() == {"mug.png": b"same", ".replaced/mug/1/mug.png": b"same"}
    third = desk.deliver(3, b"three", first, second)
    assert desk.files() == {
        "mug.png": b"three",
        ".replaced/mug/1/mug.png": b"same",
        ".replaced/mug/2/mug.png": b"same",
    }
    assert all(desk.folder.find_checked(one, one.outputs[0]) for one in (first, second, third))


@pytest.mark.parametrize("set_aside", [False, True])
def test_the_same_picture_found_in_place_after_a_crash_serves_both(desk: Desk, set_aside: bool) -> None:
    """The file at the path is the new purchase's as much as the old one's: it stays, and the old one has a copy."""
    first = desk.deliver(1, b"same")
    if set_aside:
        (desk.root / ".replaced/mug/1").mkdir(parents=True)
        (desk.root / ".replaced/mug/1/mug.png").write_bytes(b"same")
    second = purchase(2, first.outputs[0], state=State.GENERATED)
    for _ in range(3):
        found = desk.folder.find_checked(second, second.outputs[0])
        assert found == "mug.png"
        arrival = IncomingFile(source=desk.folder.path(found), output=second.outputs[0])
        desk.folder.place(second, [arrival], [first, second])
        assert desk.files() == {"mug.png": b"same", ".replaced/mug/1/mug.png": b"same"}
    assert (desk.root / "mug.png").stat().st_ino != (desk.root / ".replaced/mug/1/mug.png").stat().st_ino


def test_an_old_picture_copied_back_by_hand_makes_room(desk: Desk) -> None:
    """Its bytes are safe where it was set aside, so the copy needs no name of its own."""
    first = desk.deliver(1, b"one")
    second = desk.deliver(2, b"two", first)
    (desk.root / "mug.png").unlink()
    shutil.copy(desk.root / ".replaced/mug/1/mug.png", desk.root / "mug.png")
    desk.deliver(3, b"three", first, second)
    assert desk.files() == {"mug.png": b"three", ".replaced/mug/1/mug.png": b"one"}


def test_a_file_in_its_place_is_not_displaced_by_a_copy(desk: Desk) -> None:
    """Copies set aside by hand do not make a run restore what is there."""
    first = desk.deliver(1, b"one")
    (desk.root / ".replaced/mug/1").mkdir(parents=True)
    shutil.copy(desk.root / "mug.png", desk.root / ".replaced/mug/1/mug.png")
    assert not desk.folder.displaced(first)


def test_another_jobs_file_of_equal_bytes_is_not_removed(desk: Desk) -> None:
    """A path that this job had once may be another's by now; only what is in the way makes room."""
    first = desk.deliver(1, b"same", path="x.png")
    second = desk.deliver(2, b"two", first)
    desk.deliver(1, b"same", path="x.png", id="tote")
    desk.deliver(3, b"three", first, second)
    assert desk.files()["x.png"] == b"same"


def test_where_every_name_aside_is_taken_nothing_is_overwritten(desk: Desk) -> None:
    """It is said which file is in the way, and all stay as they are."""
    first = desk.deliver(1, b"one")
    names = ["mug.png", f"mug.{hashlib.sha256(b'one').hexdigest()[:8]}.png"]
    (desk.root / ".replaced/mug/1").mkdir(parents=True)
    for name in names:
        (desk.root / ".replaced/mug/1" / name).write_bytes(b"theirs")
    before = desk.files()
    with pytest.raises(PathOccupied, match=r"\.replaced/mug/1/.*is not the runner's"):
        desk.deliver(2, b"two", first)
    second = purchase(2, first.outputs[0], state=State.GENERATED)
    arrival = IncomingFile(source=desk.root / "mug.png", output=first.outputs[0])
    with pytest.raises(PathOccupied):
        desk.folder.place(second, [arrival], [first, second])
    assert desk.files() == before


def test_a_foreign_file_where_ours_is_set_aside_keeps_its_name(desk: Desk) -> None:
    """Ours takes one that holds part of its hash, and is found there."""
    first = desk.deliver(1, b"one")
    (desk.root / ".replaced/mug/1").mkdir(parents=True)
    (desk.root / ".replaced/mug/1/mug.png").write_bytes(b"theirs")
    desk.deliver(2, b"two", first)
    other = f".replaced/mug/1/mug.{hashlib.sha256(b'one').hexdigest()[:8]}.png"
    assert desk.files() == {"mug.png": b"two", ".replaced/mug/1/mug.png": b"theirs", other: b"one"}
    assert desk.folder.find_checked(first, first.outputs[0]) == other


def test_a_renamed_job_finds_what_was_set_aside_under_its_old_id(desk: Desk) -> None:
    """Taking records over does not move files."""
    first = desk.deliver(1, b"one")
    desk.deliver(2, b"two", first)
    renamed = msgspec.structs.replace(first, id="cup", renamed_from="mug")
    assert desk.folder.present(renamed)
    assert desk.folder.find_checked(renamed, renamed.outputs[0]) == ".replaced/mug/1/mug.png"


# A crash at any point


def states(desk: Desk) -> dict[str, dict[str, bytes]]:
    """What may stand in the folder when the process dies while purchase 2 replaces purchase 1."""
    aside = ".replaced/mug/1/mug.png"
    return {
        "recorded": {"mug.png": b"one"},
        "aside linked": {"mug.png": b"one", aside: b"one"},
        "aside moved": {aside: b"one"},
        "placed": {aside: b"one", "mug.png": b"two"},
    }


@pytest.mark.parametrize("state", ["recorded", "aside linked", "aside moved", "placed"])
@pytest.mark.parametrize("temporary", [False, True])
def test_placing_goes_on_after_a_crash_at_any_point(desk: Desk, state: str, temporary: bool) -> None:
    """Whatever was done, the same steps again end in the same state; and once more changes nothing."""
    first = desk.deliver(1, b"one")
    second = purchase(2, output_of("mug.png", b"two"), state=State.GENERATED)
    (desk.root / "mug.png").unlink()
    for name, body in states(desk)[state].items():
        (desk.root / name).parent.mkdir(parents=True, exist_ok=True)
        (desk.root / name).write_bytes(body)
    if state == "aside linked":
        (desk.root / "mug.png").unlink()
        os.link(desk.root / ".replaced/mug/1/mug.png", desk.root / "mug.png")
    if temporary:
        (desk.folder.incoming / "left").write_bytes(b"two")
    for _ in range(2):
        desk.redeliver(second, first)
        assert desk.files() == {"mug.png": b"two", ".replaced/mug/1/mug.png": b"one"}
        assert list(desk.folder.incoming.iterdir()) == []


def test_a_name_given_and_not_yet_taken_from_the_source_is_no_stranger(desk: Desk) -> None:
    """A crash between the two steps of a rename leaves both names; the second is dropped."""
    arrival = desk.arrive("mug.png", b"one")
    os.link(arrival.source, desk.root / "mug.png")
    record = purchase(1, arrival.output, state=State.GENERATED)
    desk.folder.place(record, [arrival], [record])
    assert desk.files() == {"mug.png": b"one"}
    assert not arrival.source.exists()


def test_files_are_taken_back_and_put_aside_in_one_go(desk: Desk) -> None:
    """Inputs edited back: purchase 3 takes the files of purchase 1, and those of 2 make room; also when repeated."""
    first = desk.deliver(1, b"one")
    second = desk.deliver(2, b"two", first)
    moved_from = archive_path(first, "mug.png")
    output = output_of("mug.png", b"one", moved_from=moved_from)
    third = purchase(3, output, state=State.GENERATED, restored_from=1)
    for _ in range(2):
        found = desk.folder.find_checked(third, output)
        assert found is not None
        desk.folder.place(third, [IncomingFile(source=desk.folder.path(found), output=output)], [first, second, third])
        assert desk.files()["mug.png"] == b"one"
        assert desk.files()[".replaced/mug/2/mug.png"] == b"two"


def test_a_job_that_gets_another_file_name_moves_its_file(desk: Desk) -> None:
    """Its own older path is no older purchase."""
    first = desk.deliver(1, b"one")
    output = output_of("cups/mug.png", b"one", moved_from="mug.png")
    moved = purchase(1, output, state=State.GENERATED)
    found = desk.folder.find_checked(moved, output)
    assert found == "mug.png"
    arrival = IncomingFile(source=desk.folder.path(found), output=output)
    for history in ([moved], [first]):
        desk.folder.place(moved, [arrival], history)
        assert desk.files() == {"cups/mug.png": b"one"}
        arrival = IncomingFile(source=desk.folder.path("cups/mug.png"), output=output)


def test_a_file_goes_into_a_folder_that_another_process_removes_as_empty(tmp_path: Path, monkeypatch) -> None:
    """Two shards: one makes a folder for its file while the other moves the last file out of that folder."""
    (tmp_path / "mug.png").write_bytes(b"one")
    make, removed = renames.make_folder, []

    def make_and_lose(folder: Path) -> None:
        make(folder)
        if folder.name == "b" and len(removed) < 2:
            renames.remove_emptied(folder, tmp_path)
            removed.append(folder.exists())

    monkeypatch.setattr(renames, "make_folder", make_and_lose)
    renames.move(tmp_path / "mug.png", tmp_path / "a" / "b" / "mug.png")
    assert removed == [False, False]
    assert (tmp_path / "a" / "b" / "mug.png").read_bytes() == b"one"


def test_only_empty_folders_below_the_output_folder_are_removed(tmp_path: Path) -> None:
    """Not the output folder itself, not what a link names, not what holds a hidden file."""
    root = tmp_path / "out"
    for name in ("a/b", "c/d", "inside"):
        (root / name).mkdir(parents=True)
    (root / "c" / ".keep").touch()
    (root / "link").symlink_to(root / "inside")
    for name in ("a/b", "c/d", "link", "gone/away", "."):
        renames.remove_emptied(root / name, root)
    assert sorted(path.name for path in root.iterdir()) == ["c", "inside", "link"]
    (root / "c" / ".keep").unlink()
    renames.remove_emptied(root / "c", root)
    renames.remove_emptied(tmp_path, root)
    assert root.is_dir()


# Links


def test_a_subfolder_that_links_outside_is_refused_and_stops_nobody_else(desk: Desk, tmp_path: Path) -> None:
    """Nothing is written out there; what lies there is seen; other jobs go on."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (desk.root / "x").symlink_to(outside)
    (outside / "mug.png").write_bytes(b"one")
    record = purchase(1, output_of("x/mug.png", b"one"))
    assert desk.folder.present(record)
    with pytest.raises(PathOccupied, match="leaves the output folder by a link"):
        desk.folder.find_checked(record, record.outputs[0])
    with pytest.raises(PathOccupied, match="leaves the output folder by a link"):
        desk.deliver(1, b"new", path="x/new.png")
    second = desk.deliver(2, b"two", record, path="y/mug.png")
    assert desk.folder.present(second)
    assert [path.name for path in outside.iterdir()] == ["mug.png"]


def test_a_subfolder_that_links_inside_is_as_good_as_any(desk: Desk) -> None:
    """Only leaving the output folder is refused."""
    (desk.root / "real").mkdir()
    (desk.root / "x").symlink_to("real")
    desk.deliver(1, b"one", path="x/mug.png")
    assert (desk.root / "real/mug.png").read_bytes() == b"one"


def reject(desk: Desk, record: Record) -> Record:
    outputs = desk.folder.reject(record, [desk.arrive("mug.png", b"two")])
    return msgspec.structs.replace(record, outputs=outputs)


@pytest.mark.parametrize("name", [".replaced", ".rejected"])
def test_folders_of_ours_that_link_outside_are_refused(desk: Desk, tmp_path: Path, name: str) -> None:
    """What is set aside stays in the output folder too."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (desk.root / name).symlink_to(outside)
    first = desk.deliver(1, b"one")
    with pytest.raises(PathOccupied, match="leaves the output folder by a link"):
        _ = desk.deliver(2, b"two", first) if name == ".replaced" else reject(desk, first)
    assert list(outside.iterdir()) == []
    assert desk.files()["mug.png"] == b"one"


def test_an_output_folder_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    """People keep results on another disk."""
    (tmp_path / "real").mkdir()
    (tmp_path / "output").symlink_to("real")
    Desk(tmp_path / "output").deliver(1, b"one", path="x/mug.png")
    assert (tmp_path / "real/x/mug.png").read_bytes() == b"one"


# The folder for temporary files


def test_a_link_planted_while_a_run_goes_on_lets_nothing_out(desk: Desk, tmp_path: Path) -> None:
    """Each file asks anew where it would go: a folder that was seen to be inside may have been swapped for a link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in (1, 2):  # by the second the folder is known
        desk.deliver(1, b"one", path=f"x/mug-{number}.png", id=f"mug-{number}")
    (desk.root / "x").rename(desk.root / "was-x")
    (desk.root / "x").symlink_to(outside)
    with pytest.raises(PathOccupied, match="leaves the output folder by a link"):
        desk.deliver(1, b"two", path="x/new.png", id="other")
    desk.folder.incoming.rename(tmp_path / "was-incoming")
    desk.folder.incoming.symlink_to(outside)
    with pytest.raises(OutputError, match="leaves the output folder by a link"):
        desk.folder.new_incoming_file()
    assert list(outside.iterdir()) == []


def test_a_link_planted_under_a_temporary_name_overwrites_nothing(desk: Desk, tmp_path: Path) -> None:
    """A copy is made under a name that nobody can foresee, and a crash in the middle of it leaves no litter."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"theirs")
    first = desk.deliver(1, b"same")
    aside = desk.root / ".replaced/mug/1"
    aside.mkdir(parents=True)
    (aside / "mug.png.tmp").symlink_to(theirs)
    second = purchase(2, first.outputs[0], state=State.GENERATED)
    arrival = IncomingFile(source=desk.root / "mug.png", output=first.outputs[0])
    desk.folder.place(second, [arrival], [first, second])
    assert theirs.read_bytes() == b"theirs"
    assert (aside / "mug.png").read_bytes() == b"same"
    assert list(desk.folder.incoming.iterdir()) == []


def test_nothing_is_made_elsewhere_before_a_link_is_refused(tmp_path: Path) -> None:
    """Not even an empty folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "output").mkdir()
    (tmp_path / "output/.runner").symlink_to(outside)
    with pytest.raises(OutputError, match="leaves the output folder by a link"):
        Folder(tmp_path / "output").prepare()
    assert list(outside.iterdir()) == []


def test_a_hash_that_is_none_is_no_part_of_a_path(desk: Desk, tmp_path: Path) -> None:
    """Where a file is set aside is made of what the record says; that cannot lead out of the job's own folder."""
    first = desk.deliver(1, b"one")
    hostile = msgspec.structs.replace(first.outputs[0], sha256="/../../x")
    places = paths_of(first, hostile)
    assert all(place == "mug.png" or place.startswith(".replaced/mug/1/mug.") for place in places)
    assert not [place for place in places if ".." in place]


def test_the_longest_name_can_be_replaced_and_set_apart(desk: Desk) -> None:
    """What is put behind a name for a file set aside does not make it longer than a disk takes."""
    name = "é" * 125 + ".webm"  # 255 bytes
    first = desk.deliver(1, b"one", path=name)
    (desk.root / name).write_bytes(b"retouched")
    second = desk.deliver(2, b"two", first, path=name)
    assert desk.folder.find_checked(second, second.outputs[0]) == name
    assert sorted(desk.files().values()) == [b"retouched", b"two"]
    third = desk.deliver(3, b"three", first, second, path=name)
    assert desk.files()[name] == b"three"
    assert b"two" in desk.files().values()
    assert desk.folder.find_checked(third, third.outputs[0]) == name
    assert len(os.fsencode(desk.folder.keep_altered(name))) <= 255


def test_preparing_empties_what_a_crash_left(desk: Desk) -> None:
    """Files and links go; a folder that somebody made is not the runner's and stays."""
    incoming = desk.folder.incoming
    (incoming / "half").write_bytes(b"x")
    (incoming / "link").symlink_to("nowhere")
    (incoming / "folder").mkdir()
    desk.folder.prepare()
    assert [path.name for path in incoming.iterdir()] == ["folder"]


def test_preparing_never_empties_a_folder_elsewhere(tmp_path: Path) -> None:
    """A link in its place is refused, and what it leads to is untouched."""
    outside = tmp_path / "photos"
    outside.mkdir()
    (outside / "holiday.jpg").write_bytes(b"x")
    (tmp_path / "output/.runner").mkdir(parents=True)
    (tmp_path / "output/.runner/incoming").symlink_to(outside)
    with pytest.raises(OutputError, match="leaves the output folder by a link"):
        Folder(tmp_path / "output").prepare()
    assert (outside / "holiday.jpg").exists()


def test_a_folder_that_cannot_be_made_is_an_error_of_the_output(tmp_path: Path) -> None:
    """It says which and why."""
    (tmp_path / "output").write_bytes(b"")
    with pytest.raises(OutputError, match=r"output/\.runner/incoming: cannot be read or written: Not a directory"):
        Folder(tmp_path / "output").prepare()


# A disk that refuses, and names that no disk takes


def test_what_concerns_one_file_is_no_error_of_the_disk(desk: Desk) -> None:
    """A file where a folder should be, and an arrival that is gone, concern one job and not the disk."""
    (desk.root / "x").write_bytes(b"")
    with pytest.raises(PathOccupied, match=rf"^{re.escape(str(desk.root / 'x'))} is in the way"):
        desk.deliver(1, b"one", path="x/mug.png")
    arrival = desk.arrive("mug.png", b"one")
    arrival.source.unlink()
    record = purchase(1, arrival.output)
    with pytest.raises(FileMoved, match="No such file"):
        desk.folder.place(record, [arrival], [record])


def test_a_folder_that_another_shard_makes_meanwhile_is_as_good(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards begin the same new folder at once: neither takes its own picture for gone."""
    link = os.link

    def late(source: Path, target: str, **how: bool) -> None:
        try:
            link(source, target, **how)
        except FileNotFoundError:
            Path(target).parent.mkdir()
            raise

    monkeypatch.setattr(os, "link", late)
    desk.deliver(1, b"one", path="cups/mug.png")
    assert desk.files() == {"cups/mug.png": b"one"}


def test_a_name_that_no_disk_takes_is_absent_and_an_error_of_the_output(desk: Desk) -> None:
    """A results manifest from another system may hold names that are too long here."""
    record = purchase(1, output_of("x" * 300 + ".png", b"one"))
    assert not desk.folder.present(record)
    with pytest.raises(OutputError, match="name too long"):
        desk.folder.find_checked(record, record.outputs[0])
    with pytest.raises(OutputError, match="name too long"):
        desk.deliver(1, b"one", path="x" * 300 + ".png")


def test_a_purchase_without_files_has_none_present(desk: Desk) -> None:
    """No output, no path yet, or bytes that are others."""
    assert not desk.folder.present(purchase(1))
    assert not desk.folder.present(purchase(1, Output(url="https://x.runcomfy.net/0.png")))
    (desk.root / "mug.png").write_bytes(b"two")
    record = purchase(1, output_of("mug.png", b"one"))
    assert desk.folder.present(record)
    assert desk.folder.find_checked(record, record.outputs[0]) is None


# Pictures that were not accepted


def test_a_rejected_picture_is_kept_and_found_again(desk: Desk) -> None:
    """Under ``.rejected/<id>/<purchase>/``; repeated, the same; accepted later, it moves to its place."""
    record = purchase(1, state=State.GENERATED)
    (kept,) = desk.folder.reject(record, [desk.arrive("x/mug.png", b"one")])
    assert kept.path == ".rejected/mug/1/mug.png"
    record = msgspec.structs.replace(record, outputs=(kept,))
    found = desk.folder.find_checked(record, kept)
    assert found == kept.path
    again = IncomingFile(source=desk.folder.path(found), output=output_of("x/mug.png", b"one", moved_from=found))
    assert (
        desk.folder.reject(record, [again]) == desk.folder.reject(record, [desk.arrive("x/mug.png", b"one")]) == (kept,)
    )
    assert desk.files() == {".rejected/mug/1/mug.png": b"one"}
    desk.folder.place(record, [again], [record])
    assert desk.files() == {"x/mug.png": b"one"}


def test_rejected_pictures_of_other_bytes_are_all_kept(desk: Desk) -> None:
    """A paid file is never deleted, not even one that was not accepted."""
    record = purchase(1, state=State.GENERATED)
    first, second = (desk.folder.reject(record, [desk.arrive("mug.png", body)])[0] for body in (b"one", b"two"))
    assert desk.files() == {first.path: b"one", second.path: b"two"}
    assert list(desk.folder.incoming.iterdir()) == []


def test_a_move_never_replaces_what_came_between_look_and_step(tmp_path: Path) -> None:
    """Between looking whether a name is free and taking it somebody may take it: the system refuses then."""
    source, target = tmp_path / "ours", tmp_path / "theirs"
    source.write_bytes(b"ours")
    target.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        move(source, target)
    assert (source.read_bytes(), target.read_bytes()) == (b"ours", b"theirs")


def moving(desk: Desk) -> tuple[Record, IncomingFile]:
    """A job's picture, found under ``y.png`` and to be moved to ``x.png``, when another job takes that name."""
    mine = desk.deliver(1, b"mine", path="y.png", id="mug", file="y")
    arrival = IncomingFile(source=desk.root / "y.png", output=output_of("x.png", b"mine"))
    desk.folder.move_to_archive(mine, "y.png")
    desk.deliver(1, b"another's", path="y.png", id="cup", file="y")
    return msgspec.structs.replace(mine, file="x", outputs=(arrival.output,)), arrival


def test_a_move_takes_no_picture_that_another_job_has_put_there_since(desk: Desk) -> None:
    """Two jobs change names at the same time: neither gets the other's picture under its own."""
    record, arrival = moving(desk)
    with pytest.raises(FileMoved):
        desk.folder.place(record, [arrival], [record])
    assert desk.files() == {"y.png": b"another's", ".replaced/mug/1/y.png": b"mine"}


def test_a_move_that_was_done_already_removes_no_picture_of_another_job(desk: Desk) -> None:
    """The picture stands under its new name; what stands under the old one by now is somebody's."""
    record, arrival = moving(desk)
    (desk.root / "x.png").write_bytes(b"mine")
    with pytest.raises(FileMoved):
        desk.folder.place(record, [arrival], [record])
    assert desk.files()["y.png"] == b"another's"


def test_what_is_kept_aside_is_no_other_jobs_picture(desk: Desk) -> None:
    """A late purchase is put aside with its own bytes, or not at all."""
    record, arrival = moving(desk)
    with pytest.raises(FileMoved):
        desk.folder.archive_arrivals(record, [arrival])
    assert set(desk.files()) == {"y.png", ".replaced/mug/1/y.png"}


def test_a_name_that_its_owner_has_left_is_free(desk: Desk) -> None:
    """Two jobs change names at the same time: the second finds nothing in its way any more."""
    record = desk.deliver(1, b"mine")
    (desk.root / "mug.png").rename(desk.root / "moved.png")
    desk.folder.move_to_archive(record, "mug.png")
    assert desk.files() == {"moved.png": b"mine"}
