"""Open questions and how they are settled, calling off, and doing over: as a person types it."""

from __future__ import annotations

import json

import pytest
from support.sampling import sampled
from support.waiting import wait_for

from runner.core.models import State


@pytest.fixture
def doubtful(desk, serve):
    """One job is unknown and one is done; there is no token any more."""
    served = serve("--fault", "submit reset when=after times=1")
    desk.base = served.base
    assert desk("run", desk.jobs(2, concurrency=1)).returncode == 2
    return served


def listing(desk, *words):
    ended = desk("reconcile", "batch.yaml", "--json", *words)
    assert "Traceback" not in ended.stderr
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else ended.stderr


def test_the_summary_names_the_command_to_type(desk, serve):
    """A run that leaves a question says which command settles it, with what was typed."""
    desk.base = serve("--fault", "submit reset when=after times=1").base
    ended = desk("run", desk.jobs(1))
    assert f"next: runner reconcile {desk.folder / 'batch.yaml'}\n" in ended.stderr
    ended = desk("run", "batch.yaml", "--output", "out")
    assert "next: runner reconcile out\n" in ended.stderr


def test_reconcile_lists_without_token_or_manifest(desk, doubtful):
    """The folder alone will do: no token, no manifest. Exit 2 as long as something is open."""
    base, desk.base = desk.base, ""
    code, found = listing(desk)
    assert code == 2
    assert [(entry["id"], entry["purchase"], entry["prompt"]) for entry in found["unknown"]] == [
        ("job-0", 1, "picture 0")
    ]
    assert found["unknown"][0]["intended_at"].endswith("Z")
    assert (found["unknown"][0]["reserved_usd"], found["stuck"]) == (0.0045, [])
    (desk.folder / "batch.yaml").unlink()
    told = desk("reconcile", "out")
    assert told.returncode == 2
    assert "job-0/1" in told.stdout
    assert "picture 0" in told.stdout
    assert "--adopt ID=REQUEST_ID" in told.stdout
    desk.base = base


def test_the_three_words(desk, doubtful):
    """`--rebuy all` closes the question, `--lost` gives it up for good, and the next run buys the job once."""
    assert listing(desk, "--rebuy", "all")[0] == 0
    assert listing(desk, "--lost", "job-0")[0] == 0
    assert desk.records()["job-0"].state is State.RELEASED
    assert desk("run", "batch.yaml").returncode == 0
    assert doubtful.stats["accepted"] == 3


def test_adopt_and_run(desk, doubtful):
    """`--adopt ID=REQUEST_ID`, and the run brings it home without a submission."""
    import urllib.request

    with urllib.request.urlopen(f"{desk.base.removesuffix('/v1')}/_emulator/requests") as answer:
        request_id = json.load(answer)[0]["request_id"]
    assert desk("reconcile", "batch.yaml", "--adopt", f"job-0={request_id}").returncode == 0
    assert desk("run", "batch.yaml").returncode == 0
    assert doubtful.stats["submissions"] == 2
    assert (desk.folder / "out" / "job-0.png").is_file()


@pytest.mark.slow
def test_adopting_nonsense_is_refused(desk, doubtful):
    """The API answers 404: exit 64, and the question stays open. `--offline` adopts it unseen."""
    refused = desk("reconcile", "batch.yaml", "--adopt", "job-0=nonsense")
    assert refused.returncode == 64
    assert "the API has no request nonsense" in refused.stderr
    assert desk.records()["job-0"].state is State.UNKNOWN
    assert desk("reconcile", "batch.yaml", "--adopt", "job-0=nonsense", "--offline").returncode == 0
    assert desk.records()["job-0"].state is State.SUBMITTED


@sampled(
    ("words", "said"),
    [
        (["--lost", "job-00"], "did you mean `job-0`"),
        (["--lost", "job-1"], "is done"),
        (["--adopt", "job-0"], "ID=REQUEST_ID"),
        (["--adopt", "job-0=a b"], "not a request id"),
        (["--rebuy", "tote"], "tote"),
    ],
    quick=2,
)
def test_a_wrong_word_is_64(desk, doubtful, words, said):
    """What makes no sense is explained, and nothing is settled."""
    code, told = listing(desk, *words)
    assert code == 64
    assert said in told
    assert "Nothing was recorded" in told


def test_settling_waits_for_a_run_to_end(desk, serve):
    """While a run holds the folder nothing is settled: exit 75; looking is allowed."""
    served = serve("--seconds", "30")
    desk.base = served.base
    first = desk.start("run", desk.jobs(1))
    served.wait_for(accepted=1)
    assert desk("reconcile", "batch.yaml", "--rebuy", "all").returncode == 75
    assert desk("reconcile", "batch.yaml").returncode in (0, 2)
    first.kill()
    first.communicate()


def test_nothing_open(desk):
    """A folder without questions: said, exit 0; a folder without results: exit 64."""
    desk("run", desk.jobs(1), "--emulator")
    told = desk("reconcile", "batch.yaml", "--emulator")
    assert told.returncode == 0
    assert "every purchase is resolved" in told.stdout
    assert desk("reconcile", "nowhere").returncode == 64


def test_cancel_says_what_was_called_off(desk, serve):
    """Interrupted with requests in the queue: `cancel` calls off those that wait; the rest is owed, exit 75."""
    served = serve("--seconds", "30", "--workers", "1")
    desk.base = served.base
    first = desk.start("run", desk.jobs(3))
    wait_for(lambda: sum(record.state is State.SUBMITTED for record in _records(desk)) == 3)
    first.kill()
    first.communicate()
    ended = desk("cancel", "batch.yaml", "--json")
    assert ended.returncode == 75
    result = json.loads(ended.stdout)
    assert (result["cancelled"], result["owed"], result["failed"], result["stuck"]) == (2, 1, 0, 0)
    told = desk("cancel", "out")
    assert "cancelled: 0; paid, not downloaded yet: 1" in told.stdout
    desk.base = ""
    assert desk("cancel", "out").returncode == 77


def _records(desk):
    path = desk.folder / "out" / "results.jsonl"
    return desk.records().values() if path.exists() and path.read_bytes().endswith(b"\n") else ()


def test_redo_wants_a_choice(desk):
    """`--redo` without saying what is a mistake that could be dear: exit 64."""
    manifest = desk.jobs(1)
    for words in (["--redo"], ["--all"], ["--missing"], ["--redo", "--all", "--missing"]):
        ended = desk("run", manifest, "--emulator", *words)
        assert ended.returncode == 64
        assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_redo_by_name(desk):
    """`--redo --only job-0` buys that one anew and keeps its old picture."""
    manifest = desk.jobs(2)
    desk("run", manifest, "--emulator")
    ended = desk("run", manifest, "--emulator", "--redo", "--only", "job-0", "--json")
    assert json.loads(ended.stdout)["done"] == 1
    assert (desk.folder / "out/.replaced/job-0/1/job-0.png").is_file()


@pytest.mark.parametrize("verb", ["reconcile", "cancel", "run"])
def test_each_verb_shows_an_example(desk, verb):
    """`--help` ends with a command that can be typed."""
    assert f"runner {verb} " in desk(verb, "--help").stdout.partition("Example")[2]
