"""Live display in a terminal: a bar, counts, money and the last events, redrawn in place.

Lines that have to stay on the screen are printed above the live frame: the manifest that is run, its warnings, every
step with ``--verbose``, and the summary. The frame is never wider than ``MAX_WIDTH``, so that most changes of the
window size do not break its lines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, Group
from rich.control import Control
from rich.live import Live as Redrawn
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from runner.cli.display.events import Event, LastEvents, Severity
from runner.cli.display.progress import Snapshot, money_in_words
from runner.core.text import in_words

MAX_WIDTH = 100
STAYS = {"run_started", "manifest_warning", "run_finished"}
NOTICES = {"stopping", "paused"}
"""Events that have a line of their own as long as they last."""
STYLES = {Severity.ALERT: "not dim bold red", Severity.NOTICE: "not dim yellow"}
ALERT_LINES = 3
"""Most lines of one alert in the frame. Other events have one line each."""
INDENT = " " * len("00:00:00 ")
COUNTS = (
    ("done", "done", "green"),
    ("paid", "paid", ""),
    ("in_flight", "in flight", ""),
    ("queued", "queued", ""),
    ("failed", "failed", "red"),
    ("unknown", "unknown", "red"),
)
"""Counts that are always shown, in this order: name, label, and the style of a count above 0."""


class TerminalRenderer:
    """Renderer of the live display: the same lines at the same places, redrawn four times a second."""

    tick_seconds = 0.25

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        plain = bool(os.environ.get("NO_COLOR"))
        self._console = Console(
            file=stream, force_terminal=True, highlight=False, soft_wrap=False, color_system=None if plain else "auto"
        )
        self.least = Severity.STEP if verbose else Severity.NEWS
        self._verbose = verbose
        self._last = LastEvents()
        self._stopping = ""
        self._redrawn: Redrawn | None = None
        self._widths: list[int] = []
        self._columns = self._console.width
        self._began = float("inf")

    def tell(self, event: Event) -> None:
        if event.name == "stopping":
            self._stopping = event.text
        if event.name in STAYS:
            self._console.print(Text(event.text), soft_wrap=True)
        elif self._verbose and event.name != "stopping":
            self._console.print(_event_line(event), soft_wrap=True)
        elif event.weight > Severity.STEP and event.name not in NOTICES:
            self._last.add(event)

    def show(self, snapshot: Snapshot, now: float) -> None:
        self._began = min(self._began, now)
        if self._redrawn is None:
            self._redrawn = Redrawn(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._redrawn.start()
        self._erase_wrapped_lines()
        self._redrawn.update(self._frame(snapshot, now - self._began), refresh=True)

    def close(self) -> None:
        if self._redrawn is not None:
            self._erase_wrapped_lines()
            self._redrawn.stop()
            self._redrawn = None

    def _erase_wrapped_lines(self) -> None:
        """Erase the extra lines that the last frame takes in a window that got narrower.

        The terminal wraps the lines of the last frame again when the window gets narrower. rich does not know of the
        additional lines.
        """
        columns = self._console.width
        if columns < self._columns:
            extra = sum(max(0, width - 1) // columns for width in self._widths)
            step = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)]
            self._console.control(Control(*step * extra))
        self._columns = columns

    def _frame(self, snapshot: Snapshot, seconds: float) -> Group:
        width = max(10, min(self._console.width - 1, MAX_WIDTH))
        lines = [*_counts(snapshot, width), *_concurrency(snapshot), _pace(snapshot, seconds), *self._notices(snapshot)]
        for event in self._last:
            lines += _wrapped(event, self._console, width) if event.weight is Severity.ALERT else [_event_line(event)]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
            line.no_wrap = True
        self._widths = [width, *(cell_len(line.plain) for line in lines)]
        return Group(_bar(snapshot, width, stopping=bool(self._stopping)), *lines)

    def _notices(self, snapshot: Snapshot) -> list[Text]:
        if self._stopping:
            return [Text(self._stopping, style="bold")]
        return [Text(f"paused: {snapshot.paused}", style="yellow")] if snapshot.paused else []


def _bar(snapshot: Snapshot, width: int, *, stopping: bool) -> Table | Text:
    if not snapshot.total:
        return Text("comparing the manifest with the results log …")
    share = f"{int(100 * snapshot.settled / snapshot.total)} %"
    words = [share, f"{snapshot.settled:,} of {snapshot.total:,}"]
    if snapshot.seconds_left is not None and not stopping:
        words.append(f"about {in_words(snapshot.seconds_left)} left")
    end = "  ".join(words)
    line = Table.grid(padding=(0, 2, 0, 0))
    room = max(4, width - cell_len(end) - 2)
    bar = ProgressBar(snapshot.total, snapshot.settled, room, complete_style="cyan", finished_style="green")
    line.add_row(bar, Text(end, no_wrap=True, overflow="ellipsis"))
    return line


def _counts(snapshot: Snapshot, width: int) -> list[Text]:
    """Return the counts, on as many lines as they need."""
    lines = [Text()]
    for part in _count_parts(snapshot):
        if lines[-1] and cell_len(lines[-1].plain) + 3 + cell_len(part.plain) > width:
            lines.append(Text())
        lines[-1].append("   " if lines[-1] else "").append_text(part)
    return lines


def _count_parts(snapshot: Snapshot) -> Iterator[Text]:
    for name, label, style in COUNTS:
        count = getattr(snapshot, name)
        if name == "done":
            count += snapshot.skipped + snapshot.missing
        limit = f" of {snapshot.concurrency:,}" if name == "in_flight" and snapshot.concurrency is not None else ""
        part = Text(f"{label} ", style="dim" if not count else "")
        yield part.append(f"{count:,}{limit}", style=style if count else "dim")
    if snapshot.cancelled:
        yield Text(f"cancelled {snapshot.cancelled:,}", style="red")
    if snapshot.skipped:
        yield Text(f"({snapshot.skipped:,} done before)", style="dim")


def _concurrency(snapshot: Snapshot) -> Iterator[Text]:
    """Yield the reason for the number of requests in flight, while that number matters."""
    if snapshot.concurrency_reason and snapshot.queued:
        yield Text(f"up to {snapshot.concurrency:,} in flight: {snapshot.concurrency_reason}", style="dim")


def _pace(snapshot: Snapshot, seconds: float) -> Text:
    parts = [money_in_words(snapshot)]
    if snapshot.per_minute is not None:
        parts.append(f"{snapshot.per_minute:,.0f} a minute")
    parts.append(f"{in_words(seconds)} so far")
    return Text("   ".join(parts))


def _wrapped(event: Event, console: Console, width: int) -> list[Text]:
    """Return the lines of an alert, at most ``ALERT_LINES``; they stand under its text, to the right of the time."""
    first, *more = _event_line(event).wrap(console, width)
    if not more:
        return [first]
    rest = Text(" ").join(line.copy() for line in more).wrap(console, max(10, width - len(INDENT)))
    shown = [*rest[: ALERT_LINES - 2], Text(" ").join(rest[ALERT_LINES - 2 :])] if len(rest) >= ALERT_LINES else rest
    return [first, *(Text(INDENT).append_text(line) for line in shown)]


def _event_line(event: Event) -> Text:
    line = Text(time.strftime("%H:%M:%S ", time.localtime(event.at)), style="dim")
    return line.append(event.text, style=STYLES.get(event.weight, "not dim"))
