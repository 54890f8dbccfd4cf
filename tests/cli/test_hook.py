"""`--on-finish`: somebody hears of every ending."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from support.waiting import wait_for

from runner.cli import hook

HEAR = "cat > heard.json; env > env.txt"


def heard(desk) -> dict:
    return json.loads((desk.folder / "heard.json").read_text())


def environment(desk) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in (desk.folder / "env.txt").read_text().splitlines())


def test_it_gets_the_summary_and_the_exit_code_and_no_token(desk, serve):
    """The object of `--json` and `exit_code` on standard input; the token stays with us."""
    desk.base = serve().base
    ended = desk("run", desk.jobs(2), "--json", "--on-finish", HEAR)
    assert heard(desk) == {**json.loads(ended.stdout), "exit_code": 0}
    environ = environment(desk)
    assert environ["RUNNER_EXIT_CODE"] == "0"
    assert not any("test-token" in value for value in environ.values())
    assert environ["RUNCOMFY_MODEL_API_BASE"] == desk.base


def test_it_hears_of_failures(desk, serve):
    desk.base = serve("--fault", "job fail p=1").base
    assert desk("run", desk.jobs(2), "--on-finish", HEAR).returncode == 1
    assert (heard(desk)["failed"], heard(desk)["exit_code"]) == (2, 1)


def test_it_hears_of_an_interruption(desk, serve):
    served = serve("--seconds", "0.3")
    desk.base = served.base
    process = desk.start("run", desk.jobs(30, concurrency=2), "--on-finish", HEAR)
    served.wait_for(accepted=2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert heard(desk)["exit_code"] == 75


@pytest.mark.parametrize(("manifest", "code"), [("jobs: []\noutput: out\n", 65), (None, 77)])
def test_it_hears_of_a_run_that_could_not_start(desk, manifest, code):
    """A broken manifest, no token: the alert fires all the same, with the reason."""
    path = desk.write(manifest) if manifest else desk.jobs(1)
    assert desk("run", path, "--on-finish", HEAR).returncode == code
    assert (heard(desk)["exit_code"], heard(desk)["total"]) == (code, 0)
    assert heard(desk)["error"]


def test_it_hears_of_options_that_contradict_each_other(desk):
    assert desk("run", desk.jobs(1), "--redo", "--on-finish", HEAR).returncode == 64
    assert heard(desk)["exit_code"] == 64


@pytest.mark.slow
def test_the_folder_is_free_when_it_runs(desk):
    """It may start another run of the same folder."""
    desk.jobs(1)
    again = f"{sys.executable} -m runner run batch.yaml --emulator 2>&1; echo $? > code.txt"
    assert desk("run", "batch.yaml", "--emulator", "--on-finish", again).returncode == 0
    assert (desk.folder / "code.txt").read_text() == "0\n"


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_its_failure_is_a_warning_and_nothing_more(desk, quiet):
    """The exit code is that of the run; that nobody was told is said, even by a quiet run."""
    ended = desk("run", desk.jobs(1), "--emulator", "--on-finish", "exit 3", *quiet)
    assert ended.returncode == 0
    assert "--on-finish ended with exit code 3" in ended.stderr


def test_one_that_reads_nothing_is_fine(desk):
    """A ping that ignores its input is no failure, and a quiet run stays silent."""
    ended = desk("run", desk.jobs(1), "--emulator", "--quiet", "--on-finish", "true")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_what_it_prints_does_not_mix_with_the_data(desk):
    ended = desk("run", desk.jobs(1), "--emulator", "--json", "--on-finish", "echo hello")
    json.loads(ended.stdout)
    assert "hello" in ended.stderr


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked after does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_one_that_hangs_is_ended_with_all_it_started(tmp_path):
    """It and its children are gone when its time is up."""
    command = f"sleep 600 & echo $! > {tmp_path}/pid; wait"
    told = hook.run_hook(command, "{}", 0, {"PATH": "/usr/bin:/bin"}, seconds=0.5)
    assert "took longer than 0.5 s" in told
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not alive(pid))


def test_it_gets_a_list_of_the_files_that_this_run_delivered(desk, serve):
    """A path a line, relative to the output folder; what was there before is not new. The list is gone afterwards."""
    desk.base = serve().base
    listed = "cp $RUNNER_NEW_FILES new.txt; env > env.txt"
    assert desk("run", desk.jobs(1), "--on-finish", listed).returncode == 0
    first = (desk.folder / "new.txt").read_text().splitlines()
    assert [(desk.folder / "out" / line).is_file() for line in first] == [True]
    assert desk("run", desk.jobs(3), "--on-finish", listed).returncode == 0
    second = (desk.folder / "new.txt").read_text().splitlines()
    assert len(second) == 2
    assert not set(first) & set(second)
    assert all((desk.folder / "out" / line).is_file() for line in second)
    assert desk("run", desk.jobs(3), "--on-finish", listed).returncode == 0
    assert (desk.folder / "new.txt").read_text() == ""
    assert not Path(environment(desk)["RUNNER_NEW_FILES"]).exists()
