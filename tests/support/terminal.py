"""A terminal for tests: a real pseudo-terminal, and just enough of a screen to see what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from support.forked import Forked, Zygote

PATIENCE_SECONDS = 60
TOKENS = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen:
    """Rows of text. Knows carriage return, line feed, cursor up, erase line, and wrapping, also after a resize."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        for found in TOKENS.finditer(text):
            number, command, carriage_return, line_feed, words = found.groups()
            if words is not None:
                self._print(words)
            elif carriage_return:
                self.column = 0
            elif line_feed:
                self._down()
            elif command == "A":
                self.row = max(0, self.row - int(number or 1))
            elif command == "K":
                self.rows[self.row] = ""

    def resize(self, columns: int) -> None:
        """Break every row anew, as most terminals do; the cursor stays with its text."""
        rows: list[str] = []
        for number, row in enumerate(self.rows):
            pieces = [row[start : start + columns] for start in range(0, len(row), columns)] or [""]
            rows += pieces
            if number == self.row:
                self.row, self.column = len(rows) - 1, len(pieces[-1])
                rows += self.rows[number + 1 :]
                break
        self.rows, self.columns = rows, columns

    def _print(self, words: str) -> None:
        for char in words:
            if self.column == self.columns:
                self._down()
                self.column = 0
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + char + row[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")

    @property
    def lines(self) -> list[str]:
        return [row.rstrip() for row in self.rows if row.strip()]


@dataclass
class Terminal:
    """A process whose standard streams are a terminal of so many columns."""

    command: list[str]
    """A program and its arguments; with a ``zygote`` the arguments of the command line."""
    cwd: Path
    environ: dict[str, str]
    columns: int = 80
    zygote: Zygote | None = None
    text: str = ""
    master: int = -1
    screen: Screen = field(init=False)
    process: subprocess.Popen[bytes] | Forked = field(init=False)

    def __enter__(self) -> Self:
        self.screen = Screen(self.columns)
        self.master, slave = pty.openpty()
        self._set_size()
        keep = {name: value for name, value in self.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        given = {"TERM": "xterm-256color", **{k: v for k, v in self.environ.items() if k == "NO_COLOR"}}
        environ = {**keep, **given, **({"TERM": self.environ["TERM"]} if self.environ.get("TERM") == "dumb" else {})}
        self.process = self._start(slave, environ)
        os.close(slave)
        return self

    def _start(self, slave: int, environ: dict[str, str]) -> subprocess.Popen[bytes] | Forked:
        if self.zygote is not None:
            return self.zygote.start(self.command, self.cwd, environ, [slave] * 3, session=True)
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        return subprocess.Popen(self.command, cwd=self.cwd, env=environ, start_new_session=True, **streams)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Take the terminal away."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def read(self) -> bool:
        """Take in what was printed next; False once the process has closed the terminal."""
        ready, _, _ = select.select([self.master], [], [], PATIENCE_SECONDS)
        assert ready, f"nothing more came; the screen:\n{chr(10).join(self.screen.lines)}"
        try:
            text = os.read(self.master, 65536).decode()
        except OSError:  # Linux says so when the other side has closed
            return False
        self.text += text
        self.screen.feed(text)
        return bool(text)

    def read_until(self, seen: Callable[[], bool]) -> None:
        while not seen():
            assert self.read(), f"it ended; the screen:\n{chr(10).join(self.screen.lines)}"

    def read_to_the_end(self) -> int:
        while self.read():
            pass
        return self.process.wait(PATIENCE_SECONDS)

    def resize(self, columns: int) -> None:
        """Change the width between two frames."""
        assert isinstance(self.process, Forked)
        self.process.send_signal(signal.SIGSTOP)
        self.process.wait_until_stopped()
        while select.select([self.master], [], [], 0)[0]:
            self.read()
        self.columns = columns
        self.screen.resize(columns)
        self._set_size()
        self.process.send_signal(signal.SIGCONT)

    def _set_size(self) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, self.columns, 0, 0))
