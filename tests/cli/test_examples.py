"""The programs in ``jobs/``, run as their first lines say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.sampling import sampled

JOBS = Path(__file__).parents[2] / "jobs"
PROGRAMS = sorted(path.name for path in JOBS.glob("*.py"))


@pytest.fixture
def start(desk):
    """Start one of the programs in a copy of ``jobs/``; warnings are errors."""
    shutil.copytree(JOBS, desk.folder / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (desk.folder / "output").mkdir()

    def started(name: str, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", f"jobs/{name}", *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        desk.started.append(subprocess.Popen(command, cwd=desk.folder, env=desk.environ, **pipes))
        return desk.started[-1]

    return started


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """Meanwhile it does nothing, and then goes on where it was."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("products", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_a_bulk_catalogue_from_ones_own_data(desk, start, products):
    """Every product in every view under a stable id; run again, nothing is bought."""
    feed, count = desk.folder / "jobs/products.csv", 2 * products
    feed.write_text("".join(feed.read_text().splitlines(keepends=True)[: 1 + products]))
    code, out, err = ended(start("bulk_catalogue.py", "--emulator"))
    assert (code, err) == (0, "")
    assert "KIT-1001-front → KIT-1001/front.png" in out
    assert out.endswith(f"{count} new, 0 done before, 0 failed, ${count * 0.0045:.4f} this time\n")
    assert len(list((desk.folder / "output/products-emulator").glob("*/*.png"))) == count
    assert ended(start("bulk_catalogue.py", "--emulator"))[1].startswith(f"0 new, {count} done before")


@pytest.mark.slow
def test_a_night_is_one_line_of_json(desk, start):
    """Counts, money, exit code and failures; the second night skips what is done."""
    for done, skipped in ((7, 0), (0, 7)):
        code, out, err = ended(start("nightly.py", "--emulator"))
        assert (code, err) == (0, "")
        line = json.loads(out)
        assert (line["done"], line["skipped"], line["exit"], line["failures"]) == (done, skipped, 0, [])


@pytest.mark.slow
def test_a_night_that_is_ended_brings_home_what_is_paid(desk, serve, start):
    """SIGTERM: nothing more is bought, what is paid is fetched, exit 75. Meanwhile a second night leaves quietly."""
    served = serve("--seconds", "1", "--workers", "1")
    desk.base = served.base
    night = start("nightly.py")
    served.wait_for(accepted=1)
    with halted(served.pid):  # a slow machine may take longer to start the second than the first has work for
        assert ended(start("nightly.py")) == (0, "", "")
        night.send_signal(signal.SIGTERM)
    code, out, _ = ended(night)
    line = json.loads(out)
    assert (code, line["exit"], line["stopped"]) == (75, 75, "interrupted by SIGTERM")
    assert line["done"] + line["left"] == 7
    assert line["done"] == served.stats["accepted"]


@pytest.mark.slow
def test_a_rerun_goes_on_by_itself_where_work_is_left(desk, serve, start):
    """The storage fails through a whole run: the next one, a moment later, fetches what was paid for, free."""
    served = serve("--fault", "file status status=500 times=2")
    desk.base = served.base
    code, out, _ = ended(start("resumable.py", desk.jobs(1, retries=1), "0"))
    assert code == 0
    assert "1 owed" in out
    assert "run 2 of at most 5\n1 done" in out
    assert served.stats["submissions"] == 1


@pytest.mark.slow
def test_a_rerun_after_kill_9_buys_nothing_twice(desk, serve, start):
    """Killed with requests in flight and started again: every job is bought once and delivered."""
    served = serve("--seconds", "2")
    desk.base = served.base
    manifest = desk.jobs(4, concurrency=2)
    first = start("resumable.py", manifest)
    desk.wait_for(submitted=2)
    first.kill()
    ended(first)
    code, out, _ = ended(start("resumable.py", manifest))
    assert (code, out.startswith("4 done, 0 before, 0 owed")) == (0, True)
    assert served.stats["submissions"] == 4


@sampled("name", PROGRAMS, quick=1)
def test_without_a_token_the_exit_code_and_the_message_come_through(start, name):
    """Exit codes are those of the command line, and the error says what to do."""
    code, out, err = ended(start(name))
    assert (code, out) == (77, "")
    assert "RUNCOMFY_TOKEN" in err


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_no_manifest(desk, start, name):
    """Given to `runner run` by mistake, it is refused with its place."""
    shutil.copy(JOBS / name, desk.folder)
    refused = desk("run", name, "--emulator")
    assert refused.returncode == 65
    assert f"{name}:1:" in refused.stderr
