"""One command as a process of its own: how long it took, and the most memory that it held.

Keep the process that measures small: Linux counts what the parent held when it forked into the child's peak.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

LOOK_SECONDS = 0.05
_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in what the system calls ``ru_maxrss``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What became of a command."""

    seconds: float
    cpu_seconds: float
    """Of all its threads; it says more than the clock on a machine that has other things to do."""
    peak_bytes: int
    """Resident memory, all of it: the interpreter and its libraries are about 40 MB."""
    exit_code: int
    output: str


def measure(
    command: Sequence[str],
    *,
    codes: Sequence[int] = (0,),
    env: Mapping[str, str] | None = None,
    until: Callable[[], bool] | None = None,
) -> Measured:
    """Run ``command`` to its end and measure it; once ``until`` says so, it is interrupted as Ctrl-C would.

    Exits with what the command said if its exit code is none of ``codes``.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env={**os.environ, **(env or {})})
        if until is not None:
            _interrupt(process, until)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{_text(errors)[-2000:]}")
        return Measured(
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * _UNIT,
            exit_code=process.returncode,
            output=_text(output),
        )


def _interrupt(process: subprocess.Popen[bytes], until: Callable[[], bool]) -> None:
    """Send SIGINT when ``until`` says so, unless the process ends first; its status is left to be waited for."""
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if until():
            process.send_signal(signal.SIGINT)
            return
        time.sleep(LOOK_SECONDS)


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
