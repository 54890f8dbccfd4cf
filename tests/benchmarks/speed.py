"""How fast, and with how many questions: ``runner`` beside what people write instead, on the emulator, in one go.

    python tests/benchmarks/speed.py                    ten minutes
    python tests/benchmarks/speed.py --only sub-second --seeds 1 2 3

Each client runs as a process of its own against an emulator of its own; results go to memory-backed storage where there
is some. *ratio* is the wall time, from the start of the process to its end, against the ideal schedule: the emulator's
own durations, first come first served, on min(lanes, workers) slots, with no network and no client at all. *req/job*
counts every HTTP request. Few prompts serve all jobs, so that the emulator draws little: else its pencil is what every
client waits for. Compare lines of one run only: a bound in seconds means nothing on another machine.
"""

from __future__ import annotations

import argparse
import heapq
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from instead import prompt_of
from measure import Measured, measure

HERE = Path(__file__).parent
PYTHON = sys.executable
MEMORY = Path("/dev/shm")
ENVIRONMENT = {"RUNCOMFY_TOKEN": "benchmark", "PYTHONDONTWRITEBYTECODE": ""}
SLOW_FLUSH = """
import os, runpy, sys, time
for name in ("fsync", "fdatasync"):
    flush = getattr(os, name)
    setattr(os, name, lambda handle, flush=flush: (time.sleep(0.005), flush(handle))[1])
sys.argv[0] = "runner"
runpy.run_module("runner", run_name="__main__")
"""
"""A disk that takes 5 ms for each flush."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A service, and how it is used."""

    jobs: int
    workers: int
    lanes: int | None
    """None: ``concurrency: auto``."""
    seconds: float
    spread: float
    clients: Sequence[str] = ("runner", "script", "curl")
    allowed: int | None = None
    """Requests in flight that the API allows; None: any number."""


CASES = {
    "sub-second": Case(jobs=400, workers=16, lanes=16, seconds=0.8, spread=0.4),
    "sub-second, auto": Case(jobs=400, workers=16, lanes=None, seconds=0.8, spread=0.4, clients=("runner",)),
    "2 workers, auto": Case(jobs=60, workers=2, lanes=None, seconds=0.8, spread=0.4, clients=("runner",)),
    "64 workers, auto": Case(jobs=1200, workers=64, lanes=None, seconds=0.8, spread=0.4, clients=("runner",)),
    "16 allowed, auto": Case(
        jobs=400, workers=16, lanes=None, seconds=0.8, spread=0.4, clients=("runner",), allowed=16
    ),
    "20 allowed, auto": Case(
        jobs=400, workers=16, lanes=None, seconds=0.8, spread=0.4, clients=("runner",), allowed=20
    ),
    "long queue": Case(jobs=300, workers=8, lanes=32, seconds=0.8, spread=0.4),
    "slow model": Case(jobs=120, workers=40, lanes=40, seconds=6.0, spread=0.6),
    "slow model, auto": Case(jobs=120, workers=40, lanes=None, seconds=6.0, spread=0.6, clients=("runner",)),
    "instant": Case(jobs=3000, workers=64, lanes=64, seconds=0.0, spread=0.0, clients=("runner", "script", "bare")),
    "64 lanes, 5 ms flushes": Case(
        jobs=1500, workers=64, lanes=64, seconds=0.8, spread=0.4, clients=("runner", "runner, slow disk")
    ),
    "instant, 5 ms flushes": Case(
        jobs=3000, workers=64, lanes=64, seconds=0.0, spread=0.0, clients=("runner", "runner, slow disk")
    ),
}
STARTS = {
    "interpreter": [PYTHON, "-c", "pass"],
    "runner --help": [PYTHON, "-m", "runner", "--help"],
    "runner plan (demo)": [PYTHON, "-m", "runner", "plan", "jobs/demo.yaml", "--offline"],
}
HEAD = ("case", "client", "seed", "wall s", "ideal", "ratio", "req/job", "jobs/s", "cpu ms")
LINE = "{:<24}{:<20}{:>4}{:>8}{:>8}{:>7}{:>9}{:>8}{:>8}"


