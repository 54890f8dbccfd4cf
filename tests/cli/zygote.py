"""Starts command lines by forking, so that what they import is loaded once and not for each of them.

A request is one line of JSON on standard input: ``argv``, ``cwd``, ``env``, and the files that stand for the three
standard streams. The answer is the exit code on a line of its own; with ``stays`` it is the process id, at once, and
``end`` with such an id ends that process.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from runner.__main__ import GARBAGE
from runner.cli.main import COMMANDS, main

PATIENCE_SECONDS = 60


def child(request: dict[str, Any]) -> NoReturn:
    """Become the command line that was asked for."""
    signal.alarm(0 if request.get("stays") else PATIENCE_SECONDS)
    code = 1
    try:
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        for handle, (path, flags) in enumerate(
            zip(request["streams"], (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)
        ):
            os.dup2(os.open(path, flags), handle)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", buffering=1)
        sys.argv = ["runner", *request["argv"]]
        code = main()
    except BaseException:  # noqa: BLE001 - as the interpreter itself would end
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def answer(request: dict[str, Any], staying: set[int]) -> int:
    """Do what is asked; an exit code, or the id of a process that stays."""
    if (pid := request.get("end")) is not None:
        staying.discard(pid)
        os.kill(pid, signal.SIGTERM)
    elif (pid := os.fork()) == 0:
        child(request)
    elif request.get("stays"):
        staying.add(pid)
        return pid
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def serve() -> None:
    """Answer requests until standard input ends; nobody stays then."""
    for verb in COMMANDS:
        import_module(f"runner.cli.commands.{verb}")
    import_module("runner.engine.operations")
    import_module("runner.emulator")
    gc.freeze()  # what is never collected is never copied into a child
    gc.set_threshold(GARBAGE)
    staying: set[int] = set()
    while line := sys.stdin.readline():
        sys.stdout.write(f"{answer(json.loads(line), staying)}\n")
        sys.stdout.flush()
    for pid in staying:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
