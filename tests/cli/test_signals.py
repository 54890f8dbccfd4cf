"""What signals do to a run: gently at first, at any moment, and not behind the person's back."""

from __future__ import annotations

import json
import signal

import pytest
from support.sampling import sampled

from runner.emulator.catalogue import KLEIN

HEAR = "cat > heard.json"


@sampled("name", ["SIGINT", "SIGTERM", "SIGHUP"], quick=1)
def test_a_signal_while_the_manifest_is_read_ends_the_run_as_any_other_time(desk, name):
    """Exit 75, a word, the object of `--json` and the hook; a manifest that comes slowly is where one waits longest."""
    process = desk.start_anew("run", "-", "--json", "--on-finish", HEAR)
    process.stdin.write("# a comment that is longer than a pipe\n" * 10_000)  # returns once the run reads
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert json.loads((desk.folder / "heard.json").read_text())["exit_code"] == 75
    assert json.loads(out)["total"] == 0
    assert "interrupted; nothing more is bought" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_hangup_that_is_ignored_on_purpose_stays_ignored(desk, serve):
    """`nohup runner run …` goes on when the terminal is closed."""
    served = serve("--seconds", "0.3")
    desk.base = served.base
    process = desk.start_anew("run", desk.jobs(6, concurrency=2), ignore=signal.SIGHUP)
    served.wait_for(accepted=2)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert (process.returncode, served.stats["accepted"]) == (0, 6)


def test_a_signal_is_answered_when_buying_has_stopped_before(desk, serve):
    """The balance is used up, a request is in flight: the person hears that the run ends, and does not press again."""
    desk.base = serve("--seconds", "60", "--fault", "submit status status=402 code=400002 after=1").base
    process = desk.start("run", desk.jobs(4, concurrency=4))
    assert any("buying stopped: the account has no balance" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    assert any("SIGINT: finishing requests in flight, at most 20 s" in line for line in process.stderr)


def test_a_broken_manifest_is_told_whatever_else_is_wrong(desk):
    """What is owed cannot be looked for either: both are said, and the manifest's faults decide the exit code."""
    manifest = desk.write(f"output: out\nmodel: {KLEIN}\njobs: [{{promt: x, prompt: y, width: 012}}]\n")
    (desk.folder / "out").mkdir()
    (desk.folder / "out" / "results.jsonl").write_text("no record\n" * 2)
    ended = desk("run", manifest, "--emulator", "--output", "out", "--on-finish", HEAR)
    assert ended.returncode == 65
    assert "batch.yaml:3:" in ended.stderr
    assert "results.jsonl:1" in ended.stderr
    assert "batch.yaml:3:" in json.loads((desk.folder / "heard.json").read_text())["error"]


def test_a_second_signal_says_what_is_left_and_how_to_go_on(desk, serve):
    """The process ends at once; its last lines are the counts and the next step."""
    desk.base = serve("--seconds", "30").base
    process = desk.start("run", desk.jobs(2))
    desk.wait_for(submitted=2)
    process.send_signal(signal.SIGINT)
    assert any("finishing requests in flight" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    told = "".join(process.stderr)
    assert process.wait(60) == 75
    assert "stopped at once by SIGINT: 0 of 2" in told
    assert "next: the same command again downloads what is paid" in told
