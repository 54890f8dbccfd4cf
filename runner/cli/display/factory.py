"""Choice of the renderer by the options and the kind of standard error."""

from __future__ import annotations

import os
import sys

from runner.cli.display.jsonl import JsonRenderer
from runner.cli.display.plain import PlainRenderer
from runner.cli.display.run_display import OutputOptions, Renderer, RunDisplay

DUMB = {"", "dumb", "unknown"}
"""Values of ``TERM`` for terminals without cursor control."""


def make_display(options: OutputOptions) -> RunDisplay:
    """Return the display of a run, with a renderer that suits the options and standard error."""
    return RunDisplay(_renderer(options), options)


def make_plain_display(*, quiet: bool = False) -> RunDisplay:
    """Return the display of a command that is not a run: a line of progress from time to time, and log messages."""
    return RunDisplay(PlainRenderer(sys.stderr, quiet=quiet), OutputOptions(quiet=quiet))


def _renderer(options: OutputOptions) -> Renderer:
    if options.objects:
        return JsonRenderer(sys.stderr, quiet=options.quiet)
    if not options.quiet and sys.stderr.isatty() and os.environ.get("TERM", "") not in DUMB:
        from runner.cli.display.terminal import TerminalRenderer  # noqa: PLC0415 - importing rich takes 0.1 s, and a cron job has no terminal

        return TerminalRenderer(sys.stderr, verbose=options.verbose)
    return PlainRenderer(sys.stderr, quiet=options.quiet, verbose=options.verbose)
