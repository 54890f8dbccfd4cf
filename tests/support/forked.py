"""Command lines in processes of their own that are forked, not started anew: what they import is loaded once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO

from support.waiting import wait_for

ZYGOTE = Path(__file__).parents[1] / "cli" / "zygote.py"


@dataclass
class Zygote:
    """A process that has everything imported and forks a command line for each request; see ``zygote.py``."""

    process: subprocess.Popen[str]
    handles: socket.socket
    """To send what a forked process has for its standard streams."""
    folder: Path
    numbers: Iterator[int] = field(default_factory=count)

    def run(self, argv: list[str], cwd: Path, env: dict[str, str], stdin: str) -> subprocess.CompletedProcess[str]:
        streams = [self.folder / name for name in ("stdin", "stdout", "stderr")]
        for path, text in zip(streams, (stdin, "", ""), strict=True):
            path.write_text(text)
        code = self._ask(argv=argv, cwd=str(cwd), env=env, streams=list(map(str, streams)))
        return subprocess.CompletedProcess(argv, code, *(path.read_text() for path in streams[1:]))

    def serve(self, argv: list[str]) -> tuple[int, str]:
        """A command line that stays until its ``end``: its process id, and the first line that it prints."""
        number = next(self.numbers)
        out, errors = self.folder / f"stdout-{number}", self.folder / f"stderr-{number}"
        out.touch()
        errors.touch()
        streams = ["/dev/null", str(out), str(errors)]
        pid = self._ask(argv=argv, cwd=str(self.folder), env=dict(os.environ), streams=streams, stays=True)
        wait_for(lambda: out.read_text().endswith("\n"))
        return pid, out.read_text().strip()

    def end(self, pid: int) -> int:
        """End what was started; its exit code."""
        return self._ask(end=pid)

    def start(self, argv: list[str], cwd: Path, env: dict[str, str], streams: Sequence[int], **more: bool) -> Forked:
        """Begin a command line with these open files as its standard streams; ``session``: in a session of its own."""
        socket.send_fds(self.handles, [b"."], list(streams))
        pid = self._ask(argv=argv, cwd=str(cwd), env=env, sent=len(streams), stays=True, **more)
        return Forked(self, pid)

    def start_with_pipes(self, argv: list[str], cwd: Path, env: dict[str, str]) -> Forked:
        """Begin a command line that reads nothing and whose output can be read while it runs."""
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        with Path(os.devnull).open("rb") as nothing:
            forked = self.start(argv, cwd, env, (nothing.fileno(), its_out, its_err))
        os.close(its_out)
        os.close(its_err)
        forked.stdout, forked.stderr = os.fdopen(out), os.fdopen(err)
        return forked

    def wait(self, pid: int) -> int:
        """Wait for the end of what was started; its exit code."""
        return self._ask(wait=pid)

    def wait_until_stopped(self, pid: int) -> None:
        self._ask(stopped=pid)

    def _ask(self, **request: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@dataclass
class Forked:
    """A process that the zygote forked, with what ``subprocess.Popen`` would offer of it."""

    zygote: Zygote
    pid: int
    stdout: IO[str] | None = None
    stderr: IO[str] | None = None
    returncode: int | None = None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:  # after that the number may be another process's
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, which ``PATIENCE_SECONDS`` of the zygote bounds."""
        if self.returncode is None:
            self.returncode = self.zygote.wait(self.pid)
        return self.returncode

    def wait_until_stopped(self) -> None:
        self.zygote.wait_until_stopped(self.pid)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it printed that nobody has read."""
        assert self.stdout is not None
        assert self.stderr is not None
        with closing(self.stdout), closing(self.stderr), ThreadPoolExecutor(1) as other:
            errors = other.submit(rest_of, self.stderr)
            texts = rest_of(self.stdout), errors.result()
        self.wait()
        return texts


def rest_of(stream: IO[str]) -> str:
    """Return what is left to read; nothing where the test has closed it."""
    return "" if stream.closed else stream.read()


@contextmanager
def zygote_in(folder: Path) -> Iterator[Zygote]:
    """One whose files are in ``folder``."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-W", "error", str(ZYGOTE), str(theirs.fileno())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ours, subprocess.Popen(command, text=True, pass_fds=[theirs.fileno()], **pipes) as process:
        theirs.close()
        yield Zygote(process, ours, folder)
