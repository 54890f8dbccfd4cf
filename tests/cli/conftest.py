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

from runner.core.models import Record
from runner.ledger.records import decode

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
RUNNER = [sys.executable, "-W", "error", "-m", "runner"]


@dataclass
class Served:
    """An emulator in a process of its own."""

    process: subprocess.Popen[str]
    base: str

    @property
    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base.removesuffix('/v1')}/_emulator/stats") as answer:
            return json.load(answer)


@dataclass
class Zygote:
    """A process that has everything imported and forks a command line for each request; see ``zygote.py``."""

    process: subprocess.Popen[str]
    folder: Path

    def run(self, argv: list[str], cwd: Path, env: dict[str, str], stdin: str) -> subprocess.CompletedProcess[str]:
        streams = [self.folder / name for name in ("stdin", "stdout", "stderr")]
        for path, text in zip(streams, (stdin, "", ""), strict=True):
            path.write_text(text)
        request = {"argv": argv, "cwd": str(cwd), "env": env, "streams": list(map(str, streams))}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return subprocess.CompletedProcess(argv, code, *(path.read_text() for path in streams[1:]))


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """One for all tests of this worker."""
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("zygote.py"))]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Zygote(process, tmp_path_factory.mktemp("zygote"))


@dataclass
class Desk:
    """A folder to work in, and the command line."""

    folder: Path
    zygote: Zygote
    base: str = ""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

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

    def start(
        self, *arguments: object, stdin: int = subprocess.DEVNULL, ignore: signal.Signals | None = None
    ) -> subprocess.Popen[str]:
        """Begin a command line, which ends with the test at the latest; ``ignore`` is a signal that it is to ignore."""
        shell = ["sh", "-c", f'trap "" {ignore.name.removeprefix("SIG")}; exec "$@"', "sh"] if ignore else []
        process = subprocess.Popen(
            [*shell, *RUNNER, *map(str, arguments)],
            cwd=self.folder,
            env=self.environ,
            text=True,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command line to its end, in a process of its own."""
        return self.zygote.run(list(map(str, arguments)), self.folder, self.environ, stdin)

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
def serve() -> Iterator[Callable[..., Served]]:
    """Start emulators; they end with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> Served:
        command = [*RUNNER, "emulator", "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        return Served(process, process.stdout.readline().strip())

    yield start
    for process in running:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
