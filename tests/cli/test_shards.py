"""Shards on the command line: parts of one batch as processes of their own."""

from __future__ import annotations

import json

from runner.core.shards import Shard
from runner.ledger import run_lock


def test_shards_by_hand(desk, serve):
    """Two parts, one after the other, are the whole batch; `status` reads them as one, and a plain run is refused."""
    desk.base = serve("--seconds", "0").base
    manifest = desk.jobs(8)
    first = desk("run", manifest, "--shard", "1/2", "--json")
    assert first.returncode == 0, first.stderr
    refused = desk("run", manifest)
    assert refused.returncode == 65
    assert "is split into 2 shards: run each with --shard 1/2 to 2/2" in refused.stderr
    second = desk("run", manifest, "--shard", "2/2", "--json")
    counts = [json.loads(ended.stdout)["done"] for ended in (first, second)]
    assert sum(counts) == 8
    assert min(counts) > 0
    told = json.loads(desk("status", "out", "--json").stdout)
    assert (told["done"], told["total"], told["shards"]) == (8, 8, 2)
    assert "8 jobs in 2 shards: 8 done" in desk("status", manifest).stdout
    lines = desk("status", manifest).stdout.splitlines()
    assert desk("status", "out/results.1-of-2.jsonl").stdout.splitlines()[:-2] == lines[:-2]


def test_a_shard_that_cannot_be_is_a_usage_error(desk):
    """Exit 64, and nothing is made."""
    manifest = desk.jobs(1)
    for text, words in (
        ("3/2", "there is no shard 3/2"),
        ("two", "neither a shard such as 2/4"),
        ("auto", "Slurm array"),
    ):
        ended = desk("run", manifest, "--emulator", "--shard", text)
        assert ended.returncode == 64
        assert words in ended.stderr
    assert not (desk.folder / "out").exists()


def test_surroundings_name_the_shard(desk, serve, monkeypatch):
    """`--shard auto` in an array of jobs needs no arithmetic in a script."""
    desk.base = serve("--seconds", "0").base
    manifest = desk.jobs(8)
    monkeypatch.setenv("RUNNER_SHARDS", "2")
    done = 0
    for index in "01":
        monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
        done += json.loads(desk("run", manifest, "--shard", "auto", "--json").stdout)["done"]
    assert done == 8


def test_a_plan_says_what_a_shard_would_do(desk, serve):
    """Before there is a folder, when it is split, and for the whole: which would be refused, and it says so."""
    desk.base = serve("--seconds", "0").base
    manifest = desk.jobs(8)
    counts = [json.loads(desk("plan", manifest, "--shard", f"{n}/2", "--json").stdout)["buy"] for n in (1, 2)]
    assert sum(counts) == 8
    assert not (desk.folder / "out").exists()
    assert json.loads(desk("run", manifest, "--shard", "1/2", "--json").stdout)["done"] == counts[0]
    told = [json.loads(desk("plan", manifest, *words, "--json").stdout) for words in ([], ["--shard", "1/2"])]
    assert [(plan["reuse"], plan["buy"]) for plan in told] == [(counts[0], counts[1]), (counts[0], 0)]
    assert "is split into 2 shards: run each with --shard" in told[0]["not_now"]
    assert told[1]["not_now"] is None
    other = desk("plan", manifest, "--shard", "3/3")
    assert "is split into 2 shards, not 3: write --shard 2/2" in other.stdout


def test_merged_on_the_command_line(desk, serve):
    """It says what it made; again it says that there is nothing to do; a running shard is named (exit 75)."""
    desk.base = serve("--seconds", "0").base
    manifest = desk.jobs(8)
    assert desk("merge", manifest).returncode == 64
    for part in ("1/2", "2/2"):
        assert desk("run", manifest, "--shard", part, "--quiet").returncode == 0
    with run_lock(desk.folder / "out", "now", Shard(index=2, of=2)):
        refused = desk("merge", "out")
        assert (refused.returncode, "shard 2/2 of" in refused.stderr) == (75, True)
        assert "(shard 2/2)" in desk("status", "out").stdout
    assert "results of 2 shards merged" in desk("merge", manifest).stdout
    assert "is not split into shards; nothing was changed" in desk("merge", manifest).stdout
    assert json.loads(desk("run", manifest, "--json").stdout)["skipped"] == 8


def test_all_shards_are_one_book(desk, serve):
    """`export`, `verify`, `reconcile`, `report` and `cancel` need not be told of shards."""
    desk.base = serve("--seconds", "0").base
    manifest = desk.jobs(8)
    for part in ("1/2", "2/2"):
        desk("run", manifest, "--shard", part, "--quiet")
    assert len(desk("export", "out").stdout.splitlines()) == 9
    assert "8 of 8 files are right" in desk("verify", manifest).stdout
    assert "every purchase is resolved" in desk("reconcile", "out").stdout
    assert "8 jobs" in desk("report", "out").stdout
    assert json.loads(desk("cancel", "out", "--json").stdout)["results"] == str(desk.folder / "out")
    assert json.loads(desk("collect", "out", "--shard", "2/2", "--json").stdout)["total"] == 0
