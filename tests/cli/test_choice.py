"""Choosing jobs: ``--only``, ``--only-from`` and ``--failed`` in each command that takes them, and ``--buy``."""

from __future__ import annotations

import json

import pytest
from support.sampling import sampled

from runner.cli.arguments import ids_in
from runner.core.models import Job, State
from runner.ledger.records import follow, intent
from runner.planning.selection import failed_ids


def planned(desk, *words: object) -> list[str]:
    """The ids of the jobs that a plan with these options is about."""
    ended = desk("plan", "batch.yaml", "--jobs", "--json", *words)
    assert ended.returncode == 0, ended.stderr
    return [job["id"] for job in json.loads(ended.stdout)["jobs"]]


def test_names_add_up(desk, serve):
    """Each `--only` and each id of a file adds its jobs: none replaces another, and a redo buys just these."""
    desk.base = serve().base
    desk.jobs(8)
    desk.folder.joinpath("ids.txt").write_text("job-6\n\njob-7\n")
    assert planned(desk, "--only", "job-1", "--only", "job-[23]") == ["job-1", "job-2", "job-3"]
    assert planned(desk, "--only", "job-1", "--only-from", "ids.txt") == ["job-1", "job-6", "job-7"]
    assert planned(desk, "--only", "job-*", "--limit", "2") == ["job-0", "job-1"]


@sampled("command", ["run", "plan", "export", "verify", "report", "status"], quick=2)
def test_a_name_that_matches_nothing_is_an_error_with_the_nearest_id(desk, serve, command):
    """A typo in a crontab is no success: exit 64, and nothing is bought, also for the names that match."""
    served = serve()
    desk.base = served.base
    manifest = desk.jobs(3)
    if command not in ("run", "plan"):
        assert desk("run", manifest).returncode == 0
    before = served.stats["submissions"]
    ended = desk(command, manifest, "--only", "job-1", "--only", "jbo-2", *(["--quiet"] if command == "run" else []))
    assert ended.returncode == 64
    assert "no job matches `jbo-2`" in ended.stderr
    assert "did you mean `job-2`?" in ended.stderr
    assert served.stats["submissions"] == before


def test_failed_chooses_what_broke(desk, serve):
    """After a night with failures `--failed` is about these jobs, in a plan and in the receipts."""
    desk.base = serve("--fault", "job fail match='picture 1'", "--fault", "job fail match='picture 3'").base
    manifest = desk.jobs(5)
    assert desk("run", manifest).returncode == 1
    assert planned(desk, "--failed") == ["job-1", "job-3"]
    assert planned(desk, "--failed", "--only", "*-3") == ["job-3"]
    rows = json.loads(desk("export", manifest, "--failed", "--format", "json").stdout)
    assert {row["id"] for row in rows} == {"job-1", "job-3"}


@pytest.mark.slow
def test_the_commands_that_read_tell_of_the_chosen_jobs_only(desk, serve):
    """One batch of five, of which one failed, another was deleted, and a sixth is new in the manifest."""
    desk.base = serve("--fault", "job fail match='picture 1'").base
    assert desk("run", desk.jobs(5)).returncode == 1
    manifest = desk.jobs(6)
    (desk.folder / "out" / "job-2.png").unlink()
    (desk.folder / "out" / "strange.png").write_bytes(b"x")

    def counts(*words: object) -> dict[str, int]:
        found = json.loads(desk("status", manifest, "--json", *words).stdout)
        return {name: found[name] for name in ("total", "done", "failed", "left", "missing") if found[name]}

    assert counts() == {"total": 6, "done": 3, "failed": 1, "left": 1, "missing": 1}
    assert counts("--failed") == {"total": 1, "failed": 1}
    assert counts("--only", "job-[25]") == {"total": 2, "left": 1, "missing": 1}
    desk.folder.joinpath("ids.txt").write_text("job-3\njob-4\n")
    right = desk("verify", "out", "--only-from", "ids.txt")
    assert (right.returncode, "2 of 2 files are right" in right.stdout) == (0, True)
    assert desk("verify", "out").returncode == 1
    assert desk("report", manifest, "--only", "job-[345]").returncode == 0
    page = (desk.folder / "out" / "report.html").read_text()
    assert [f"job-{number}" in page for number in range(6)] == [False, False, False, True, True, False]
    mended = json.loads(desk("verify", manifest, "--repair", "--only", "job-2", "--json").stdout)
    assert (mended["repaired"], mended["checked"], mended["foreign"]) == (["job-2.png"], 1, [])
    assert desk("verify", "out", "--repair-log", "--failed").returncode == 64


@pytest.mark.slow
def test_without_a_manifest_the_results_log_is_what_is_chosen_from(desk, serve):
    """The folder alone serves, with the nearest of its own ids in the message; a job without a purchase is unknown."""
    desk.base = serve().base
    assert desk("run", desk.jobs(2)).returncode == 0
    manifest = desk.jobs(3)
    for command in ("verify", "status", "export"):
        assert desk(command, "out", "--only", "job-1").returncode == 0
        assert desk(command, manifest, "--only", "job-2").returncode == 0
        ended = desk(command, "out", "--only", "job-2")
        assert (ended.returncode, "no job matches `job-2` (did you mean `job-1`?)" in ended.stderr) == (64, True)


