"""What a log file, a program and a cron mail see of a run: no terminal anywhere."""

from __future__ import annotations

import json
import re
import signal

import pytest

from runner.cli.display.jsonl import FIELDS
from runner.core.clock import epoch

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
PROMPT = "a brass lamp that nobody else may read about"


def objects(text: str) -> list[dict]:
    """Every line of a JSON log, checked against what is documented."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        epoch(line["at"])
        assert set(line) - {"at", "event"} <= FIELDS[line["event"]], line
    return found


def of(found: list[dict], event: str) -> list[dict]:
    return [line for line in found if line["event"] == event]


@pytest.mark.slow
def test_a_log_file_holds_no_control_characters(desk, serve):
    """Refusals, failures, unknowns and the summary: text, line by line, with its time."""
    faults = ("submit reset p=0.2", "job fail p=0.3", "submit status status=422 p=0.2 message=no\x1b[2Jway")
    desk.base = serve(*(word for fault in faults for word in ("--fault", fault))).base
    ended = desk("run", desk.jobs(30))
    assert not CONTROL.search(ended.stderr)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO .*batch\.yaml → ", ended.stderr)


def test_what_needs_a_person_is_said_when_it_happens(desk, serve):
    """Each failure and unknown has its line; of one trouble a few are named and the rest counted in the summary."""
    desk.base = serve("--fault", "job fail p=1").base
    lines = desk("run", desk.jobs(12)).stderr.splitlines()
    assert sum("WARNING job-" in line for line in lines) == 5
    assert sum("are only counted" in line for line in lines) == 1
    assert any(line.startswith("  12 failed, ") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], pytest.param(["--verbose"], marks=pytest.mark.slow)])
def test_a_summary_is_short(desk, serve, arguments):
    """However much went wrong: fifteen lines at most, the commands to type at the end."""
    faults = [f"submit status status=422 code=4220{n} p=0.1" for n in range(10)]
    faults += ["submit reset p=0.2", "job fail p=0.3", "job cancel p=0.2", "file status status=500 p=0.3"]
    desk.base = serve(*(word for fault in faults for word in ("--fault", fault))).base
    ended = desk("run", desk.jobs(60, retries=0), *arguments)
    lines = ended.stderr.splitlines()
    summary = lines[next(number for number, line in enumerate(lines) if "60 jobs in" in line) :]
    assert len(summary) <= 15
    assert f"next: runner reconcile {desk.folder / 'batch.yaml'}" in summary


def test_quiet_says_nothing_of_warnings_that_need_nobody(desk):
    """A manifest with a warning, all done: no line. The cron mail stays away."""
    manifest = desk.write("model: nobody/knows/this\noutput: out\njobs: [{id: a, prompt: x}]\n")
    assert "warning" in desk("plan", manifest).stderr
    desk("run", manifest, "--emulator")
    said = desk("run", desk.jobs(1), "--emulator", "--quiet")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_quiet_speaks_when_somebody_is_needed(desk, serve, form):
    """A failure: the line when it happens, and the summary; no progress, no start."""
    desk.base = serve("--fault", "job fail times=1").base
    ended = desk("run", desk.jobs(3), "--quiet", "--log-format", form)
    assert ended.returncode == 1
    if form == "json":
        assert [line["event"] for line in objects(ended.stderr)] == ["transition", "run_finished"]
    else:
        assert "1 failed" in ended.stderr
        assert "INFO" not in ended.stderr


@pytest.mark.slow
def test_a_short_pause_is_no_line_of_a_log_file(desk, serve):
    """The API says *later* all night long; who reads the log in the morning need not know each time."""
    desk.base = serve("--fault", "submit status status=503 retry_after=1 times=2").base
    ended = desk("run", desk.jobs(3))
    assert (ended.returncode, "pausing" in ended.stderr) == (0, False)


def test_warnings_come_with_a_quiet_end_that_needs_somebody(desk):
    """Rows that were left out are named even by `--quiet`: the exit code is 1 because of them."""
    desk.write("id,prompt,size\na,x,64x64\nb,,64x64\n", "rows.csv")
    manifest = desk.write(f"model: {KLEIN}\noutput: out\non_bad_row: skip\njobs: [{{from: rows.csv}}]\n")
    ended = desk("run", manifest, "--emulator", "--quiet")
    assert (ended.returncode, "rows.csv:3:1" in ended.stderr) == (1, True)


def test_the_json_log_has_one_documented_object_for_each_transition(desk, serve):
    """Start, every durable line in its order, the end with what `--json` has; nothing else is printed."""
    served = serve()
    desk.base = served.base
    ended = desk("run", desk.jobs(3), "--log-format", "json", "--json")
    found = objects(ended.stderr)
    assert (found[0]["event"], found[-1]["event"]) == ("run_started", "run_finished")
    states = [line["state"] for line in of(found, "transition") if line["id"] == "job-1"]
    assert states == ["submitting", "submitted", "generated", "generated", "done"]
    assert len(of(found, "transition")) == 15
    assert json.loads(ended.stdout).items() <= found[-1].items()
    assert found[-1]["exit_code"] == 0


def test_the_json_log_holds_no_prompt_no_token_and_no_address_of_a_picture(desk, serve):
    """Not even where the API repeats the prompt in its refusal."""
    faults = (
        f"submit status status=422 times=2 message='{PROMPT}?'",
        "file status status=500 times=9",
        "submit reset times=1",
        f"submit status status=429 times=1 retry_after=1 message='busy with {PROMPT}'",
    )
    desk.base = serve(*(word for fault in faults for word in ("--fault", fault))).base
    manifest = desk.write(
        "model: blackforestlabs/flux-2-klein/4b/text-to-image\noutput: out\nretries: 1\n"
        f"defaults: {{height: 64, prompt: {PROMPT}}}\njobs:\n"
        + "".join(f"  - {{id: job-{number}, width: {64 + 16 * number}}}\n" for number in range(8))
    )
    ended = desk("run", manifest, "--log-format", "json", "--verbose")
    objects(ended.stderr)
    assert '"code": "422' in ended.stderr
    assert "busy with" in ended.stderr
    assert PROMPT not in ended.stderr
    assert "test-token" not in ended.stderr
    urls = set(re.findall(r'"url":"([^"]+)"', (desk.folder / "out/results.jsonl").read_text()))
    assert urls
    assert not any(url in ended.stderr for url in urls)


@pytest.mark.slow
def test_a_pause_a_stop_and_a_signal_are_events(desk, serve):
    """Refusals pause the run, a signal stops the buying: each has its object."""
    served = serve("--seconds", "0.5", "--fault", "submit status status=503 retry_after=1 times=1")
    desk.base = served.base
    process = desk.start("run", desk.jobs(30, concurrency=2), "--log-format", "json")
    served.wait_for(accepted=4)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    found = objects(err)
    assert of(found, "paused")[0]["seconds"] == 1.0
    assert [line["reason"] for line in of(found, "stopping")] == ["interrupted by SIGTERM"]
    assert of(found, "concurrency")[0]["limit"] == 2
    progress = of(found, "progress")[0]
    names = ("done", "skipped", "paid", "in_flight", "queued", "failed", "cancelled", "unknown", "missing")
    assert progress["total"] == sum(progress[name] for name in names) == 30
    assert found[-1]["exit_code"] == process.returncode == 75
    assert found[-1]["next"][0].startswith("runner run ")


def test_an_error_of_the_whole_command_is_an_object_too(desk):
    """A broken manifest and a missing token: `run_finished` with the exit code and what is wrong."""
    broken = desk("run", desk.write("jobs: []\noutput: out\n"), "--log-format", "json")
    found = objects(broken.stderr)
    assert (found[-1]["exit_code"], bool(found[-1]["problems"])) == (broken.returncode, True) == (65, True)
    locked_out = desk("run", desk.jobs(1), "--log-format", "json")
    assert "token" in objects(locked_out.stderr)[-1]["error"]
