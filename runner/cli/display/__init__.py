"""Display of a run under way, on standard error.

A ``Watch`` follows the run and hands what happens to one renderer: ``plain`` (text for a log file), ``jsonl`` (an
object a line) or ``terminal`` (live; the only one that imports rich).
"""

from __future__ import annotations

from runner.cli.display.factory import plain_watch, watch
from runner.cli.display.watcher import Telling, Watch

__all__ = ["Telling", "Watch", "plain_watch", "watch"]
