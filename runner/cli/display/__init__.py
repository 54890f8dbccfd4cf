"""Display of a running batch on standard error.

A ``RunDisplay`` observes the run and passes events to one renderer: ``plain`` (text for a log file), ``jsonl`` (one
JSON object per line) or ``terminal`` (live; the only renderer that imports rich).
"""

from __future__ import annotations

from runner.cli.display.factory import make_display, make_plain_display
from runner.cli.display.run_display import OutputOptions, RunDisplay

__all__ = ["OutputOptions", "RunDisplay", "make_display", "make_plain_display"]
