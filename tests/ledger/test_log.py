"""The file: what a crash may leave of it, what is refused, and what a failing disk does."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from runner.core import disk
from runner.core.errors import LedgerCorrupt, LedgerError
from runner.core.models import Fault, Record, State
from runner.ledger import Log
from runner.ledger.records import line_of

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeRecord


def opened(path: Path, *, writable: bool = True) -> list[Record]:
    log = Log(path, writable=writable)
    try:
        return list(log.latest())
    finally:
        log.close()


def memory(path: Path) -> int:
    """Bytes that an open log holds."""
    tracemalloc.start()
    log = Log(path, writable=False)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    log.close()
    return held


def append(path: Path, *records: Record) -> None:
    log = Log(path, writable=True)
    lines = [line_of(record) for record in records]
    log.write(lines)
    for record, line in zip(records, lines, strict=True):
        log.count(record, len(line))
    log.close()


def aside(path: Path) -> list[bytes]:
    """What was set aside, oldest first."""
    found = sorted(path.parent.glob(".runner/results.jsonl.torn-*"), key=lambda file: file.stat().st_mtime_ns)
    return [file.read_bytes() for file in found]


@pytest.fixture
def story(record: MakeRecord) -> list[Record]:
    """Three lines of two purchases."""
    return [
        record("mug", State.SUBMITTING, request_id=None),
        record("tote", State.SUBMITTED),
        record("mug", State.FAILED, error=Fault(code="x", message="näh")),
    ]


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_a_log_cut_at_any_byte_opens_with_every_whole_line_and_goes_on(
    tmp_path: Path, story: list[Record], record: MakeRecord, step: int
) -> None:
    """Wherever a crash cuts the file, what was acknowledged is there, half a line is set aside, and work goes on."""
    lines = [line_of(entry) for entry in story]
    whole = b"".join(lines)
    ends = [sum(map(len, lines[: count + 1])) for count in range(len(lines))]
    later = record("cup")
    around = {end + offset for end in (1, *ends) for offset in (-1, 0, 1)} - {len(whole) + 1}
    for cut in sorted({*range(0, len(whole), step), *around}):
        path = tmp_path / str(cut) / "results.jsonl"
        path.parent.mkdir()
        path.write_bytes(whole[:cut])
        kept = sum(end - 1 <= cut for end in ends)  # a line that lacks only its newline is whole
        expected = list({entry.id: entry for entry in story[:kept]}.values())
        start = ends[kept - 1] if kept else 0

        assert opened(path, writable=False) == expected
        assert path.read_bytes() == whole[:cut]
        assert list(path.parent.iterdir()) == [path]

        append(path, later)
        assert path.read_bytes() == whole[:start] + line_of(later)
        assert aside(path) == ([whole[start:cut]] if cut > start else [])
        assert opened(path) == opened(path, writable=False) == [*expected, later]


def test_two_torn_tails_at_the_same_place_are_both_kept(path: Path, story: list[Record]) -> None:
    """Half a line may hold a request id that somebody needs; a second one does not overwrite it."""
    append(path, story[0])
    for tail in (b'{"id":"a","request_id":"r-1', b'{"id":"b","request_id":"r-2'):
        with path.open("ab") as file:
            file.write(tail)
        opened(path)
    assert aside(path) == [b'{"id":"a","request_id":"r-1', b'{"id":"b","request_id":"r-2']


def test_a_cut_tail_is_told(path: Path, story: list[Record], caplog: pytest.LogCaptureFixture) -> None:
    """The user learns that half a line was cut, and where its copy is."""
    path.write_bytes(line_of(story[0]) + b'{"id"')
    opened(path)
    assert "incomplete last line" in caplog.text
    assert ".runner/results.jsonl.torn-" in caplog.text


def test_what_is_set_aside_of_a_private_log_is_private(path: Path, story: list[Record]) -> None:
    """It may hold a prompt that others must not read; its owner can."""
    append(path, *story)
    path.write_bytes(path.read_bytes()[:-9])
    path.chmod(0o640)
    opened(path)
    (copy,) = path.parent.glob(".runner/results.jsonl.torn-*")
    assert copy.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("broken", ["ftruncate", "fsync"])
def test_a_torn_tail_that_cannot_be_cut_is_not_written_behind(
    path: Path, story: list[Record], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A line after half a one would be damage: nothing is bought. The same process may try again."""
    append(path, *story)
    torn = path.read_bytes() + b'{"id": "tot'
    path.write_bytes(torn)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, broken, fail)
        with pytest.raises(LedgerError, match=r"results\.jsonl: cannot be (repaired after a crash|opened)"):
            Log(path, writable=True)
    assert path.read_bytes() in (torn, torn[: -len(b'{"id": "tot')])
    assert len(opened(path)) == 2


