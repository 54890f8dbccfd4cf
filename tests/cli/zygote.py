"""Starts command lines by forking, so that what they import is loaded once and not for each of them.

A request is one line of JSON on standard input: ``argv``, ``cwd``, ``env``, and the files that stand for the three
standard streams: ``streams`` are their paths, ``sent`` says that they come open over the socket. The answer is the exit
code on a line of its own; with ``stays`` it is the process id, at once. ``end`` with such an id ends that process,
``wait`` waits for its end and ``stopped`` until a signal has stopped it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from PIL import Image

from runner.__main__ import GARBAGE
from runner.cli.main import COMMANDS, main

PATIENCE_SECONDS = 60
LOADED_LATE = (
    "runner.engine.operations",
    "runner.emulator",
    "anyio._backends._asyncio",
    "filelock",
    "runner.report.page",
)
"""What commands import once they know that they need it."""


def child(request: dict[str, Any], sent: list[int]) -> NoReturn:
    """Become the command line that was asked for."""
    serves = request.get("stays") and not sent  # an emulator, which its test ends
    signal.alarm(0 if serves else PATIENCE_SECONDS)
    code = 1
    try:
        if request.get("session"):
            os.setsid()
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        modes = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)
        streams = sent or [os.open(path, mode) for path, mode in zip(request["streams"], modes, strict=True)]
        for handle, stream in enumerate(streams):
            os.dup2(stream, handle)
        os.closerange(3, 1024)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", buffering=1)
        sys.argv = ["runner", *request["argv"]]
        code = main()
    except BaseException:  # noqa: BLE001 - as the interpreter itself would end
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def fork(request: dict[str, Any], handles: socket.socket) -> int:
    """Fork a command line; its process id."""
    sent = socket.recv_fds(handles, 1, request["sent"])[1] if "sent" in request else []
    if (pid := os.fork()) == 0:
        child(request, sent)
    for handle in sent:
        os.close(handle)
    return pid


def answer(request: dict[str, Any], staying: set[int], handles: socket.socket) -> int:
    """Do what is asked; an exit code, or the id of a process that stays."""
    if "stopped" in request:
        os.waitid(os.P_PID, request["stopped"], os.WSTOPPED | os.WNOWAIT)
        return 0
    if "end" in request:
        os.kill(request["end"], signal.SIGTERM)
    pid = request.get("end") or request.get("wait") or fork(request, handles)
    if request.get("stays"):
        staying.add(pid)
        return pid
    staying.discard(pid)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def serve(handles: socket.socket) -> None:
    """Answer requests until standard input ends; nobody stays then."""
    for verb in COMMANDS:
        import_module(f"runner.cli.commands.{verb}")
    for module in LOADED_LATE:
        import_module(module)
    Image.init()
    gc.freeze()  # what is never collected is never copied into a child
    gc.set_threshold(GARBAGE)
    staying: set[int] = set()
    while line := sys.stdin.readline():
        sys.stdout.write(f"{answer(json.loads(line), staying, handles)}\n")
        sys.stdout.flush()
    for pid in staying:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
