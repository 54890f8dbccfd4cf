"""`runner status` in another terminal, after a crash, and after the end: what a person reads there."""

from __future__ import annotations

import json
import re

import pytest
from support.sampling import sampled


def test_during_a_crash_and_after(desk, serve):
    """Who is at it; then that nobody is and what to do; failures first, what is owed with its age; then the end."""
    served = serve("--seconds", "30", "--fault", "job fail match='picture 0'")
    desk.base = served.base
    process = desk.start("run", desk.jobs(4, concurrency=3))
    desk.wait_for(submitted=3)
    during = desk("status", "batch.yaml").stdout
    assert f"In use by process {process.pid} on " in during
    assert "No run is in progress" not in during
    assert "3 in flight, 1 left" in during
    assert "Unknown" not in during
    assert "not downloaded" not in during
    assert json.loads(desk("status", "batch.yaml", "--json").stdout)["in_flight"] == 3
    process.kill()
    process.communicate()
    crashed = desk("status", "batch.yaml").stdout
    assert "4 jobs: 3 paid (not downloaded yet), 1 left" in crashed
    assert "No run is in progress." in crashed
    assert re.search(r"Paid, not downloaded yet: 3, the oldest for \d+ s:\n", crashed)
    steps = "next: runner run batch.yaml\n      downloads 3 paid results at no cost, and buys 1 waiting job\n"
    assert crashed.endswith(steps)
    assert "next:" not in during
    assert re.search(r"  job-1 \(request [\w-]+\), for \d+ s\n", crashed)


def test_after_the_end_the_failures_come_first(desk, serve):
    """Failures, then open questions; nothing is said of going on where nothing is left."""
    faults = ["--fault", "job fail match='picture 0'", "--fault", "submit reset when=after match='picture 1'"]
    desk.base = serve(*faults).base
    assert desk("run", desk.jobs(3)).returncode == 2
    told = desk("status", "batch.yaml").stdout
    titles = ["Failed:", "Unknown outcome, may have been charged; resolve with `runner reconcile`:"]
    assert [line for line in told.splitlines() if line.endswith(":")] == titles
    assert "No run" not in told
    assert "not downloaded" not in told
    steps = [line for line in told.splitlines() if line.startswith("next:")]
    assert steps == ["next: runner reconcile batch.yaml", "next: runner run batch.yaml --failed"]


def test_each_group_has_the_step_that_helps_it(desk, serve):
    """What is only paid is collected, a missing file repaired, a stuck one resolved, and a whole batch looked at."""
    desk.base = serve("--seconds", "30").base
    process = desk.start("run", desk.jobs(1))
    desk.wait_for(submitted=1)
    process.kill()
    process.communicate()
    desk.base = ""
    told = desk("status", "batch.yaml").stdout
    steps = "next: runner collect batch.yaml\n      downloads 1 paid result at no cost, and buys nothing\n"
    assert told.endswith(steps)
    desk.base = serve().base
    other = desk.write(desk.jobs(1).read_text().replace("output: out", "output: two"), "two.yaml")
    assert desk("run", other).returncode == 0
    assert "next: runner report two.yaml\n" in desk("status", "two.yaml").stdout
    (desk.folder / "two" / "job-0.png").unlink()
    assert "next: runner verify two.yaml --repair\n" in desk("status", "two.yaml").stdout
    assert "next: runner verify two --repair\n" in desk("status", "two").stdout


def test_what_is_owed_is_listed_oldest_first_with_its_age(desk):
    """Ages as people say them; of very many the oldest are shown and the rest counted."""
    (desk.folder / "out").mkdir()
    fields = {"purchase": 1, "state": "submitted", "api": "a", "manifest": "-", "model": "m", "inputs": {}}
    lines = [
        {**fields, "id": f"job-{n}", "at": f"2026-11-{n:02}T01:02:03.456Z", "fingerprint": "", "file": f"f{n}"}
        for n in range(25, 0, -1)
    ]
    text = "".join(json.dumps({**line, "request_id": "r", "submitted_at": line["at"]}) + "\n" for line in lines)
    (desk.folder / "out/results.jsonl").write_text(text)
    told = desk("status", "out").stdout.splitlines()
    ids = [line.split()[0] for line in told if line.startswith("  job-")]
    assert ids == [f"job-{n}" for n in range(1, 21)]
    assert "  … and 5 more" in told
    assert "next: runner collect out" in told


