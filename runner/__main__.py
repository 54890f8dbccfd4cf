"""Entry point of ``python -m runner`` and of the console script."""

from __future__ import annotations

import gc
import sys

GARBAGE = 100_000
"""Number of new objects after which the garbage collector runs. A run makes hardly any reference cycles and many
short-lived objects: Python's default of 700 takes a tenth of the running time."""


def main() -> int:
    """Run the command line and return its exit code."""
    gc.set_threshold(GARBAGE)
    from runner.cli.main import main as command_line  # noqa: PLC0415 - the threshold holds for what importing makes, too

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
