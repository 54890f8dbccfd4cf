"""The command line as a person or a cron line meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from support.broken_manifests import BROKEN, golden
from support.sampling import sampled
from support.waiting import wait_for

from runner.core.models import State

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"

COUNTS = ("done", "skipped", "failed", "cancelled", "unknown", "owed", "left", "missing")


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    return out, err


def test_the_emulator_inside_the_process_needs_no_account(desk):
    """`run MANIFEST --emulator` works with nothing set up, and puts results where the contract says."""
    desk.write(
        "model: blackforestlabs/flux-2-klein/4b/text-to-image\njobs:\n  - {id: a, prompt: x, size: 64x64}\n",
        "jobs/m.yaml",
    )
    ended = desk("run", "jobs/m.yaml", "--emulator", "--json")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert summary["output"] == str(desk.folder / "jobs/output/m-emulator")
    assert (desk.folder / "jobs/output/m-emulator/a.png").is_file()
    assert summary["total"] == sum(summary[name] for name in COUNTS) == summary["done"] == 1
    assert desk.records("jobs/output/m-emulator")["a"].api == "emulator"


def test_json_has_exactly_the_promised_fields(desk):
    """`--json` ends with one object of the documented fields on stdout, and nothing else is printed there."""
    ended = desk("run", desk.jobs(2), "--emulator", "--json")
    fields = ["total", *COUNTS, "cost_usd", "spent_usd", "seconds", "output", "results"]
    assert list(json.loads(ended.stdout)) == fields


def test_json_comes_even_with_an_error(desk):
    """A script that reads `--json` gets its object when the manifest is broken, or the token is missing, too."""
    broken = desk("run", desk.write("jobs: []\noutput: out\n"), "--json")
    assert broken.returncode == 65
    assert json.loads(broken.stdout)["total"] == 0
    locked_out = desk("run", desk.jobs(1), "--json")
    assert locked_out.returncode == 77
    assert "token" in json.loads(locked_out.stdout)["error"]


@pytest.mark.slow
def test_what_is_owed_is_not_forgotten_where_a_run_cannot_start(desk, serve):
    """A script that watches `owed` and `spent_usd` sees the folder's, with the token gone and a manifest broken."""
    served = serve("--fault", "file status status=500")
    desk.base = served.base
    manifest = desk.jobs(2, retries=0)
    assert json.loads(desk("run", manifest, "--json").stdout)["owed"] == 2
    desk.base = ""
    locked_out = desk("run", manifest, "--json")
    found = json.loads(locked_out.stdout)
    assert (locked_out.returncode, found["owed"], found["total"], found["spent_usd"]) == (77, 2, 2, 0.009)
    desk.base = serve().base
    folder = desk.folder / "nothing"
    folder.mkdir()
    assert json.loads(desk("collect", folder, "--json").stdout)["error"].endswith("no run has used this folder yet")


@pytest.mark.slow
def test_what_a_broken_manifest_brings_home_is_counted(desk, serve):
    """Nothing is bought, and the object says what came home and what the folder has cost."""
    desk.base = serve("--fault", "file status status=500 times=2").base
    assert desk("run", desk.jobs(2, retries=0)).returncode == 75
    broken = desk.write("output: out\njobs: []\n")
    ended = desk("run", broken, "--json")
    found = json.loads(ended.stdout)
    assert (ended.returncode, found["done"], found["owed"], found["spent_usd"]) == (65, 2, 0, 0.009)
    assert "batch.yaml:2:" in found["error"]


def test_status_counts_what_was_not_tried_and_knows_a_dead_holder(desk, serve):
    """After kill -9, `status` says how many jobs are left, and does not claim that a dead process holds the folder."""
    served = serve("--seconds", "30")
    desk.base = served.base
    process = desk.start("run", desk.jobs(5, concurrency=2))
    served.wait_for(accepted=2)
    process.kill()
    finish(process)
    status = json.loads(desk("status", "batch.yaml", "--json").stdout)
    assert (status["total"], status["left"]) == (5, 3)
    assert status["total"] == sum(status[name] for name in COUNTS)
    assert status["held_by"] is None


