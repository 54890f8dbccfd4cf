"""Display of a run: turns records, log messages and status into events for a renderer."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import anyio
import msgspec

from runner.cli.console import MAX_PROBLEMS, plain, show_error, warning_words
from runner.cli.display.events import Event, Severity, event_of, severity_of
from runner.cli.display.progress import Snapshot, Track, what_is_left
from runner.cli.display.summary import Typed, cause_fields, next_steps, summary_lines
from runner.core.clock import Clock, SystemClock
from runner.core.errors import ManifestError, RunnerError
from runner.core.models import Json, Problem, Record
from runner.engine.run_status import RunStatus
from runner.engine.stop import Stop
from runner.engine.summary import Report

KEPT_ERRORS = 16
"""Last records with an error that are kept, to remove their prompts from log messages that quote the API."""
LONG_PAUSE_SECONDS = 30.0
"""Shortest pause that a log file reports by itself. A progress line mentions a shorter pause if one is under way."""


class Renderer(Protocol):
    """One way to show a run."""

    tick_seconds: float
    least: Severity
    """Lowest severity of a transition that is shown."""

    def tell(self, event: Event) -> None:
        """Show one event."""

    def show(self, snapshot: Snapshot, now: float) -> None:
        """Show the progress. Called every ``tick_seconds``; ``now`` is in seconds since the epoch."""

    def close(self) -> None:
        """Restore the terminal. May be called twice."""


class OutputOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the display."""

    quiet: bool = False
    """True if only events that need a person are shown, and nothing if everything that was asked for is done."""
    verbose: bool = False
    objects: bool = False
    """True for JSON objects instead of text."""


PLAINLY = OutputOptions()


