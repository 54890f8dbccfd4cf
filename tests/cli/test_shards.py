"""Shards on the command line: parts of one batch as processes of their own."""

from __future__ import annotations

import json


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
    assert desk("status", "out/results.1-of-2.jsonl").stdout == desk("status", manifest).stdout


def test_a_shard_that_cannot_be_is_a_usage_error(desk):
    """Exit 64, and nothing is made."""
    manifest = desk.jobs(1)
    for text, words in (("3/2", "there is no shard 3/2"), ("two", "neither a part like 2/4"), ("auto", "Slurm array")):
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
