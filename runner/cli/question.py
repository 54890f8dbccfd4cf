"""Question before a run replaces pictures that are done."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from threading import Thread

from anyio import Event

from runner.cli.console import echo, printable
from runner.cli.display import RunDisplay
from runner.engine.stop import Stop

YES = (b"y", b"yes")


class ReplacementQuestion:
    """Asks at a terminal whether pictures may be replaced. Elsewhere, and with ``--yes``, the answer is yes."""

    def __init__(self, display: RunDisplay, stop: Stop, *, yes: bool) -> None:
        self._display = display
        self._stop = stop
        self._yes = yes

    async def __call__(self, replaced: str) -> bool:
        """Return whether the pictures named in ``replaced`` may be replaced; False if the run is interrupted."""
        if self._yes or not _at_terminal():
            self._display.say(replaced if self._yes else f"{replaced}; nobody is asked: this is no terminal")
            return True
        with self._display.paused():
            _forget_typed()
            question = "The present files are kept in .replaced/. Replace them? [y/N] "
            echo(f"{printable(replaced)}.\n{question}", err=True, nl=False)
            answer = await _read_line(self._stop)
            if not answer.endswith(b"\n"):
                echo("", err=True)
        return answer.strip().lower() in YES


def _at_terminal() -> bool:
    streams = (sys.stdin, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


async def _read_line(stop: Stop) -> bytes:
    """Return the next line that is typed, or nothing if buying stops first.

    A thread reads the file descriptor and not ``sys.stdin``, whose lock would keep an interrupted process from ending.
    """
    loop, answered, lines = asyncio.get_running_loop(), Event(), list[bytes]()

    def done(line: bytes) -> None:
        lines.append(line)
        answered.set()

    def read() -> None:
        with suppress(OSError, RuntimeError):  # the terminal is gone, or the run has ended
            loop.call_soon_threadsafe(done, os.read(sys.stdin.fileno(), 1024))

    Thread(target=read, daemon=True).start()
    await stop.wait_for(answered)
    return lines[0] if lines else b""


def _forget_typed() -> None:
    """Discard what was typed before the question: it is no answer."""
    with suppress(ImportError, OSError):
        import termios  # noqa: PLC0415 - not on every platform

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
