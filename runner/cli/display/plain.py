"""Text for a log file: a line of progress every 30 s, and a line for every event that needs a person."""

from __future__ import annotations

import time
from collections import Counter
from typing import TextIO

from runner.cli.display.events import Event, Severity
from runner.cli.display.progress import Snapshot, line_of

LINE_SECONDS = 30.0
ALERTS_EACH = 5
"""Alerts with the same cause that are printed one by one; the summary counts the others."""


class PlainRenderer:
    """Renderer of log lines: ``2026-11-22 02:15:30 INFO 99 of 160: …``, in local time."""

    tick_seconds = 1.0

    def __init__(self, stream: TextIO, *, quiet: bool = False, verbose: bool = False) -> None:
        self._stream = stream
        self.least = Severity.ALERT if quiet else Severity.STEP if verbose else Severity.NOTICE
        self._quiet = quiet
        self._verbose = verbose
        self._alerts: Counter[str] = Counter()
        self._next = float("-inf")
        self._said = ""

    def tell(self, event: Event) -> None:
        if event.weight < self.least and event.name != "manifest_warning":
            return
        if event.name == "transition" and not self._verbose and not self._admit(event):
            return
        if event.name == "manifest_warning":
            self._print(event.text)
        elif event.name == "run_finished":
            self._print(f"{_stamp(event.at)} {event.text}")
        else:
            self._print(f"{_stamp(event.at)} {_level(event)} {event.text}")

    def show(self, snapshot: Snapshot, now: float) -> None:
        if self._quiet:
            return
        if self._next == float("-inf"):
            self._next = now + LINE_SECONDS
        if now >= self._next:
            self._next = now + LINE_SECONDS
            line = line_of(snapshot)
            if line != self._said:
                self._said = line
                self._print(f"{_stamp(now)} INFO {line}")

    def close(self) -> None:
        """Do nothing: this renderer leaves nothing to restore."""

    def _admit(self, event: Event) -> bool:
        """Tell whether ``event`` is printed; print a notice at the first one of a cause that is not."""
        self._alerts[event.cause] += 1
        count = self._alerts[event.cause]
        if count == ALERTS_EACH + 1:
            self._print(f"{_stamp(event.at)} INFO further events of this kind ({event.cause}) are only counted")
        return count <= ALERTS_EACH

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def _level(event: Event) -> str:
    if (
        event.name in ("run_started", "progress")
        or event.weight < Severity.NOTICE
        or event.fields.get("level") == "info"
    ):
        return "INFO"
    return "WARNING"


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