@pytest.mark.slow
def test_failed_goes_on_with_a_job_whose_new_submission_was_refused(desk, serve):
    """A run with `--failed` that ends for lack of balance, typed again later, buys the same jobs."""
    no_balance = "submit status status=402 code=400002 match='picture 1' after=1 times=1"
    served = serve("--fault", "job fail match='picture 1' times=1", "--fault", no_balance)
    desk.base = served.base
    manifest = desk.jobs(3, concurrency=1)
    assert desk("run", manifest).returncode == 1
    assert desk("run", manifest, "--failed").returncode == 77
    assert planned(desk, "--failed") == ["job-1"]
    assert desk("run", manifest, "--failed").returncode == 0
    assert served.stats["accepted"] == 4


@pytest.mark.parametrize("states", [("failed", "done"), ("done", "failed")])
def test_failed_is_about_the_newest_purchase_also_of_a_renamed_job(desk, states):
    """A renamed job has its newest purchase first in the results log."""
    job = Job(id="new", model="m", inputs={}, file="new", fingerprint="f")
    records = [
        follow(intent(job, number, at="", api="", manifest=""), State(state), "")
        for number, state in enumerate(states, 1)
    ]
    expected = {"new"} if states[1] == "failed" else set()
    assert failed_ids(records) == failed_ids(reversed(records)) == expected


def test_buy_makes_so_many_purchases_in_a_run_and_the_next_run_goes_on(desk, serve):
    """`--limit 2` is about the same two jobs each night; `--buy 2` buys two more (exit 75 while jobs are left)."""
    served = serve()
    desk.base = served.base
    manifest = desk.jobs(5)
    for codes, bought in ((75, 2), (75, 4), (0, 5)):
        ended = desk("run", manifest, "--buy", "2")
        assert (ended.returncode, served.stats["submissions"]) == (codes, bought), ended.stderr
    assert desk("run", manifest, "--buy", "0").returncode == 0


@pytest.mark.slow
def test_a_refused_submission_does_not_count_as_bought(desk, serve):
    """The API refuses the first two for a moment: still as many are bought as asked for, and not one more."""
    served = serve("--fault", "submit status status=503 retry_after=1 times=2")
    desk.base = served.base
    assert desk("run", desk.jobs(6, concurrency=1), "--buy", "3").returncode == 75
    assert served.stats["accepted"] == 3


@pytest.mark.slow
def test_a_refused_input_does_not_count_as_bought(desk, serve):
    """A job that the API refuses for good costs nothing, and another is bought in its place."""
    served = serve("--fault", "submit status status=422 match='picture 0'")
    desk.base = served.base
    assert desk("run", desk.jobs(4, concurrency=1), "--buy", "2").returncode in (1, 75)
    assert served.stats["accepted"] == 2


MARKED = {
    "version": 1,
    "pictures": [{"id": "a", "sha256": "1", "mark": "reject"}, {"id": "b", "sha256": "2", "mark": "pick"}],
}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a\r\n b \n\nc", {"a": set(), "b": set(), "c": set()}),
        ('["a", "b"]', {"a": set(), "b": set()}),
        (json.dumps(MARKED), {"a": {"1"}}),
    ],
)
def test_a_file_of_ids_is_a_list_or_a_selection(text, ids):
    """Ids one per line, a JSON list, or the rejected pictures of the page's selection."""
    assert ids_in(text) == ids


def test_a_selection_buys_each_rejected_picture_once(desk, serve):
    """The command for a selection may be typed again: what took the place of a rejected picture is not rejected."""
    served = serve()
    desk.base = served.base
    manifest = desk.jobs(4)
    assert desk("run", manifest).returncode == 0
    records = [json.loads(line) for line in (desk.folder / "out" / "results.jsonl").read_text().splitlines()]
    done = {record["id"]: record["outputs"][0]["sha256"] for record in records if record["state"] == "done"}
    marks = [{"id": name, "sha256": done[name], "mark": "reject"} for name in ("job-1", "job-3")]
    desk.folder.joinpath("selection.json").write_text(json.dumps({"version": 1, "pictures": marks}))
    for _ in range(2):
        assert desk("run", manifest, "--redo", "--only-from", "selection.json").returncode == 0
        assert served.stats["accepted"] == 6


DEEP = '{"x": ' + "[" * 20_000 + "]" * 20_000 + ', "pictures": []}'


@pytest.mark.parametrize(
    "text", ['{"pictures": 3}', "[1]", "{", '{"pictures": [{"mark": "reject"}]}', '{"pictures": []}', "", DEEP]
)
def test_a_file_without_ids_selects_nothing_and_is_an_error(desk, text):
    """A file that is empty or damaged never means all jobs."""
    desk.folder.joinpath("chosen").write_text(text)
    ended = desk("run", desk.jobs(2), "--only-from", "chosen")
    assert ended.returncode == 64
    assert "chosen lists no ids" in ended.stderr