def test_without_a_token_nothing_is_bought(desk, serve):
    """No token: exit 77, and the message says which variables to set."""
    desk.base = ""
    ended = desk("run", desk.jobs(1))
    assert ended.returncode == 77
    assert "RUNCOMFY_TOKEN" in ended.stderr
    assert not (desk.folder / "out" / "results.jsonl").exists()


def test_a_broken_manifest_names_every_fault_and_buys_nothing(desk, serve):
    """All faults at once with file:line:column, exit 65, nothing submitted."""
    served = serve()
    desk.base = served.base
    model = "model: blackforestlabs/flux-2-klein/4b/text-to-image\n"
    text = f"{model}jobs:\n  - {{id: a, prompt: x, width: 9999}}\n  - {{id: a, promt: x}}\n"
    ended = desk("run", desk.write(text))
    assert ended.returncode == 65
    assert "batch.yaml:3:" in ended.stderr
    assert "batch.yaml:4:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert served.stats["submissions"] == 0


def test_a_plan_of_a_broken_manifest_prints_its_faults_and_nothing_else(desk):
    """`plan` says word for word what the expected texts of broken manifests hold, and exits with 65."""
    name = "all-at-once.yaml"
    (desk.folder / name).write_bytes((BROKEN / "document" / name).read_bytes())
    ended = desk("plan", name)
    assert (ended.returncode, ended.stdout, ended.stderr) == (65, "", golden("document/all-at-once").read_text())


def test_a_broken_manifest_still_brings_home_what_is_owed(desk, serve):
    """Faults stop buying, not collecting: what earlier runs paid for is delivered, exit 65."""
    served = serve("--fault", "file status status=500 times=2")
    desk.base = served.base
    assert desk("run", desk.jobs(1, retries=1)).returncode == 75
    desk.write("output: out\nmodel: x\njobs: [}")
    ended = desk("run", "batch.yaml", "--output", "out")
    assert ended.returncode == 65
    assert desk.records()["job-0"].state is State.DONE
    assert served.stats["submissions"] == 1


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "m.yaml", "--concurrency", "0"], ["nonsense"], ["run", "m.yaml", "--bogus"]]
)
def test_wrong_usage_is_64(desk, arguments):
    """A command line that makes no sense exits 64 with a hint."""
    ended = desk(*arguments)
    assert ended.returncode == 64
    assert "Traceback" not in ended.stderr


def test_plain_http_to_another_machine_is_refused(desk):
    """The token is never sent unencrypted over a network."""
    ended = desk("run", desk.jobs(1), "--api", "http://example.com/v1")
    assert ended.returncode == 64
    assert "https" in ended.stderr


def test_the_emulator_never_takes_the_place_of_what_was_paid(desk, serve):
    """`--emulator` in a folder of real purchases: exit 65, and every paid picture stays where it is."""
    desk.base = serve().base
    manifest = desk.jobs(1)
    desk("run", manifest)
    before = (desk.folder / "out/job-0.png").read_bytes()
    ended = desk("run", manifest, "--emulator")
    assert ended.returncode == 65
    assert "job-0 was bought at" in ended.stderr
    assert (desk.folder / "out/job-0.png").read_bytes() == before


def test_a_second_run_is_told_who_holds_the_folder(desk, serve):
    """One run at a time: the second exits 75 and names the first."""
    served = serve("--seconds", "30")
    desk.base = served.base
    first = desk.start("run", desk.jobs(2))
    served.wait_for(accepted=2)
    second = desk("run", "batch.yaml")
    assert second.returncode == 75
    assert str(first.pid) in second.stderr
    first.kill()
    finish(first)


def test_status_and_plan_work_while_a_run_goes_on(desk, serve):
    """Readers need no lock and change nothing."""
    served = serve("--seconds", "30")
    desk.base = served.base
    first = desk.start("run", desk.jobs(3))
    served.wait_for(accepted=3)
    desk.wait_for(submitted=3)  # the emulator knows of a request before the one who asked does
    status = json.loads(desk("status", "batch.yaml", "--json").stdout)
    assert (status["owed"], status["total"]) == (3, 3)
    assert str(first.pid) in status["held_by"]
    plan = json.loads(desk("plan", "batch.yaml", "--json").stdout)
    assert (plan["collect"], plan["buy"]) == (3, 0)
    first.kill()
    finish(first)