def test_a_line_is_on_the_disk_when_it_is_written(
    path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flush comes after the bytes and before the answer: a submission may leave then."""
    log = Log(path, writable=True)
    flushed: list[bytes] = []
    monkeypatch.setattr(disk, "flush_data", lambda _: flushed.append(path.read_bytes()))
    for name in ("mug", "tote"):
        log.write([line_of(record(name))])
        assert flushed[-1] == path.read_bytes()
    assert len(flushed) == 2
    log.close()


def test_a_tail_of_zeros_is_torn(path: Path, story: list[Record]) -> None:
    """Some file systems leave zeros where the last write of a crashed machine would have been."""
    path.write_bytes(line_of(story[0]) + bytes(4096))
    assert opened(path) == story[:1]
    assert path.read_bytes() == line_of(story[0])


def test_blank_lines_hide_no_purchase_and_are_passed_over(path: Path, story: list[Record]) -> None:
    """A doubled newline, as an editor leaves it, is no damage."""
    path.write_bytes(b"\n" + line_of(story[0]) + b"\n \r\n" + line_of(story[1]) + b"\n")
    assert opened(path) == opened(path, writable=False) == story[:2]


def test_lines_that_end_as_on_windows_are_read(path: Path, story: list[Record]) -> None:
    """A file that an editor rewrote with CRLF still holds every record."""
    path.write_bytes(b"".join(line_of(entry)[:-1] + b"\r\n" for entry in story))
    assert [entry.id for entry in opened(path)] == ["mug", "tote"]


GOOD = b'{"id":"a","purchase":1,"state":"failed","at":"","api":"","manifest":"","model":"","inputs":{},'
GOOD += b'"fingerprint":"","file":"a"}\n'


@pytest.mark.parametrize(
    "bad",
    [
        bytes(64) + b"\n",
        GOOD[:40] + b"\n",
        GOOD[:40] + GOOD,
        GOOD.replace(b"a", b"\0", 1),
        GOOD.replace(b"a", b"\xff", 1),
        GOOD.replace(b"failed", b"paid"),
        GOOD.replace(b'"purchase":1', b'"purchase":0'),
        GOOD.replace(b'"id":"a"', b'"id":"../a"'),
        GOOD.replace(b'"file":"a"', b'"file":"../a"'),
        GOOD.replace(b"failed", b"submitted"),
        b"\xef\xbb\xbf" + GOOD,
        b"[]\n",
        b"null\n",
        b"<<<<<<< HEAD\n",
        b'{"id":' * 2000 + b"\n",
    ],
)
def test_damage_before_the_tail_is_refused_with_its_place_and_the_remedy(path: Path, bad: bytes) -> None:
    """A purchase may be hidden in a line that cannot be read, so nobody goes on over it."""
    damaged = GOOD + bad + GOOD
    path.write_bytes(damaged)
    for writable in (False, True):
        with pytest.raises(LedgerCorrupt) as caught:
            Log(path, writable=writable)
        assert f"{path}:2: " in str(caught.value)
        assert "runner verify --repair-log" in str(caught.value)
        assert "nothing is bought" in str(caught.value)
        assert path.read_bytes() == damaged


def test_a_damaged_last_line_that_was_ended_is_refused(path: Path) -> None:
    """Only what lacks its newline can be a torn write; an ended line was acknowledged."""
    path.write_bytes(GOOD + GOOD[:50] + b"\n")
    with pytest.raises(LedgerCorrupt, match=r"results.jsonl:2"):
        Log(path, writable=True)


@pytest.mark.parametrize("writable", [True, False])
def test_a_folder_in_the_logs_place_is_an_error_of_the_ledger(path: Path, writable: bool) -> None:
    """Whatever keeps the results manifest from being opened or read is said as ``LedgerError``."""
    path.mkdir()
    with pytest.raises(LedgerError, match=r"results.jsonl: cannot be (opened|read)"):
        Log(path, writable=writable)


def test_a_reader_of_nothing_sees_nothing_and_makes_nothing(path: Path) -> None:
    """Asking for the status of a folder that has no results leaves it as it is."""
    assert opened(path, writable=False) == []
    assert list(path.parent.iterdir()) == []


def test_a_reader_never_writes(path: Path, story: list[Record]) -> None:
    """Neither appending nor compacting works without the lock's holder."""
    append(path, *[story[1]] * 9)
    before = path.read_bytes()
    log = Log(path, writable=False)
    with pytest.raises(LedgerError, match="opened for reading"):
        log.write([line_of(story[0])])
    log.compact()
    log.close()
    assert path.read_bytes() == before


def test_a_reader_goes_on_reading_while_the_writer_appends_and_compacts(path: Path, story: list[Record]) -> None:
    """A ``status`` in the middle of a run sees the state of the moment it looked."""
    append(path, story[0], story[1])
    reader = Log(path, writable=False)
    append(path, *[story[2]] * 9)
    writer = Log(path, writable=True)
    writer.compact()
    writer.close()
    assert list(reader.latest()) == story[:2]
    reader.close()
    assert opened(path, writable=False) == [story[2], story[1]]


def test_a_record_that_no_run_could_read_again_is_not_written(path: Path, record: MakeRecord) -> None:
    """One line that the next run refuses would make the whole results manifest unreadable."""
    log = Log(path, writable=True)
    for odd in (record("a/b"), record(file="../x"), record(request_id="r 1"), record(inputs={"p": "\udcff"})):
        with pytest.raises(LedgerError, match="cannot be recorded as submitted"):
            line_of(odd)
    odd = record("mug", State.SUBMITTING, request_id=None, inputs="a prompt, and no object")
    with pytest.raises(LedgerError, match="cannot be recorded as submitting: Expected `object`"):
        line_of(odd)  # what a manifest brings is read back; what follows carries it on
    log.close()
    assert path.read_bytes() == b""


def test_a_log_that_is_closed_twice_closes_nothing_of_others(path: Path, record: MakeRecord) -> None:
    """By then the system may have given its handle to another file."""
    append(path, record("mug"))
    log = Log(path, writable=True)
    log.close()
    with path.open("rb") as other:
        log.close()
        assert other.read() == line_of(record("mug"))
    with pytest.raises(LedgerError, match="not open"):
        list(log.latest())


# Compaction


def test_compaction_keeps_the_last_line_of_each_purchase_in_order_of_first_appearance(
    path: Path, record: MakeRecord
) -> None:
    """Rewritten, the log says the same in the same order."""
    names = ["tote", "mug", "cup"]
    append(path, *[record(name) for name in names])
    append(path, *[record(name, State.DONE) for name in reversed(names)], record("cup", purchase=2))
    append(path, *[record("mug", State.DONE, warning="size")] * 3)
    before = opened(path)
    log = Log(path, writable=True)
    log.compact()
    log.close()
    assert opened(path) == before
    assert [entry.id for entry in before] == ["tote", "mug", "cup", "cup"]
    assert path.read_bytes() == b"".join(map(line_of, before))
    assert [left.name for left in path.parent.glob(".runner/*")] == ["results.jsonl.last"]


def test_a_log_is_compacted_only_when_more_than_half_of_it_is_superseded(path: Path, record: MakeRecord) -> None:
    """Two lines for each purchase stay; one more is rewritten."""
    append(path, record("mug"), record("tote"), record("mug", State.DONE), record("tote", State.DONE))
    inode = path.stat().st_ino
    log = Log(path, writable=True)
    log.compact()
    log.close()
    assert path.stat().st_ino == inode
    append(path, record("tote", State.DONE))
    log = Log(path, writable=True)
    log.compact()
    log.close()
    assert path.read_bytes().count(b"\n") == 2


def test_nothing_is_written_to_a_log_that_was_compacted(path: Path, record: MakeRecord) -> None:
    """Its handle is the old file's: a record that went there would be lost, so it is refused."""
    append(path, *[record("mug")] * 5)
    log = Log(path, writable=True)
    log.compact()
    with pytest.raises(LedgerError, match="rewritten"):
        log.write([line_of(record("tote"))])
    assert list(log.latest()) == [record("mug")]
    log.close()


def test_compaction_keeps_the_files_mode(path: Path, record: MakeRecord) -> None:
    """Who made the results manifest private finds it private."""
    append(path, *[record("mug")] * 5)
    path.chmod(0o600)
    log = Log(path, writable=True)
    log.compact()
    log.close()
    assert path.read_bytes().count(b"\n") == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_compacted_log_is_on_the_disk_before_it_has_the_name(
    path: Path, record: MakeRecord, flushes: list[tuple[int, set[str]]]
) -> None:
    """A power cut leaves the whole old one or the whole new one; and its name is on the disk before the run ends."""
    append(path, *[record("mug")] * 5)
    old = path.stat().st_ino
    log = Log(path, writable=True)
    flushes.clear()
    log.compact()
    log.close()
    new, folder = path.stat().st_ino, path.parent.stat().st_ino
    assert new != old
    numbers = [(number, ".runner/results.jsonl.tmp" in names) for number, names in flushes]
    assert (new, True) in numbers
    assert (folder, False) in numbers[numbers.index((new, True)) :]


def test_a_compaction_that_fails_keeps_the_old_file_and_goes_on(path: Path, record: MakeRecord) -> None:
    """Compaction is a convenience: without it the log is only longer."""
    append(path, *[record("mug")] * 5)
    before = path.read_bytes()
    log = Log(path, writable=True)
    path.parent.joinpath(".runner/results.jsonl.tmp").mkdir()
    log.compact()
    assert path.read_bytes() == before
    log.write([line_of(record("tote"))])
    log.close()
    assert [entry.id for entry in opened(path)] == ["mug", "tote"]


def test_what_a_killed_compaction_left_is_cleared(path: Path, record: MakeRecord) -> None:
    """The next run finds the old log whole and removes the half of a new one."""
    append(path, record("mug"))
    path.parent.joinpath(".runner/results.jsonl.tmp").write_bytes(b'{"id":')
    assert opened(path) == [record("mug")]
    assert [left.name for left in path.parent.glob(".runner/*")] == ["results.jsonl.last"]


# A disk that refuses

LIMITED = """
import resource, sys
from pathlib import Path
from runner.core.errors import LedgerError
from runner.ledger import Log

path, size = Path(sys.argv[1]), int(sys.argv[2])
log = Log(path, writable=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
if sys.argv[3] == "compact":
    log.compact()
    sys.exit()
line = path.read_bytes().splitlines(keepends=True)[0]
for lines in ([line, line], [line]):
    try:
        log.write(lines, buys=False)
        print("written")
    except LedgerError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def limited(path: Path, size: int, what: str) -> list[str]:
    """Run in a process whose files may not grow past ``size`` bytes, as on a full disk."""
    command = [sys.executable, "-W", "error", "-c", LIMITED, str(path), str(size), what]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.parametrize("room", [0, 1, 100, 250, 420])
def test_a_failed_write_poisons_the_log_and_leaves_whole_lines(path: Path, record: MakeRecord, room: int) -> None:
    """After the disk refused once nobody knows what it holds: nothing is written again, even if it would work."""
    append(path, record("mug"))
    size = path.stat().st_size
    first, second = limited(path, size + room, "append")
    assert "cannot be written: File too large; nothing more is bought" in first
    assert "not durable any more (File too large); nothing more is bought" in second
    assert path.read_bytes() == line_of(record("mug"))
    append(path, record("tote"))
    assert [entry.id for entry in opened(path)] == ["mug", "tote"]


def test_a_compaction_on_a_full_disk_keeps_the_old_file_and_leaves_no_litter(path: Path, record: MakeRecord) -> None:
    """What was written of the new one is removed, so that a full disk is not fuller."""
    for name in ("mug", "tote", "cup"):
        append(path, *[record(name)] * 3)
    before = path.read_bytes()
    limited(path, 300, "compact")
    assert path.read_bytes() == before
    assert [left.name for left in path.parent.glob(".runner/*")] == ["results.jsonl.last"]


def test_two_records_in_one_line_are_damage_whatever_stands_beside_them(tmp_path: Path, record: MakeRecord) -> None:
    """A newline that was lost hides no purchase: not even where an empty line makes up for the number of lines."""
    one, two = (line_of(record(name)) for name in ("one", "two"))
    path = tmp_path / "results.jsonl"
    for beside in (b"", b"\n", one):
        path.write_bytes(one.rstrip(b"\n") + two + beside)
        with pytest.raises(LedgerCorrupt, match=r"results\.jsonl:1"):
            Log(path, writable=False)


@pytest.mark.slow
def test_a_log_in_which_each_purchase_has_many_lines_takes_no_memory_for_more(
    tmp_path: Path, record: MakeRecord
) -> None:
    """As a run leaves it that did not come to its end: room is made for purchases, not for lines."""
    jobs, path = 6000, tmp_path / "results.jsonl"
    steps = (State.SUBMITTING, State.SUBMITTED, State.DONE)
    with path.open("wb") as file:
        for number in range(jobs):
            file.writelines(line_of(record(f"mug-{number}", state, request_id=f"r-{number}")) for state in steps)
    assert memory(path) < 90 * jobs


def test_a_log_that_is_mostly_empty_lines_takes_no_memory_for_them(tmp_path: Path, record: MakeRecord) -> None:
    """They are no purchases, however many there are: a strange file must not keep a run from opening it."""
    path = tmp_path / "results.jsonl"
    path.write_bytes((b" " * 31 + b"\n") * 32_768 + line_of(record()))
    assert memory(path) < 100_000


def test_a_reader_that_may_not_open_the_log_does_not_take_it_for_empty(path: Path, record: MakeRecord) -> None:
    """Else `plan` would say that all is to be bought, and a shard would see nothing that others spent."""
    append(path, record("mug", State.DONE))
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path)
    with pytest.raises(LedgerError, match=r"cannot be opened|is a link"):
        opened(path, writable=False)


def test_a_log_that_is_written_over_while_it_is_in_use_is_told(path: Path, record: MakeRecord) -> None:
    """A line that is another one by now is no traceback; the message says what to do."""
    append(path, record("mug", State.DONE), record("tote", State.DONE))
    log = Log(path, writable=False)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(LedgerError, match=r"altered while it was in use.*run again"):
        list(log.latest())
    log.close()
