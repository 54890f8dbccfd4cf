"""The results log is locked itself: removing `.runner/lock` opens no folder to a second writer."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner.core.errors import Locked, OutputError
from runner.core.models import State
from runner.core.shards import Shard
from runner.ledger import Log, log_lock, merge_shards, run_lock
from runner.ledger.records import line_of
from runner.ledger.sharding import make_shards, split

if TYPE_CHECKING:
    from conftest import MakeRecord

WRITE = """
import sys
from pathlib import Path
from runner.ledger import Log
log = Log(Path(sys.argv[1]), writable=True)
print("open", flush=True)
sys.stdin.read()
"""


def test_a_log_has_one_writer_until_it_is_closed(path: Path) -> None:
    """A second one is refused; a reader is not."""
    first = Log(path, writable=True)
    with pytest.raises(Locked, match=r"results\.jsonl is being written by another run"):
        Log(path, writable=True)
    Log(path, writable=False).close()
    first.close()
    Log(path, writable=True).close()


def test_a_closed_log_is_free_whoever_else_has_its_handle(path: Path) -> None:
    """A process that was forked meanwhile keeps the file open, and writes to it no more."""
    first = Log(path, writable=True)
    assert first._handle is not None
    kept = os.dup(first._handle)
    first.close()
    Log(path, writable=True).close()
    os.close(kept)


def test_a_killed_writer_holds_no_log(path: Path) -> None:
    """After SIGKILL the next run opens it at once."""
    command = [sys.executable, "-W", "error", "-c", WRITE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(Locked):
            Log(path, writable=True)
        process.kill()
    Log(path, writable=True).close()


def compacted(path: Path, record: MakeRecord) -> Log:
    """An open log that was written three times and then compacted to one line."""
    log = Log(path, writable=True)
    for _ in range(3):
        line = line_of(record())
        log.write([line])
        log.count(record(), len(line))
    log.compact()
    assert len(path.read_bytes().splitlines()) == 1
    return log


def test_a_compacted_log_stays_locked(path: Path, record: MakeRecord) -> None:
    """The new file has the name from the first moment on; until the run has ended nobody else writes to it."""
    first = compacted(path, record)
    with pytest.raises(Locked):
        Log(path, writable=True)
    first.close()
    Log(path, writable=True).close()


def test_a_log_that_is_replaced_between_opening_and_locking_is_opened_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, record: MakeRecord
) -> None:
    """A run that ends compacts its log just then: what is written must go to the file that has the name."""
    replacement = path.with_name("new")

    def replace_first(handle: int, locked: Path) -> None:
        if replacement.exists():
            replacement.rename(path)
        lock(handle, locked)

    lock = log_lock.lock_log
    replacement.write_bytes(line_of(record("tote")))
    monkeypatch.setattr(log_lock, "lock_log", replace_first)
    second = Log(path, writable=True)
    assert [entry.id for entry in second.latest()] == ["tote"]
    line = line_of(record("mug"))
    second.write([line])
    second.close()
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("shard", [None, Shard(index=2, of=3)])
def test_a_folder_whose_lock_file_was_removed_is_not_free(tmp_path: Path, shard: Shard | None) -> None:
    """The words and the holder's name are the same as with the file."""
    with run_lock(tmp_path, "now", shard) as held:
        name = "results.jsonl" if shard is None else "results.2-of-3.jsonl"
        first = Log(tmp_path / name, writable=True)
        held.path.unlink()
        assert held.lost
        for _ in range(2):  # the holder's name survives a refusal
            with pytest.raises(Locked, match=rf"is in use by process {os.getpid()} on"), run_lock(tmp_path, "x", shard):
                pytest.fail("two hold the folder")
        first.close()


def test_a_lock_file_that_was_replaced_is_lost(tmp_path: Path) -> None:
    """Another file of the same name keeps nobody out."""
    with run_lock(tmp_path, "now") as held:
        assert not held.lost
        held.path.rename(held.path.with_name("old"))
        held.path.touch()
        assert held.lost


def test_shards_in_use_are_neither_split_nor_merged(tmp_path: Path, record: MakeRecord) -> None:
    """Also where their lock files are gone: what a run writes meanwhile would be lost with the old logs."""
    shards = Shard(index=1, of=2).all
    whole = Log(tmp_path / "results.jsonl", writable=True)
    with pytest.raises(Locked):
        split(tmp_path, shards)
    line = line_of(record("mug", State.SUBMITTED))
    whole.write([line])
    whole.close()
    (tmp_path / "results.jsonl").unlink()
    make_shards(tmp_path, shards)
    second = Log(tmp_path / "results.2-of-2.jsonl", writable=True)
    with pytest.raises(Locked):
        merge_shards(tmp_path, "now")
    second.close()
    merge_shards(tmp_path, "now")


def without_fcntl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lock, "fcntl", None)


def on_smb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lock, "locks_bar_readers", lambda _: True)


def without_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(log_lock.fcntl, "flock", refuse)


@pytest.mark.parametrize("arrange", [without_fcntl, on_smb, without_locks])
def test_where_a_log_cannot_be_locked_the_lock_file_is_enough(
    path: Path, monkeypatch: pytest.MonkeyPatch, arrange: Any
) -> None:
    """Windows, a file system without locks, and SMB, where a locked file could not be read by `status`."""
    arrange(monkeypatch)
    first = Log(path, writable=True)
    Log(path, writable=True).close()
    assert not log_lock.log_is_written(path)
    first.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_a_log_that_cannot_be_locked_is_told_once(
    path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Whoever starts a run there reads what keeps a second one out; looking at the folder says nothing."""
    without_locks(monkeypatch, number)
    first = compacted(path, record)
    first.close()
    assert [entry.levelname for entry in caplog.records] == ["WARNING"]
    assert f"{path}: the file system refuses to lock it ({os.strerror(number)})" in caplog.text
    assert "do not remove that file during a run" in caplog.text
    caplog.clear()
    assert not log_lock.log_is_written(path)
    Log(path, writable=False).close()
    assert not caplog.records


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_folder_without_any_lock_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Neither the lock file nor the log can be locked: nothing would keep two runs apart, so none begins."""
    without_locks(monkeypatch, number)
    refused = pytest.raises(OutputError, match=r"its file system has no locks .* Nothing was bought")
    with refused, run_lock(tmp_path, "now"):
        pytest.fail("held without a lock")
    assert not (tmp_path / ".runner/holder.json").exists()


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES])
def test_every_word_of_a_system_for_a_held_lock_is_understood(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A network file system may say that access is denied."""

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    path.touch()
    monkeypatch.setattr(log_lock.fcntl, "flock", refuse)
    with pytest.raises(Locked, match="written by another run"):
        Log(path, writable=True)
    assert log_lock.log_is_written(path)


def test_what_is_no_log_is_written_by_nobody(path: Path) -> None:
    """Not there, or a pipe that nobody reads: it is told at once."""
    assert not log_lock.log_is_written(path)
    os.mkfifo(path)
    assert not log_lock.log_is_written(path)