@sampled("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], quick=1)
def test_the_first_signal_finishes_what_is_in_flight(desk, serve, number):
    """Ctrl-C, SIGTERM, a closed terminal: nothing more is bought, what is in flight comes home, exit 75."""
    served = serve("--seconds", "0.2", "--workers", "2")
    desk.base = served.base
    process = desk.start("run", desk.jobs(20, concurrency=2), "--json")
    served.wait_for(accepted=2)
    process.send_signal(number)
    out, err = finish(process)
    assert process.returncode == 75, err
    summary = json.loads(out)
    assert summary["done"] == served.stats["accepted"] < 20
    assert summary["left"] == 20 - summary["done"]
    assert "Traceback" not in err
    assert desk("run", "batch.yaml").returncode == 0
    assert served.stats["submissions"] == 20


def test_the_second_signal_ends_at_once_and_loses_nothing(desk, serve):
    """Twice Ctrl-C: exit 75 at once; the next run collects what was paid for."""
    served = serve("--seconds", "3")
    desk.base = served.base
    process = desk.start("run", desk.jobs(4))
    desk.wait_for(submitted=4)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "SIGINT" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    finish(process)
    assert process.returncode == 75
    assert desk("run", "batch.yaml").returncode == 0
    assert served.stats["submissions"] == 4


def test_killed_in_the_middle_and_repeated(desk, serve):
    """kill -9 at any moment, then the same command: each job is submitted once, and all are done or named unknown."""
    served = serve("--seconds", "0.2", "--workers", "3")
    desk.base = served.base
    manifest = desk.jobs(12, concurrency=3)
    for submissions in (1, 4, 7, 10):
        process = desk.start("run", manifest)
        served.wait_for(accepted=submissions)
        process.kill()
        finish(process)
    ended = desk("run", manifest, "--json")
    summary = json.loads(ended.stdout)
    assert served.stats["duplicates"] == {}
    assert summary["done"] + summary["skipped"] + summary["unknown"] == 12
    unknown = [record.id for record in desk.records().values() if record.state is State.UNKNOWN]
    assert len(unknown) == summary["unknown"]
    assert served.stats["accepted"] >= 12 - len(unknown)
    assert ended.returncode == (2 if unknown else 0)


@pytest.mark.slow
def test_the_emulator_inside_survives_the_process(desk):
    """kill -9 of `run --emulator` and the same command again: its requests are still there, nothing is bought twice."""
    manifest = desk.jobs(6, concurrency=2)
    journal = desk.folder / "out/.runner/emulator/requests.jsonl"
    process = desk.start("run", manifest, "--emulator")
    wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 4)
    process.kill()
    finish(process)
    ended = desk("run", manifest, "--emulator", "--json")
    assert ended.returncode in (0, 2), ended.stderr
    inputs = [json.loads(line).get("input") for line in journal.read_text().splitlines()]
    prompts = [given["prompt"] for given in inputs if given]
    assert len(prompts) == len(set(prompts))
    summary = json.loads(ended.stdout)
    assert summary["done"] + summary["skipped"] + summary["unknown"] == 6


def test_a_manifest_from_standard_input(desk):
    """`-` reads the manifest from stdin; its paths start at the current folder."""
    text = (
        "name: piped\nmodel: blackforestlabs/flux-2-klein/4b/text-to-image\njobs: [{id: a, prompt: x, size: 64x64}]\n"
    )
    ended = desk("run", "-", "--emulator", stdin=text)
    assert ended.returncode == 0, ended.stderr
    assert (desk.folder / "output/piped-emulator/a.png").is_file()


def test_a_manifest_from_standard_input_is_resumed(desk, serve):
    """The same text again goes on in the same folder, also under a plan, and buys nothing; edited it buys the rest."""
    served = serve()
    desk.base = served.base
    text = f"name: piped\nmodel: {KLEIN}\ndefaults: {{width: 64, height: 64}}\njobs:\n- {{id: a, prompt: x}}\n"
    assert desk("run", "-", stdin=text).returncode == 0
    assert "A run would buy nothing" in desk("plan", "-", stdin=text).stdout
    again = desk("run", "-", stdin=text)
    assert (again.returncode, "nothing was submitted" in again.stderr) == (0, True)
    more = json.loads(desk("run", "-", "--json", stdin=f"{text}- {{id: b, prompt: y}}\n").stdout)
    assert (more["skipped"], more["done"], more["output"]) == (1, 1, str(desk.folder / "output/piped"))
    assert served.stats["submissions"] == 2


