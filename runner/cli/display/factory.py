"""Choice of the display that suits what standard error is."""

from __future__ import annotations

import os
import sys

from runner.cli.display.jsonl import JsonRenderer
from runner.cli.display.plain import PlainRenderer
from runner.cli.display.run_display import OutputOptions, Renderer, RunDisplay

DUMB = {"", "dumb", "unknown"}
"""Terminals that only print."""


def make_display(telling: OutputOptions) -> RunDisplay:
    """The watch that suits what standard error is."""
    return RunDisplay(_face(telling), telling)


def make_plain_display(*, quiet: bool = False) -> RunDisplay:
    """For verbs that are no run: now and then a line, and what is logged."""
    return RunDisplay(PlainRenderer(sys.stderr, quiet=quiet), OutputOptions(quiet=quiet))


def _face(telling: OutputOptions) -> Renderer:
    if telling.objects:
        return JsonRenderer(sys.stderr, quiet=telling.quiet)
    if not telling.quiet and sys.stderr.isatty() and os.environ.get("TERM", "") not in DUMB:
        from runner.cli.display.terminal import TerminalRenderer  # noqa: PLC0415 - rich takes a tenth of a second; cron has no terminal

        return TerminalRenderer(sys.stderr, verbose=telling.verbose)
    return PlainRenderer(sys.stderr, quiet=telling.quiet, verbose=telling.verbose)
