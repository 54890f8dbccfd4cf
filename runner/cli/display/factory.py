"""Choice of the display that suits what standard error is."""

from __future__ import annotations

import os
import sys

from runner.cli.display.jsonl import JsonLog
from runner.cli.display.plain import Lines
from runner.cli.display.watcher import Face, Telling, Watch

DUMB = {"", "dumb", "unknown"}
"""Terminals that only print."""


def watch(telling: Telling) -> Watch:
    """The watch that suits what standard error is."""
    return Watch(_face(telling), telling)


def plain_watch(*, quiet: bool = False) -> Watch:
    """For verbs that are no run: now and then a line, and what is logged."""
    return Watch(Lines(sys.stderr, quiet=quiet), Telling(quiet=quiet))


def _face(telling: Telling) -> Face:
    if telling.objects:
        return JsonLog(sys.stderr, quiet=telling.quiet)
    if not telling.quiet and sys.stderr.isatty() and os.environ.get("TERM", "") not in DUMB:
        from runner.cli.display.terminal import Live  # noqa: PLC0415 - rich takes a tenth of a second; cron has no terminal

        return Live(sys.stderr, verbose=telling.verbose)
    return Lines(sys.stderr, quiet=telling.quiet, verbose=telling.verbose)
