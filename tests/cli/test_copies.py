"""`runner copies` as a person or a script meets it, and what a run says of copies."""

from __future__ import annotations

import csv
import io
import json

MANIFEST = """\
model: blackforestlabs/flux-2-klein/4b/text-to-image
output: out
defaults: {{width: 64, height: 64}}
{top}
jobs:
  - {{id: mug, prompt: a mug}}
  - {{id: cup, prompt: a cup}}
"""
WEB = 'copies: [{file: "web/{{ job.id }}.jpg", fit: 32x32, label: ai}]'


def test_copies_are_made_offline_of_what_an_earlier_run_bought(desk):
    """No token, no network: the numbers are said, and the second time nothing is to do."""
    desk.write(MANIFEST.format(top=""))
    assert desk("run", "batch.yaml", "--emulator").returncode == 0
    desk.write(MANIFEST.format(top=WEB))
    only = desk("copies", "batch.yaml", "--only", "m*", "--json")
    assert (only.returncode, json.loads(only.stdout)["copies"]) == (0, 1)
    ended = desk("copies", "batch.yaml")
    assert (ended.returncode, ended.stdout.rstrip().endswith("out: 1 made")) == (0, True)
    assert "nothing is missing or stale" in desk("copies", "batch.yaml").stdout
    assert sorted(path.name for path in (desk.folder / "out/web").iterdir()) == ["cup.jpg", "mug.jpg"]
    rows = list(csv.DictReader(io.StringIO(desk("export", "out").stdout, newline="")))
    assert sorted(row["copies"] for row in rows) == ["web/cup.jpg", "web/mug.jpg"]
    assert desk("verify", "batch.yaml").returncode == 0


def test_without_copies_in_the_manifest_it_says_so(desk):
    """It names the two keys that would ask for some, and exits with 0."""
    desk.write(MANIFEST.format(top=""))
    desk("run", "batch.yaml", "--emulator")
    ended = desk("copies", "batch.yaml")
    assert (ended.returncode, "asks for no copies" in ended.stdout) == (0, True)


def test_the_summary_names_a_copy_that_cannot_be_made_and_the_command_that_tries_again(desk):
    """Exit 1 of the run and of the command; the pictures count as done."""
    desk.write(MANIFEST.format(top='copies: [{file: "web/{{ job.id }}.jpg", max_bytes: 9B}]'))
    ended = desk("run", "batch.yaml", "--emulator")
    assert ended.returncode == 1
    assert "2 done" in ended.stderr
    assert "2 copies could not be made, such as web/" in ended.stderr
    assert "next: runner copies batch.yaml --emulator" in ended.stderr
    again = desk("copies", "batch.yaml", "--emulator")
    assert (again.returncode, "2 could not be made" in again.stdout) == (1, True)


def test_no_copies_are_made_while_a_run_holds_the_folder(desk, serve):
    """The folder's lock: while a run works there, the command says so and changes nothing."""
    desk.base = serve("--seconds", "30").base
    process = desk.start("run", desk.write(MANIFEST.format(top=WEB)))
    desk.wait_for(submitted=2)
    ended = desk("copies", "batch.yaml")
    process.kill()
    assert (ended.returncode, "in use by process" in ended.stderr) == (75, True)
