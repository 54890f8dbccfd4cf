"""Display of a run under way, on standard error.

A ``RunDisplay`` follows the run and hands what happens to one renderer: ``plain`` (text for a log file), ``jsonl`` (an
object a line) or ``terminal`` (live; the only one that imports rich).
"""

from __future__ import annotations

from runner.cli.display.factory import make_display, make_plain_display
from runner.cli.display.run_display import OutputOptions, RunDisplay

__all__ = ["OutputOptions", "RunDisplay", "make_display", "make_plain_display"]