def test_a_stuck_purchase_is_named_once(desk):
    """What waits for the user's word stands with the questions, and not among what a run fetches."""
    (desk.folder / "out").mkdir()
    fault = {"code": "expired", "message": "the API no longer knows it"}
    fields = {"purchase": 1, "state": "submitted", "api": "a", "manifest": "-", "model": "m", "inputs": {}}
    line = {**fields, "id": "mug", "at": "now", "fingerprint": "", "file": "mug", "request_id": "r", "error": fault}
    (desk.folder / "out/results.jsonl").write_text(json.dumps(line) + "\n")
    told = desk("status", "out").stdout
    assert told.count("mug (request r)") == 1
    assert "1 job: 1 stuck" in told
    assert "not downloaded" not in told


@sampled("word", ["resubmit", "rebuy"], quick=1)
def test_what_was_bought_anew_is_no_question_any_more(desk, serve, word):
    """Once the second purchase is home, status says done, and the report shows the picture."""
    desk.base = serve("--fault", "submit reset when=after times=1").base
    manifest = desk.jobs(1)
    assert desk("run", manifest).returncode == 2
    if word == "rebuy":
        assert desk("reconcile", manifest, "--rebuy", "job-0").returncode == 0
        assert json.loads(desk("status", manifest, "--json").stdout)["left"] == 1
        assert desk("run", manifest).returncode == 0
    else:
        assert desk("run", manifest, "--on-unknown", "resubmit").returncode == 0
    status = json.loads(desk("status", manifest, "--json").stdout)
    assert (status["done"], status["total"], status["open"]) == (1, 1, [])
    assert desk("report", manifest).returncode == 0
    assert "job-0.png" in (desk.folder / "out" / "report.html").read_text()


def test_jobs_that_left_the_manifest_are_told_and_listed(desk, serve):
    """Nobody has to search for pictures that no job makes any more; jobs of another manifest are none of these."""
    desk.base = serve().base
    assert desk("run", desk.jobs(3)).returncode == 0
    other = desk.write((desk.folder / "batch.yaml").read_text().replace("job-", "theirs-"), "other.yaml")
    assert desk("run", other).returncode == 0
    desk.jobs(1)
    told = desk("status", "batch.yaml").stdout
    assert "2 no longer in the manifest (nothing is deleted; --gone lists them)" in told
    assert "  job-2" not in told
    listed = desk("status", "batch.yaml", "--gone").stdout
    assert [line.strip() for line in listed.splitlines() if line.startswith("  job")] == ["job-1", "job-2"]
    assert json.loads(desk("status", "batch.yaml", "--json").stdout)["gone"] == 2
    assert "no longer" not in desk("status", "other.yaml").stdout


def test_the_results_of_the_emulator_are_found(desk):
    """After a first try with --emulator, the commands that read work without it; those that ask an API say so."""
    manifest = desk.write(desk.jobs(1).read_text().replace("output: out\n", ""))
    assert desk("run", manifest, "--emulator").returncode == 0
    for command in ("status", "export", "report", "verify", "reconcile"):
        read = desk(command, manifest)
        assert (read.returncode, "these are those of --emulator" in read.stderr) == (0, True)
    for words in (["collect"], ["cancel"], ["verify", "--repair"], ["reconcile", "--lost", "job-0"]):
        refused = desk(words[0], manifest, *words[1:])
        assert (refused.returncode, "repeat with --emulator" in refused.stderr) == (64, True)
    assert desk("collect", manifest, "--emulator").returncode == 0


@pytest.mark.slow
def test_watching_ends_with_the_run(desk, serve):
    """The state is shown until nobody is at work any more; the last one is that of the end."""
    served = serve("--seconds", "1")
    desk.base = served.base
    process = desk.start("run", desk.jobs(1))
    served.wait_for(accepted=1)
    told = desk("status", "batch.yaml", "--watch").stdout
    process.communicate()
    assert "1 in flight" in told
    last = told.rstrip().splitlines()[-4:]
    assert last[0].endswith("1 job: 1 done")
    assert last[2] == "next: runner report batch.yaml"


def test_cancel_during_a_run_says_how_to_end_that_run(desk, serve):
    """The folder is locked; waiting is not the only way."""
    served = serve("--seconds", "30")
    desk.base = served.base
    process = desk.start("run", desk.jobs(1))
    served.wait_for(accepted=1)
    ended = desk("cancel", "batch.yaml")
    assert ended.returncode == 75
    assert f"in use by process {process.pid}" in ended.stderr
    assert "press Ctrl-C there" in ended.stderr
    process.kill()
    process.communicate()
