"""How time and memory go with the length of a batch: a million jobs stream through, in less than 400 MB.

    python tests/benchmarks/scale.py                     a million rows: half an hour, and 4 GB of disk
    python tests/benchmarks/scale.py --jobs 100000 --only flat

Everything runs as a process of its own and nothing leaves this machine: the API is an emulator on loopback. The
``folders`` cases give each row a folder of its own, which the check for names in each other's way has to remember.
``run, interrupted`` is a first run that gets Ctrl-C once some pictures are bought: by then it holds all that it ever
will. The cases marked *done* find everything done by an earlier run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
from measure import Measured, measure

LISTED = 10_000
"""Jobs of the YAML list."""
BOUGHT = 300
"""Pictures after which a first run is interrupted."""

DONE = {"plan": ["--offline"], "run": [], "status": [], "collect": []}
"""Verbs that are measured over what is done, and their options."""
RUNNER = [sys.executable, "-m", "runner"]
_PREPARE = "import sys, material; from pathlib import Path; material.{}(Path(sys.argv[1]), {})"
_LOAD = """
import sys, time, runner
started = time.perf_counter()
jobs = runner.load(sys.argv[1]).jobs
print(f"{time.perf_counter() - started:.2f} s to load")
"""
_OPEN = """
import sys, time
from pathlib import Path
import msgspec
from runner.ledger import Log
from runner.core.models import Record
path, decode = Path(sys.argv[1]), msgspec.json.Decoder(Record).decode
with path.open("rb") as file:
    start = time.process_time()
    for line in file:
        decode(line)
    parsing = time.process_time() - start
start = time.process_time()
Log(path, writable=False).close()
print(f"{(time.process_time() - start) / parsing:.2f} x parsing its lines")
"""
_FIRST = """
import os, sys
import anyio, runner
manifest, options = runner.load(sys.argv[1]), runner.RunOptions(offline=True)
anyio.run(lambda: runner.run(manifest, options, observer=lambda record: os._exit(0)))
"""


def main() -> None:
    """Make what is needed, run every case, print one line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1_000_000, help="rows of the feed (default %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work, on the disk to be measured; else a temporary one")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases with this in their name")
    options = parser.parse_args()
    click.echo(f"{'case':<28} {'jobs':>11} {'seconds':>9} {'cpu':>7} {'peak MB':>9}")
    with tempfile.TemporaryDirectory(prefix="runner-scale-", dir=options.folder) as name, _emulator() as api:
        _Cases(Path(name), options.jobs, api, options.only).measure_all()


class _Cases:
    """What is measured, each case only if its name is wanted."""

    def __init__(self, folder: Path, jobs: int, api: str, only: str) -> None:
        self._folder = folder
        self._jobs = jobs
        self._api = api
        self._only = only
        self._env = {"RUNCOMFY_MODEL_API_BASE": api, "RUNCOMFY_TOKEN": "benchmark"}

    def measure_all(self) -> None:
        _prepare("write_feed", self._folder, repr(self._jobs))
        _prepare("write_list", self._folder, repr(LISTED))
        if self._wants("load, list"):
            _show("load, list", LISTED, _load(self._folder / "list.yaml"))
        for layout in ("flat", "folders"):
            self._measure_first(layout)
            if any(self._wants(f"{case}, done, {layout}") for case in (*DONE, "open", "first purchase")):
                self._measure_done(layout)

    def _measure_first(self, layout: str) -> None:
        """Nothing is there yet."""
        results = self._folder / layout / "results.jsonl"
        self._measure(f"load, {layout}", lambda: _load(self._folder / f"{layout}.yaml"))
        self._measure(f"plan, {layout}", lambda: self._verb(layout, "plan", "--offline"))
        self._measure(
            f"run, interrupted, {layout}",
            lambda: self._verb(layout, "run", until=lambda: _count(results) > BOUGHT, codes=(0, 75)),
        )

    def _measure_done(self, layout: str) -> None:
        """Everything is there."""
        shutil.rmtree(self._folder / layout, ignore_errors=True)
        _prepare("write_done", self._folder / f"{layout}.yaml", repr(self._api))
        for verb, arguments in DONE.items():
            self._measure(f"{verb}, done, {layout}", partial(self._verb, layout, verb, *arguments))

        self._measure(f"open, done, {layout}", lambda: _python(_OPEN, self._folder / layout / "results.jsonl"))
        if layout == "flat":
            self._measure_one_more()

    def _measure_one_more(self) -> None:
        """A row has come since everything was done."""
        with (self._folder / "feed.csv").open("a", encoding="utf-8") as feed:
            feed.write("sku-new,Mug,blue\n")
        manifest = self._folder / "flat.yaml"
        self._measure("first purchase, done, flat", lambda: _python(_FIRST, manifest, env=self._env))

    def _wants(self, case: str) -> bool:
        return self._only in case

    def _measure(self, case: str, run: Callable[[], Measured]) -> None:
        if self._wants(case):
            _show(case, self._jobs, run())

    def _verb(
        self,
        layout: str,
        verb: str,
        *arguments: str,
        codes: Sequence[int] = (0,),
        until: Callable[[], bool] | None = None,
    ) -> Measured:
        command = [*RUNNER, verb, str(self._folder / f"{layout}.yaml"), *arguments]
        return measure(command, env=self._env, codes=codes, until=until)


def _load(manifest: Path) -> Measured:
    return _python(_LOAD, manifest)


def _python(code: str, path: Path, env: Mapping[str, str] | None = None) -> Measured:
    return measure([sys.executable, "-c", code, str(path)], env=env)


def _show(case: str, jobs: int, measured: Measured) -> None:
    figures = f"{measured.seconds:>9.1f} {measured.cpu_seconds:>7.1f} {measured.peak_bytes / 1e6:>9.0f}"
    said = measured.output.strip() if case.startswith(("load", "open")) else ""
    click.echo(f"{case:<28} {jobs:>11,} {figures}  {said}".rstrip())


def _prepare(function: str, path: Path, argument: str) -> None:
    """Write material in another process: this one must stay small."""
    code = _PREPARE.format(function, argument)
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=_with_siblings())


def _with_siblings() -> dict[str, str]:
    places = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def _count(results: Path) -> int:
    """About how many pictures were bought: a purchase has five lines of some 600 bytes."""
    return results.stat().st_size // 3000 if results.exists() else 0


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
