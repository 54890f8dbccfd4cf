"""What more workers of a cluster bring, and when they bring nothing.

    python tests/benchmarks/cluster.py                  a few minutes; nothing leaves this machine
    python tests/benchmarks/cluster.py --jobs 500 --only account

The emulator, the scheduler and the workers are processes of this machine: with fewer cores than workers and two more it
measures the machine. ``instant``: the service answers at once, and what a process can do is the limit. ``account``: the
service works on 16 requests at a time, 0.8 s each, like an account's share of the real one. Pictures a second are from
the first submission to the last, as the service saw them; the whole run begins with reading the manifest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.local_cluster import Site

CASES = {
    "instant": ("--workers", "1000", "--seconds", "0"),
    "account": ("--workers", "16", "--seconds", "0.8"),
}
LANES = {"instant": 64, "account": 20}
WORKERS = (1, 2, 4)


@contextmanager
def _site(case: str, workers: int) -> Iterator[tuple[Site, list[psutil.Process]]]:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        try:
            site.serve(*CASES[case])
            site.schedule()
            yield site, [psutil.Process(site.work().pid) for _ in range(workers)]
        finally:
            site.close()


def measure(case: str, workers: int, jobs: int) -> tuple[float, float, float]:
    """Pictures a second, the workers' CPU in ms a picture, and the seconds from the command to its end."""
    with _site(case, workers) as (site, processes):
        before = _cpu(processes)
        run = site.run(site.write(jobs, concurrency=LANES[case]))
        code = run.wait(1800)
        said = site.said(run)
        if code:
            sys.exit(f"exit {code}: {said}")
        summary = json.loads([line for line in said.splitlines() if line.startswith("{")][-1])
        times = sorted(request["created"] for request in site.asked("requests"))
        spent = _cpu(processes) - before
        return (len(times) - 1) / (times[-1] - times[0]), 1000 * spent / jobs, summary["seconds"]


def _cpu(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1500)
    parser.add_argument("--only", choices=CASES)
    chosen = parser.parse_args(arguments)
    click.echo(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.jobs} jobs")
    click.echo(f"{'case':>8} {'workers':>8} {'pictures/s':>11} {'ratio':>6} {'CPU ms each':>12} {'whole run s':>12}")
    for case in [chosen.only] if chosen.only else CASES:
        first = 0.0
        for workers in WORKERS:
            rate, cpu, seconds = measure(case, workers, chosen.jobs)
            first = first or rate
            click.echo(f"{case:>8} {workers:>8} {rate:>11.1f} {rate / first:>6.2f} {cpu:>12.1f} {seconds:>12.1f}")


if __name__ == "__main__":
    main()
