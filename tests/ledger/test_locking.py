"""One run at a time: a second process is told who is there, and a dead one holds nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from runner.core.errors import Locked, OutputError
from runner.ledger import read_holder, run_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

SINCE = "2026-11-22T01:02:03.456Z"
HOLD = """
import sys
from pathlib import Path
from runner.ledger import run_lock
with run_lock(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(output: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder until its standard input ends."""
    command = [sys.executable, "-W", "error", "-c", HOLD, str(output), SINCE]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "new" / "output"


@pytest.fixture
def other(output: Path) -> Iterator[subprocess.Popen[str]]:
    with hold(output) as process:
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_holds_the_folder(output: Path, other: subprocess.Popen[str]) -> None:
    """The message names process, host and time, so that the user can look."""
    pattern = rf"process {other.pid} on .+, since {re.escape(SINCE)}"
    with pytest.raises(Locked, match=pattern), run_lock(output, SINCE):
        pytest.fail("two hold the lock")
    assert str(read_holder(output)).startswith(f"process {other.pid} on ")


def test_a_killed_process_holds_nothing(output: Path, other: subprocess.Popen[str]) -> None:
    """After SIGKILL the next run takes the folder at once, and is itself the holder."""
    other.kill()
    other.wait()
    with run_lock(output, SINCE):
        holder = read_holder(output)
        assert holder is not None
        assert holder.pid == os.getpid()


def test_the_dead_and_the_one_who_asks_are_no_holders(output: Path, other: subprocess.Popen[str]) -> None:
    """A holder is there until it dies, even where its parent never notices; a number that is ours now was another's."""
    holder = read_holder(output)
    assert holder is not None
    assert holder.alive
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    assert not holder.alive
    assert not msgspec.structs.replace(holder, pid=os.getpid()).alive
    assert msgspec.structs.replace(holder, host="another").alive


def test_a_lock_that_was_given_back_is_free_and_names_nobody(output: Path, other: subprocess.Popen[str]) -> None:
    """A run that ended leaves no holder behind."""
    other.communicate("")
    assert other.returncode == 0
    assert read_holder(output) is None
    with run_lock(output, SINCE):
        pass
    assert read_holder(output) is None


def test_the_lock_excludes_within_a_process_too(output: Path) -> None:
    """The library may be called twice in one program."""
    with run_lock(output, SINCE), pytest.raises(Locked, match=f"process {os.getpid()} "), run_lock(output, SINCE):
        pytest.fail("two hold the lock")


def test_a_refused_run_leaves_the_holders_name(output: Path, other: subprocess.Popen[str]) -> None:
    """Being refused changes nothing for the one who holds."""
    with pytest.raises(Locked), run_lock(output, "later"):
        pytest.fail("two hold the lock")
    assert f"process {other.pid}" in str(read_holder(output))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"pid":"x"}', b'{"pid":1,"host":"\xff","since":"x"}', None])
def test_a_holder_that_cannot_be_read_is_nobody(output: Path, other: subprocess.Popen[str], text: bytes | None) -> None:
    """A second run is refused all the same, in words that fit."""
    file = output / ".runner" / "holder.json"
    file.unlink()
    if text is not None:
        file.write_bytes(text)
    assert read_holder(output) is None
    with pytest.raises(Locked, match="another run"), run_lock(output, SINCE):
        pytest.fail("two hold the lock")


def test_the_lock_is_given_back_when_the_run_fails(output: Path) -> None:
    """An error in a run is no reason to lock the next one out."""
    with pytest.raises(ZeroDivisionError), run_lock(output, SINCE):
        _ = 1 / 0
    with run_lock(output, SINCE):
        pass


def test_a_folder_that_cannot_be_made_is_an_error_of_the_output(tmp_path: Path) -> None:
    """It says which folder, why, and that nothing was bought."""
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    words = r"file/output: cannot be written: Not a directory\. Nothing was bought\."
    with pytest.raises(OutputError, match=words), run_lock(blocked / "output", SINCE):
        pytest.fail("held")


def test_a_holder_file_that_cannot_be_written_gives_the_lock_back(output: Path) -> None:
    """The folder is not left locked by a run that never began."""
    (output / ".runner" / "holder.json").mkdir(parents=True)
    with pytest.raises(OutputError), run_lock(output, SINCE):
        pytest.fail("held")
    (output / ".runner" / "holder.json").rmdir()
    with run_lock(output, SINCE):
        pass
