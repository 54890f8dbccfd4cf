"""Three shards at once, each a process that is killed at random moments and started again; then a merge, killed too."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from runner.ledger import look

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bench, Place

SHARDS = 3
PRICE = 0.0045


def command(bench: Bench, *words: object) -> subprocess.Popen[str]:
    environ = {**os.environ, "RUNCOMFY_MODEL_API_BASE": bench.base, "RUNCOMFY_TOKEN": "test-token"}
    return subprocess.Popen(
        [sys.executable, "-m", "runner", *map(str, words)],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def killed_after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether it was still there to be killed."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    return process.returncode == -9


def run_shard(bench: Bench, manifest: Path, shard: str, kills: int, seed: int) -> tuple[int, int]:
    """Kill it so often, then let it come to its end: how often it was killed, and its exit code."""
    rng = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = command(bench, "run", manifest, "--shard", shard, "--quiet")
        killed += killed_after(process, rng.uniform(0.5, 2.0))
    code, said = ended(command(bench, "run", manifest, "--shard", shard, "--quiet"))
    assert code in (0, 2, 75), said
    return killed, code


def merged(bench: Bench, output: Path, kills: int, rng: random.Random) -> int:
    """Kill the merge so often, then let it come to its end; how often it was killed."""
    killed = sum(killed_after(command(bench, "merge", output), rng.uniform(0.1, 0.6)) for _ in range(kills))
    code, said = ended(command(bench, "merge", output))
    assert code == 0, said
    return killed


def check_money(sold: list[dict[str, Any]], budget: float) -> None:
    assert len(sold) * PRICE <= budget + 1e-9, f"{len(sold)} were sold"


def play(bench: Bench, spot: Place, jobs: list[dict[str, Any]], *, kills: int, seed: int) -> int:
    """Shards with a budget for two thirds of the jobs, a merge, and a plain run without one; how many were killed."""
    budget = PRICE * (2 * len(jobs) // 3)
    before = len(bench.requests())
    manifest = spot.write(jobs, concurrency=6, budget=f"{budget:.4f}", rate="15/s")  # long enough to be killed
    with ThreadPoolExecutor(SHARDS) as threads:
        shards = [f"{index}/{SHARDS}" for index in range(1, SHARDS + 1)]
        rounds = [threads.submit(run_shard, bench, manifest, s, kills, seed + n) for n, s in enumerate(shards)]
        killed = sum(each.result()[0] for each in rounds)
    check_money(bench.requests()[before:], budget)
    assert len(look(spot.output).shards) == SHARDS
    killed += merged(bench, spot.output, kills, random.Random(seed))
    spot.write(jobs, concurrency=6)
    code, said = ended(command(bench, "run", manifest, "--quiet"))
    sold = bench.requests()[before:]
    unknown = {record.id for record in spot.purchases() if record.state == "unknown"}
    assert code == (2 if unknown else 0), said
    times = Counter(request["input"]["prompt"] for request in sold)
    assert max(times.values()) == 1
    assert {job["prompt"] for job in jobs if job["id"] not in unknown} <= set(times)
    spot.check(sold, jobs)
    spot.check_in_force(jobs)
    return killed


@pytest.mark.slow
def test_three_shards_killed_at_random(bench: Bench, place: Callable[[str], Place]) -> None:
    """Nothing is bought twice, nothing is lost, the budget of the folder holds."""
    jobs = [{"id": f"job-{n:03}", "prompt": f"shards {n}"} for n in range(36)]
    assert play(bench, place("shards"), jobs, kills=2, seed=20261122) > 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_three_shards_killed_often(
    bench: Bench, place: Callable[[str], Place], seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same, longer."""
    start = time.monotonic()
    jobs = [{"id": f"job-{n:03}", "prompt": f"shards {seed} {n}"} for n in range(120)]
    killed = play(bench, place(f"shards-{seed}"), jobs, kills=8, seed=1000 * seed)
    with capfd.disabled():
        sys.stdout.write(f" {json.dumps({'kills': killed, 'seconds': round(time.monotonic() - start)})}\n")
