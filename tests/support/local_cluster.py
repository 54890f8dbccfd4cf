"""A real cluster on loopback: scheduler, workers and the emulator, each a process of its own, ended by its own id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.core.models import Record
from runner.ledger.records import decode

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
PATIENCE_SECONDS = 60


def wait_for(what: Callable[[], Any], *others: subprocess.Popen[Any]) -> Any:
    """Poll until ``what`` is true, and return it; none of ``others`` may end meanwhile."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        assert time.monotonic() < until, "it did not come"
        assert all(process.poll() is None for process in others), "it ended too early"
        time.sleep(0.02)
    return found


@dataclass
class Site:
    """A folder with a manifest, and the processes around it."""

    folder: Path
    base: str = ""
    address: str = ""
    options: tuple[str, ...] = ()
    """For each run."""
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def environ(self) -> dict[str, str]:
        service = {"RUNCOMFY_MODEL_API_BASE": self.base, "RUNCOMFY_TOKEN": "test-token"}
        quiet = {"XDG_CACHE_HOME": str(self.folder / "cache"), "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **service, **quiet}

    def start(self, *words: str, cwd: Path | None = None, **environ: str | None) -> subprocess.Popen[str]:
        """A process whose output goes to a file; a variable that is None is left out."""
        given = {name: text for name, text in {**self.environ, **environ}.items() if text is not None}
        with self._log(len(self.processes)).open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *words],
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                cwd=cwd or self.folder,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        return self._log(self.processes.index(process)).read_text()

    def _log(self, number: int) -> Path:
        return self.folder / f"process-{number}.log"

    def serve(self, *options: str) -> None:
        """Start the emulator."""
        process = self.start("-m", "runner", "emulator", "--port", "0", *options)
        self.base = wait_for(lambda: self.said(process).strip(), process)

    def schedule(self) -> subprocess.Popen[str]:
        """Start the scheduler."""
        file = self.folder / "scheduler.json"
        words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-jupyter", "--scheduler-file", str(file))
        process = self.start("-m", "distributed.cli.dask_scheduler", *words)
        wait_for(file.exists, process)
        self.address = wait_for(lambda: _address(file), process)
        return process

    def work(self, cwd: Path | None = None, **environ: str | None) -> subprocess.Popen[str]:
        """Start a worker and wait until it is known."""
        words = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder / "scratch"))
        process = self.start("-m", "distributed.cli.dask_worker", self.address, *words, cwd=cwd, **environ)
        wait_for(lambda: "Registered to:" in self.said(process), process)
        return process

    def write(self, jobs: int, **settings: Any) -> Path:
        """A manifest of so many jobs."""
        defaults = {"width": 64, "height": 64}
        document = {"model": KLEIN, "concurrency": 8, "output": "out", "defaults": defaults, **settings}
        listed = [{"id": f"job-{number:04}", "prompt": f"picture {number}"} for number in range(jobs)]
        path = self.folder / "batch.yaml"
        path.write_text(json.dumps({**document, "jobs": listed}))
        return path

    def run(self, manifest: Path, *options: str, cluster: str = "") -> subprocess.Popen[str]:
        words = ("run", str(manifest), "--cluster", cluster or self.address, "--json", *self.options, *options)
        return self.start("-m", "runner", *words)

    def end(self, process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
        """The exit code, and the object of ``--json``."""
        try:
            code = process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it still runs after {PATIENCE_SECONDS} s, and has said:\n{self.said(process)}")
        found = [line for line in self.said(process).splitlines() if line.startswith("{")]
        return code, json.loads(found[-1]) if found else {}

    def asked(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.base.removesuffix('/v1')}/_emulator/{what}") as answer:
            return json.load(answer)

    @property
    def submissions(self) -> int:
        return int(self.asked("stats")["submissions"])

    def bought(self) -> Counter[str]:
        """How often each prompt was submitted."""
        return Counter(request["input"]["prompt"] for request in self.asked("requests"))

    def records(self) -> list[Record]:
        """The last line of each purchase."""
        lines = [decode(line) for path in self.output.glob("results*.jsonl") for line in path.read_bytes().splitlines()]
        return list({(record.id, record.purchase): record for record in lines}.values())

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


def _address(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["address"])
    except ValueError:
        return ""
