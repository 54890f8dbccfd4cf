"""Fixtures of the tests that run the command line as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.forked import Forked, Zygote, zygote_in
from support.waiting import wait_for

from runner.core.models import Record
from runner.ledger.records import decode

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
RUNNER = [sys.executable, "-W", "error", "-m", "runner"]


@dataclass
class Served:
    """An emulator in a process of its own."""

    base: str
    pid: int

    @property
    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base.removesuffix('/v1')}/_emulator/stats") as answer:
            return json.load(answer)

    def wait_for(self, accepted: int) -> None:
        """Until so many requests were accepted."""
        wait_for(lambda: self.stats["accepted"] >= accepted)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """One for all tests of this worker."""
    with zygote_in(tmp_path_factory.mktemp("zygote")) as found:
        yield found


@dataclass
class Desk:
    """A folder to work in, and the command line."""

    folder: Path
    zygote: Zygote
    base: str = ""
    started: list[subprocess.Popen[str] | Forked] = field(default_factory=list)

    def write(self, text: str, name: str = "batch.yaml") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def jobs(self, count: int, **settings: object) -> Path:
        """A manifest of so many small jobs, with results in ``out``."""
        lines = [f"{key}: {value}" for key, value in {"model": KLEIN, "output": "out", **settings}.items()]
        jobs = [f"  - {{id: job-{n}, prompt: picture {n}}}" for n in range(count)]
        return self.write("\n".join([*lines, "defaults: {width: 64, height: 64}", "jobs:", *jobs]) + "\n")

    @property
    def environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RUNCOMFY", "XDG"))}
        service = {"RUNCOMFY_MODEL_API_BASE": self.base, "RUNCOMFY_TOKEN": "test-token"} if self.base else {}
        return {**kept, "HOME": str(self.folder), **service}

    def start(self, *arguments: object) -> Forked:
        """Begin a command line that reads nothing; it ends with the test at the latest."""
        process = self.zygote.start_with_pipes(list(map(str, arguments)), self.folder, self.environ)
        self.started.append(process)
        return process

    def start_anew(self, *arguments: object, ignore: signal.Signals | None = None) -> subprocess.Popen[str]:
        """Begin one as a shell does, with its input to be written; ``ignore`` is a signal that it is to ignore."""
        shell = ["sh", "-c", f'trap "" {ignore.name.removeprefix("SIG")}; exec "$@"', "sh"] if ignore else []
        process = subprocess.Popen(
            [*shell, *RUNNER, *map(str, arguments)],
            cwd=self.folder,
            env=self.environ,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command line to its end, in a process of its own."""
        return self.zygote.run(list(map(str, arguments)), self.folder, self.environ, stdin)

    def wait_for(self, submitted: int) -> None:
        """Until so many lines of the results say that a job was submitted."""
        results = self.folder / "out/results.jsonl"
        wait_for(lambda: results.exists() and results.read_bytes().count(b'"submitted"') >= submitted)

    def records(self, output: str = "out") -> dict[str, Record]:
        """The last line of each job."""
        lines = (self.folder / output / "results.jsonl").read_bytes().splitlines()
        return {record.id: record for record in map(decode, lines)}


@pytest.fixture
def desk(tmp_path: Path, zygote: Zygote) -> Iterator[Desk]:
    desk = Desk(tmp_path, zygote)
    yield desk
    for process in desk.started:
        process.kill()
        process.communicate()


@pytest.fixture
def serve(zygote: Zygote) -> Iterator[Callable[..., Served]]:
    """Start emulators; they end with the test."""
    running: list[int] = []

    def start(*arguments: object) -> Served:
        pid, base = zygote.serve(["emulator", "--port", "0", *map(str, arguments)])
        running.append(pid)
        return Served(base, pid)

    yield start
    assert [zygote.end(pid) for pid in running] == [0] * len(running)
