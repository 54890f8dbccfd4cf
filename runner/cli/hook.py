"""Hook of ``--on-finish``: a command of the user that receives the summary of a run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from runner.api.config import TOKEN_VARIABLES

HOOK_SECONDS = 60.0
"""Longest time that the hook may take."""


def run_hook(
    command: str,
    summary: str,
    exit_code: int,
    environ: Mapping[str, str],
    *,
    new_files: Path | None = None,
    seconds: float = HOOK_SECONDS,
) -> str:
    """Run ``command`` with ``summary`` on its standard input, and return an error message; empty if it succeeded.

    The command gets the environment without the variables of the API token, and with ``RUNNER_EXIT_CODE`` and, if there
    is such a list, ``RUNNER_NEW_FILES``.
    """
    kept = {name: value for name, value in environ.items() if name not in TOKEN_VARIABLES}
    try:
        process = subprocess.Popen(  # noqa: S602 - a command line of the user, as in a crontab
            command,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=2,
            text=True,
            env={**kept, **_about_run(exit_code, new_files)},
            start_new_session=True,
        )
    except OSError as error:
        return f"--on-finish could not be started: {error}"
    try:
        process.communicate(summary + "\n", timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"--on-finish took longer than {seconds:g} s and was killed"
    finally:
        _end(process)
    return f"--on-finish ended with exit code {process.returncode}" if process.returncode else ""


def _about_run(exit_code: int, new_files: Path | None) -> dict[str, str]:
    named = {} if new_files is None else {"RUNNER_NEW_FILES": str(new_files)}
    return {"RUNNER_EXIT_CODE": str(exit_code), **named}


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the command and its process group if the command has not ended by itself."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
