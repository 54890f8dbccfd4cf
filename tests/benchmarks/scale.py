"""How time and memory go with the length of a batch: a million jobs stream through, in less than 400 MB.

    python tests/benchmarks/scale.py                     a million rows: half an hour, and 4 GB of disk
    python tests/benchmarks/scale.py --jobs 100000

Everything runs as a process of its own and nothing leaves this machine: the API is an emulator on loopback. The
``folders`` cases give each row a folder of its own, which the check for names in each other's way has to remember.
``run, interrupted`` is a first run that gets Ctrl-C once some pictures are bought: by then it holds all that it ever
will. The cases marked *done* find everything done by an earlier run.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
from measure import Measured, measure

LISTED = 10_000
"""Jobs of the YAML list."""
BOUGHT = 300
"""Pictures after which a first run is interrupted."""

RUNNER = [sys.executable, "-m", "runner"]
_PREPARE = "import sys, material; from pathlib import Path; material.{}(Path(sys.argv[1]), {})"
_LOAD = """
import os, sys, time, runner
started = time.perf_counter()
jobs = runner.load(sys.argv[1]).jobs
print(f"{time.perf_counter() - started:.2f} s to load, {jobs.size_bytes / 1e6:,.0f} MB in the temporary folder")
"""


def main() -> None:
    """Make what is needed, run every case, print one line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1_000_000, help="rows of the feed (default %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work, on the disk to be measured; else a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runner-scale-", dir=options.folder) as name, _emulator() as api:
        _measure_all(Path(name), options.jobs, api)


def _measure_all(folder: Path, jobs: int, api: str) -> None:
    env = {"RUNCOMFY_MODEL_API_BASE": api, "RUNCOMFY_TOKEN": "benchmark"}
    _prepare("write_feed", folder, repr(jobs))
    _prepare("write_list", folder, repr(LISTED))
    click.echo(f"{'case':<28} {'jobs':>11} {'seconds':>9} {'cpu':>7} {'peak MB':>9}")
    _show("load a list", LISTED, measure([sys.executable, "-c", _LOAD, str(folder / "list.yaml")]))
    for layout in ("flat", "folders"):
        manifest, results = folder / f"{layout}.yaml", folder / layout / "results.jsonl"
        verb = partial(_verb, manifest, env)
        _show(f"load, {layout}", jobs, measure([sys.executable, "-c", _LOAD, str(manifest)]))
        _show(f"plan, {layout}", jobs, verb("plan", "--offline"))
        bought = partial(_has_lines, results, 4 * BOUGHT)
        _show(f"run, interrupted, {layout}", jobs, verb("run", "--concurrency", "32", until=bought, codes=(0, 75)))
        (folder / layout).rename(folder / f"{layout}-first")
        _prepare("write_done", manifest, repr(api))
        _show(f"plan, done, {layout}", jobs, verb("plan", "--offline"))
        _show(f"run, done, {layout}", jobs, verb("run"))
        _show(f"status, done, {layout}", jobs, verb("status"))
        _show(f"collect, done, {layout}", jobs, verb("collect"))


def _verb(manifest: Path, env: dict[str, str], name: str, *arguments: str, **how: object) -> Measured:
    return measure([*RUNNER, name, str(manifest), *arguments], env=env, **how)  # type: ignore[arg-type]


def _show(case: str, jobs: int, measured: Measured) -> None:
    figures = f"{measured.seconds:>9.1f} {measured.cpu_seconds:>7.1f} {measured.peak_bytes / 1e6:>9.0f}"
    said = next(iter(measured.output.splitlines()), "") if case.startswith("load") else ""
    click.echo(f"{case:<28} {jobs:>11,} {figures}  {said}".rstrip())


def _prepare(function: str, path: Path, argument: str) -> None:
    """Write material in another process: this one must stay small."""
    code = _PREPARE.format(function, argument)
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=_with_siblings())


def _with_siblings() -> dict[str, str]:
    return {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[2]}", "PATH": ""}


def _has_lines(results: Path, count: int) -> bool:
    """Whether so many lines are in a results manifest that has some 600 bytes in each."""
    return results.exists() and results.stat().st_size > 600 * count


@contextmanager
def _emulator() -> Iterator[str]:
    """The address of an emulator in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*RUNNER, "emulator", "--port", str(port), "--workers", "64", "--seconds", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