def test_bad_rows_are_left_out_on_request_and_end_in_exit_1(desk):
    """`on_bad_row: skip`: the good rows are bought, the others named and counted, and the run says so at its end."""
    desk.write("id,prompt,size\na,x,64x64\nb,,64x64\nc,z,64xx\n", "rows.csv")
    manifest = desk.write(f"model: {KLEIN}\noutput: out\non_bad_row: skip\njobs: [{{from: rows.csv}}]\n")
    ended = desk("run", manifest, "--emulator", "--json")
    assert ended.returncode == 1
    assert "rows.csv:3:1" in ended.stderr
    assert "2 rows of feeds were skipped" in ended.stderr
    report = json.loads(ended.stdout)
    assert (report["total"], report["done"]) == (1, 1)
    assert desk("run", manifest, "--emulator").returncode == 1


def test_an_output_folder_that_cannot_be_written_is_refused_first(desk, serve):
    """A file stands where the folder should be: exit 73, nothing submitted."""
    served = serve()
    desk.base = served.base
    (desk.folder / "out").write_text("a file")
    ended = desk("run", desk.jobs(1))
    assert ended.returncode == 73
    assert "Traceback" not in ended.stderr
    assert served.stats["submissions"] == 0


def test_plan_says_for_each_job_what_and_why(desk, serve):
    """`plan --jobs` lists every job with its action and reason, and submits nothing."""
    served = serve()
    desk.base = served.base
    manifest = desk.jobs(2)
    before = desk("plan", manifest, "--jobs")
    assert before.returncode == 0
    assert "job-0: new" in before.stdout
    assert str(desk.folder / "out") in before.stdout
    assert served.stats["submissions"] == 0
    assert not (desk.folder / "out").exists()
    desk("run", manifest)
    after = desk("plan", manifest)
    assert "A run would buy nothing" in after.stdout


def test_a_rerun_says_that_nothing_was_submitted(desk):
    """A finished batch run again says so in words."""
    manifest = desk.jobs(2)
    desk("run", manifest, "--emulator")
    again = desk("run", manifest, "--emulator")
    assert again.returncode == 0
    assert "nothing was submitted" in again.stderr


def test_quiet_and_done_prints_nothing(desk):
    """For cron: `--quiet` is silent when all is done."""
    ended = desk("run", desk.jobs(1), "--emulator", "--quiet")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.slow
def test_no_token_in_anything_that_is_written_or_printed(desk, serve):
    """With faults and --verbose, the token appears in no output and no file."""
    served = serve(
        "--fault", "submit reset p=0.3", "--fault", "result status status=500 p=0.3", "--fault", "file html p=0.2"
    )
    desk.base = served.base
    ended = desk("run", desk.jobs(10), "--verbose", "--json")
    texts = [ended.stdout, ended.stderr, *(p.read_text("latin-1") for p in desk.folder.rglob("*") if p.is_file())]
    assert not any("test-token" in text for text in texts)


def test_a_bug_of_ours_is_told_from_failed_jobs():
    """Exit 70, with the traceback that a report needs; 1 would say that jobs failed."""
    program = "import sys; from runner.cli import main as cli; cli.COMMANDS['broken'] = ''; sys.exit(cli.main())"
    ended = subprocess.run([sys.executable, "-c", program, "broken"], capture_output=True, text=True, check=False)
    assert ended.returncode == 70
    assert "ModuleNotFoundError" in ended.stderr
    assert "run the same command again to continue" in ended.stderr


def test_help_and_version(desk):
    """`--help` lists every verb with an example; `--version` names the version."""
    text = desk("--help").stdout
    assert all(verb in text for verb in ("run", "plan", "status", "collect", "emulator"))
    assert "runner run jobs/demo.yaml --emulator" in text
    assert desk("--version").stdout.startswith("runner, version")
