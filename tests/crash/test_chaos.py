"""Everything at once: kills, stops, edits, renames, deletions, other commands, shards. Nothing is bought twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bench, Job, Place

JOBS = 40
RESTARTS = 20
"""At most so many more runs until nothing is left to do."""
BESIDE = (
    "status --json",
    "plan --json",
    "verify --json",
    "report",
    "collect --quiet",
    "run --quiet",
    "reconcile --json",
)
"""Commands that somebody calls while a run is alive: those that write are refused or wait."""


class Chaos:
    """A folder in which things happen, drawn from a seed."""

    def __init__(self, bench: Bench, spot: Place, seed: int) -> None:
        self.bench = bench
        self.spot = spot
        self.rng = random.Random(seed)
        self.jobs: list[Job] = [{"id": f"job-{n:02}", "prompt": f"chaos {seed} {n}"} for n in range(JOBS)]
        self.done: list[str] = []
        """What happened, for whoever reads a failure."""

    def start(self, words: str) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "RUNCOMFY_MODEL_API_BASE": self.bench.base, "RUNCOMFY_TOKEN": "test-token"}
        verb, *options = words.split()
        command = [sys.executable, "-m", "runner", verb, str(self.spot.folder / "batch.yaml"), *options]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env=environ, stdin=quiet, stdout=quiet, stderr=quiet)

    def write(self) -> None:
        self.spot.write(self.jobs, concurrency=4, rate="3/s")

    def round(self) -> None:
        """One run, or one of a shard, and what happens to it."""
        split = self.spot.output.joinpath("results.1-of-2.jsonl").exists()
        if split and self.rng.random() < 0.5:
            self.finish("merge")
            split = self.spot.output.joinpath("results.1-of-2.jsonl").exists()
        part = self.rng.randint(1, 2)
        words = f"run --quiet --shard {part}/2" if split or self.rng.random() < 0.3 else "run --quiet"
        run = self.start(words)
        other = self.start(f"run --quiet --shard {3 - part}/2") if split else None
        time.sleep(self.rng.uniform(0.1, 0.9))
        deed = self.rng.choice([self.kill, self.stop, self.beside, self.interrupt])
        self.done.append(f"{words}: {deed.__name__}")
        deed(run)
        for process in filter(None, (run, other)):
            process.kill()
            process.wait()
        self.rng.choice([self.rename, self.shuffle, self.delete, self.nothing])()
        self.write()

    def finish(self, words: str) -> int:
        self.done.append(words)
        return self.start(words).wait(120)

    def kill(self, run: subprocess.Popen[bytes]) -> None:
        run.kill()

    def stop(self, run: subprocess.Popen[bytes]) -> None:
        """Stand still for a moment, as a machine that is suspended, and go on."""
        run.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        run.send_signal(signal.SIGCONT)
        time.sleep(0.3)

    def interrupt(self, run: subprocess.Popen[bytes]) -> None:
        run.send_signal(signal.SIGTERM)
        time.sleep(self.rng.uniform(0.0, 0.5))

    def beside(self, run: subprocess.Popen[bytes]) -> None:
        """Two commands of somebody else's, one of them killed."""
        others = [self.start(words) for words in self.rng.sample(BESIDE, 2)]
        time.sleep(self.rng.uniform(0.1, 0.6))
        others[0].kill()
        for other in others:
            other.wait(60)

    def rename(self) -> None:
        job = self.rng.choice(self.jobs)
        job["id"] = f"{job['prompt'].replace(' ', '-')}-{self.rng.randint(0, 999)}"

    def shuffle(self) -> None:
        self.rng.shuffle(self.jobs)

    def delete(self) -> None:
        """A finished picture is deleted: it is fetched again, and not bought."""
        if pictures := sorted(self.spot.output.glob("*.png")):
            self.rng.choice(pictures).unlink()

    def nothing(self) -> None:
        """The manifest stays as it is."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "rounds"),
    [(1, 15), pytest.param(2, 40, marks=pytest.mark.soak), pytest.param(3, 40, marks=pytest.mark.soak)],
)
def test_whatever_happens_nothing_is_bought_twice_and_nothing_is_lost(
    bench: Bench, place: Callable[[str], Place], seed: int, rounds: int
) -> None:
    """After it all the same command ends with every job done or named, each paid once, each file whole."""
    chaos = Chaos(bench, place(f"chaos{seed}"), seed)
    before = len(bench.requests())
    chaos.write()
    for _ in range(rounds):
        chaos.round()
    chaos.finish("merge")
    codes = [chaos.finish("run --quiet")]
    while codes[-1] == 75 and len(codes) < RESTARTS:
        codes.append(chaos.finish("run --quiet"))
    sold = bench.requests()[before:]
    prompts = [request["input"]["prompt"] for request in sold]
    assert len(prompts) == len(set(prompts)), chaos.done
    unknown = sum(record.state == "unknown" for record in chaos.spot.purchases())
    assert codes[-1] == (2 if unknown else 0), (codes, chaos.done)
    chaos.spot.check(sold, chaos.jobs)
    chaos.spot.check_in_force(chaos.jobs)
    chaos.spot.check_bill(sold)