class RunDisplay:
    """Observer of one run."""

    def __init__(self, renderer: Renderer, options: OutputOptions = PLAINLY, clock: Clock | None = None) -> None:
        self._renderer = renderer
        self._options = options
        self._clock = clock or SystemClock()
        self._track = Track()
        self._read: Callable[[], RunStatus] = RunStatus
        self._stop: Stop | None = None
        self._told_stop = ""
        self._paused = False
        self._listeners: list[Callable[[Record], None]] = []
        self._held: list[Event] = []
        self._erred: deque[Record] = deque(maxlen=KEPT_ERRORS)
        logging.basicConfig(handlers=[_Handler(self._hear)], level=logging.WARNING, force=True)
        logging.getLogger("runner").setLevel(logging.INFO if options.verbose else logging.WARNING)

    def watch(self, read: Callable[[], RunStatus]) -> None:
        """Read the status of the run with ``read`` from now on."""
        self._read = read

    def listen(self, listener: Callable[[Record], None]) -> None:
        """Call ``listener`` with every record."""
        self._listeners.append(listener)

    def heed(self, stop: Stop) -> None:
        """Report when ``stop`` is set."""
        self._stop = stop

    def __call__(self, record: Record) -> None:
        """Show one transition that is durable now."""
        if record.error is not None:
            self._erred.append(record)
        self.count(record)
        if severity_of(record) >= self._renderer.least:
            self._tell(event_of(record, self._clock.now()))

    def count(self, record: Record) -> None:
        """Count one transition without showing it."""
        self._track.see(record)
        for listener in self._listeners:
            listener(record)

    def say(self, text: str, name: str = "log", weight: Severity = Severity.NOTICE, **fields: Json) -> None:
        """Show a message; ``fields`` are for a program that reads JSON objects."""
        fields = fields or {"level": "info", "message": text}
        self._tell(Event(at=self._clock.now(), name=name, text=text, weight=weight, fields=fields))

    def warn(self, warnings: Iterable[Problem]) -> None:
        """Show the warnings of a manifest.

        With ``--quiet`` they are shown at the end, and only if the outcome needs a person.
        """
        for warning in warnings:
            text = warning_words(warning)
            fields = {"place": str(warning.place), "message": warning.what, "advice": warning.advice}
            event = Event(at=self._clock.now(), name="manifest_warning", text=text, fields=fields)
            if self._options.quiet:
                self._held.append(event)
            else:
                self._tell(event)

    async def tick(self) -> None:
        """Show the progress regularly, until cancelled."""
        while True:
            self._tell_stop()
            snapshot = self._track.read(self._read(), self._clock.monotonic())
            with self._ignoring_stream_errors():
                if not self._paused:
                    self._renderer.show(snapshot, self._clock.now())
            await anyio.sleep(self._renderer.tick_seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        self._paused = True
        self.close()
        try:
            yield
        finally:
            self._paused = False

    def interrupted(self, signal: str, grace_seconds: float) -> None:
        """Report that a signal ends the run, even if buying had stopped before."""
        text = f"{signal}: finishing requests in flight, at most {grace_seconds:.0f} s; again to stop at once"
        self._say_stopping(text, f"interrupted by {signal}")

    def abandoned(self, signal: str) -> None:
        """Report that a second signal ends the process, what is left, and how to go on."""
        self.close()
        left = "\n".join(what_is_left(self._track.read(self._read(), self._clock.monotonic())))
        text = (
            f"stopped at once by {signal}: {left}\nnext: the same command again downloads what is paid, and continues"
        )
        self.say(text, "run_finished", Severity.ALERT, exit_code=75, error=f"stopped at once by {signal}")

    def _tell_stop(self) -> None:
        """Report why nothing more is bought, once per reason."""
        why = self._stop.why if self._stop is not None else None
        if why is not None and why.reason != self._told_stop:
            self._say_stopping(f"buying stopped: {plain(why.reason)}", plain(why.reason))

    def _say_stopping(self, text: str, reason: str) -> None:
        why = self._stop.why if self._stop is not None else None
        if why is not None:
            self._told_stop = why.reason
            self.say(text, "stopping", Severity.ALERT, reason=reason, exit_code=why.exit_code)

    def _hear(self, record: logging.LogRecord) -> None:
        """Show a log record of the engine or of a library."""
        if getattr(record, "transition", False):  # the transition itself is shown already
            return
        text = self._scrubbed(record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {self._scrubbed(str(record.exc_info[1]))})"
        weight = Severity.NEWS if getattr(record, "event", "") == "copies" else _weight(record.levelno)
        if getattr(record, "event", "") == "paused":
            seconds, reason = float(vars(record)["seconds"]), self._scrubbed(vars(record)["reason"])
            self._track.pause(seconds, reason, self._clock.monotonic())
            weight = Severity.NEWS if seconds < LONG_PAUSE_SECONDS else Severity.NOTICE
            self.say(text, "paused", weight, seconds=seconds, reason=reason)
        else:
            self.say(text, "log", weight, level=record.levelname.lower(), message=text)

    def _scrubbed(self, text: str) -> str:
        for record in self._erred:
            text = plain(text, record)
        return plain(text)

    def close(self) -> None:
        """Restore the terminal."""
        with self._ignoring_stream_errors():
            self._renderer.close()

    def _tell(self, event: Event) -> None:
        with self._ignoring_stream_errors():
            self._renderer.tell(event)

    @contextmanager
    def _ignoring_stream_errors(self) -> Iterator[None]:
        """Continue the run without output once standard error cannot be written: terminal closed, disk full."""
        try:
            yield
        except OSError:
            self._renderer = _NullRenderer()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def finish(self, report: Report, typed: Typed) -> None:
        """Show the summary of the finished run; nothing if a quiet run ends with exit code 0."""
        self.close()
        if self._options.quiet and report.exit_code == 0:
            return
        self._tell_stop()
        for event in self._held:
            self._tell(event)
        fields = {
            **report.as_json(),
            "exit_code": report.exit_code,
            "causes": cause_fields(report),
            "next": [step.command for step in next_steps(report, typed)],
        }
        self.say("\n".join(summary_lines(report, typed)), "run_finished", Severity.ALERT, **fields)

    def fail(self, error: RunnerError) -> None:
        """Show the error that ended the command."""
        self.close()
        if not self._options.objects:
            show_error(error)
            return
        problems = error.problems[:MAX_PROBLEMS] if isinstance(error, ManifestError) else ()
        about = {"problems": [str(problem) for problem in problems]} if problems else {}
        text = plain(str(error)) if not problems else "the manifest has problems; nothing was bought"
        self.say(text, "run_finished", Severity.ALERT, exit_code=error.exit_code, error=text, **about)


def _weight(level: int) -> Severity:
    if level < logging.WARNING:
        return Severity.STEP
    return Severity.NOTICE if level < logging.ERROR else Severity.ALERT


class _NullRenderer:
    """Renderer that writes nothing, for a standard error that cannot be written any more."""

    tick_seconds = 60.0
    least = Severity.ALERT

    def tell(self, event: Event) -> None:
        """Do nothing."""

    def show(self, snapshot: Snapshot, now: float) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Handler(logging.Handler):
    """Logging handler that passes every record to a function."""

    def __init__(self, hear: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(record)