def main() -> None:
    """Run every case with every client, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases with this in their name")
    parser.add_argument("--clients", nargs="*", help="only these clients")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1], help="of the emulator's durations")
    options = parser.parse_args()
    click.echo(LINE.format(*HEAD))
    for name, case in CASES.items():
        if options.only in name:
            for seed in options.seeds:
                for client in case.clients:
                    if client in (options.clients or [client]):
                        _show(name, client, seed, case, *_run(case, client, seed))
    if options.only in "start":
        for name, command in STARTS.items():
            _show_start(name, command)


def _run(case: Case, client: str, seed: int) -> tuple[Measured, float, dict[str, Any]]:
    """One client against a fresh emulator: what it took, what is ideal, what it asked."""
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="runner-speed-", dir=memory) as name, _emulator(case, seed) as base:
        folder = Path(name)
        command = _command(case, client, base, folder)
        took = measure(command, env={**ENVIRONMENT, "RUNCOMFY_MODEL_API_BASE": base})
        pictures = sum(1 for _ in (folder / "out").rglob("*.png"))
        if pictures != case.jobs:
            sys.exit(f"{client}: {pictures} pictures of {case.jobs}")
        return took, _ideal(case, _ask(base, "requests")), _ask(base, "stats")


def _command(case: Case, client: str, base: str, folder: Path) -> list[str]:
    out = str(folder / "out")
    if not client.startswith("runner"):
        numbers = [base, str(case.jobs), str(case.lanes), out]
        own = {"curl": ["bash", str(HERE / "curl.sh")]}
        return [*own.get(client, [PYTHON, str(HERE / "instead.py"), client]), *numbers]
    manifest = folder / "batch.yaml"
    jobs = "".join(f"- {{id: job-{n}, prompt: {prompt_of(n)}}}\n" for n in range(case.jobs))
    head = "model: blackforestlabs/flux-2-klein/4b/text-to-image\ndefaults: {width: 64, height: 64}\n"
    manifest.write_text(f"{head}concurrency: {case.lanes or 'auto'}\njobs:\n{jobs}", encoding="utf-8")
    program = ["-c", SLOW_FLUSH] if client == "runner, slow disk" else ["-m", "runner"]
    return [PYTHON, *program, "run", str(manifest), "--output", out, "--quiet"]


def _ideal(case: Case, requests: list[dict[str, Any]]) -> float:
    """Seconds of the schedule with the durations that the emulator used, first come first served."""
    slots = min(case.lanes or case.workers, case.workers)
    free = [0.0] * slots
    for request in sorted(requests, key=lambda request: request["created"]):
        heapq.heapreplace(free, free[0] + request["seconds"])
    return max(free)


@contextmanager
def _emulator(case: Case, seed: int) -> Iterator[str]:
    behaviour = ["--workers", case.workers, "--seconds", case.seconds, "--spread", case.spread, "--seed", seed]
    behaviour += ["--max-in-flight", case.allowed] if case.allowed is not None else []
    command = [PYTHON, "-m", "runner", "emulator", "--port", "0", *map(str, behaviour)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _ask(base: str, what: str) -> Any:
    with urllib.request.urlopen(f"{base.removesuffix('/v1')}/_emulator/{what}") as answer:
        return json.load(answer)


def _show(name: str, client: str, seed: int, case: Case, took: Measured, ideal: float, stats: dict[str, Any]) -> None:
    requests = sum(stats["calls"].values()) / case.jobs
    ratio = f"{took.seconds / ideal:.3f}" if ideal else "-"
    figures = (f"{took.seconds:.2f}", f"{ideal:.2f}", ratio, f"{requests:.2f}", f"{case.jobs / took.seconds:.1f}")
    click.echo(LINE.format(name, client, seed, *figures, f"{took.cpu_seconds * 1000 / case.jobs:.2f}"))


def _show_start(name: str, command: list[str]) -> None:
    """The best of seven: what the machine does besides only ever adds."""
    best = min((measure(command, env=ENVIRONMENT) for _ in range(7)), key=lambda took: took.seconds)
    click.echo(f"{'start':<24}{name:<24}{best.seconds * 1000:>8.0f} ms")


if __name__ == "__main__":
    main()
