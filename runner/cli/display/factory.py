"""Choice of the display that suits what standard error is."""

from __future__ import annotations

import os
import sys

from runner.cli.display.jsonl import JsonRenderer
from runner.cli.display.plain import PlainRenderer
from runner.cli.display.run_display import OutputOptions, Renderer, RunDisplay

DUMB = {"", "dumb", "unknown"}
"""Terminals that only print."""


def make_display(options: OutputOptions) -> RunDisplay:
    """The watch that suits what standard error is."""
    return RunDisplay(_renderer(options), options)


def make_plain_display(*, quiet: bool = False) -> RunDisplay:
    """For verbs that are no run: now and then a line, and what is logged."""
    return RunDisplay(PlainRenderer(sys.stderr, quiet=quiet), OutputOptions(quiet=quiet))


def _renderer(options: OutputOptions) -> Renderer:
    if options.objects:
        return JsonRenderer(sys.stderr, quiet=options.quiet)
    if not options.quiet and sys.stderr.isatty() and os.environ.get("TERM", "") not in DUMB:
        from runner.cli.display.terminal import TerminalRenderer  # noqa: PLC0415 - rich takes a tenth of a second; cron has no terminal

        return TerminalRenderer(sys.stderr, verbose=options.verbose)
    return PlainRenderer(sys.stderr, quiet=options.quiet, verbose=options.verbose)
