"""Standard streams that are closed or full: the run is carried out, and what could not be said is an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.ledger.records import decode

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")


def typed(desk, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell, in which ``runner`` is the command line."""
    script = f'runner() {{ "{sys.executable}" -m runner "$@"; }}; {line}'
    return subprocess.run(
        ["sh", "-c", script], check=False, cwd=desk.folder, env=desk.environ, capture_output=True, text=True
    )


def test_a_closed_standard_error_does_not_put_messages_into_the_results_log(desk):
    """The first file that a run opens gets no number of a closed stream; the batch is done."""
    desk.jobs(2)
    ended = typed(desk, "runner run batch.yaml --emulator 2>&- <&-")
    assert ended.returncode == 0
    lines = (desk.folder / "out/results.jsonl").read_bytes().splitlines()
    assert {decode(line).state.value for line in lines} >= {"done"}


@pytest.mark.slow
def test_a_summary_that_cannot_be_written_is_said_and_the_hook_is_called(desk):
    """Exit 73; the batch itself is done."""
    desk.jobs(1)
    ended = typed(desk, "runner run batch.yaml --emulator --json --on-finish 'cat > heard.json' > /dev/full")
    assert ended.returncode == 73
    assert "standard output cannot be written" in ended.stderr
    heard = json.loads((desk.folder / "heard.json").read_text())
    assert (heard["done"], heard["exit_code"]) == (1, 73)
    assert typed(desk, "runner status batch.yaml --emulator > /dev/full").returncode == 73
    again = typed(desk, "runner status batch.yaml --emulator 2> /dev/full")
    assert (again.returncode, "1 done" in again.stdout) == (0, True)


def test_a_closed_standard_input_is_an_empty_file(desk):
    """A manifest or a list of ids from it is an error of the command, and no traceback."""
    desk.jobs(1)
    for line in ("runner plan - --emulator <&-", "runner run batch.yaml --emulator --only-from - <&-"):
        ended = typed(desk, line)
        assert ended.returncode in (64, 65), ended.stderr
        assert "Traceback" not in ended.stderr
