"""Starts command lines by forking, so that what they import is loaded once and not for each of them.

A request is one line of JSON on standard input: ``argv``, ``cwd``, ``env``, and the files that stand for the three
standard streams. The answer is the exit code on a line of its own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

from runner.cli.main import COMMANDS, main

PATIENCE_SECONDS = 60


def child(request: dict[str, Any]) -> NoReturn:
    """Become the command line that was asked for."""
    signal.alarm(PATIENCE_SECONDS)
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


def serve() -> None:
    """Answer requests until standard input ends."""
    for verb in COMMANDS:
        import_module(f"runner.cli.commands.{verb}")
    import_module("runner.engine.operations")
    import_module("runner.emulator")
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            child(json.loads(line))
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
