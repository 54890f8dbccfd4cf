"""A long run, killed again and again at random moments: the real command line, the emulator in a process of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bench, Place

JOBS = 300
KILLS = 100
LONGEST = 1.2
"""Seconds that a process lives at most before it is killed; starting alone takes about a third of that."""
RESTARTS = 30
"""At most so many more runs until nothing is left to do."""


@pytest.mark.soak
def test_a_run_killed_a_hundred_times(
    bench: Bench, place: Callable[[str], Place], capfd: pytest.CaptureFixture[str]
) -> None:
    """300 jobs, 100 SIGKILLs at random moments (seeded), then to the end: 0 bought twice, 0 lost, 0 broken files."""
    spot = place("soak")
    jobs = [{"id": f"job-{n:03}", "prompt": f"soak {n}"} for n in range(JOBS)]
    manifest = spot.write(jobs, concurrency=4, rate="12/s")
    kills = _kill_often(bench, manifest, random.Random(20261122))
    code = _finish(bench, manifest)
    sold = bench.requests()
    unknown = sum(record.state == "unknown" for record in spot.purchases())
    lost, broken = _lost(spot, sold), _broken(spot)
    prompts = [request["input"]["prompt"] for request in sold]
    duplicates = len(prompts) - len(set(prompts))
    names = ("kills", "submissions", "duplicates", "unknown", "lost", "broken files")
    values = (kills, len(sold), duplicates, unknown, lost, broken)
    with capfd.disabled():
        sys.stdout.write(
            "\n" + "\n".join(f"{name:>12} {value:>5}" for name, value in zip(names, values, strict=True)) + "\n"
        )
    assert (kills, duplicates, lost, broken) == (KILLS, 0, 0, 0)
    assert code == (2 if unknown else 0)
    spot.check(sold, jobs)
    spot.check_in_force(jobs)


def _start(bench: Bench, manifest: Path) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "RUNCOMFY_MODEL_API_BASE": bench.base, "RUNCOMFY_TOKEN": "test-token"}
    command = [sys.executable, "-m", "runner", "run", str(manifest), "--quiet"]
    return subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _kill_often(bench: Bench, manifest: Path, rng: random.Random) -> int:
    """Start and kill; a process that ends by itself before its time does not count."""
    kills = 0
    until = time.monotonic() + 200
    while kills < KILLS and time.monotonic() < until:
        process = _start(bench, manifest)
        try:
            process.wait(rng.uniform(0.2, LONGEST))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += process.wait() == -9
    return kills


def _finish(bench: Bench, manifest: Path) -> int:
    """Run until the command has nothing left to do; its exit code."""
    for _ in range(RESTARTS):
        code = _start(bench, manifest).wait(120)
        if code != 75:
            return code
    return 75


def _lost(spot: Place, sold: list[dict[str, Any]]) -> int:
    """Requests that were paid and that neither an id nor an open question in the books stands for."""
    known = {record.request_id for record in spot.purchases()}
    doubts = {json.dumps(r.inputs, sort_keys=True) for r in spot.purchases() if r.state == "unknown"}
    return sum(
        request["request_id"] not in known and json.dumps(request["input"], sort_keys=True) not in doubts
        for request in sold
    )


def _broken(spot: Place) -> int:
    """Done jobs whose files are not there with the bytes that were recorded."""
    count = 0
    for record in spot.purchases():
        for output in record.outputs if record.state == "done" else ():
            path = spot.output / (output.path or "")
            count += not path.is_file() or spot.digest(path) != output.sha256
    return count
