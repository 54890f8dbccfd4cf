"""Entry point of ``python -m runner`` and of the console script, with the garbage collector settings of both."""

from __future__ import annotations

import gc
import sys

GARBAGE = 100_000
"""Number of new objects after which the garbage collector runs. A run makes hardly any reference cycles and many
short-lived objects: Python's default of 700 takes a tenth of the running time."""


def main() -> int:
    """Run the command line and return its exit code. The caller ends the process afterwards."""
    gc.set_threshold(GARBAGE)
    from runner.cli.main import main as command_line  # noqa: PLC0415 - after the line above: saves an eighth of `runner --help`

    code = command_line()
    gc.freeze()  # without it Python walks all remaining objects on exit: a quarter of `runner --help`
    return code


if __name__ == "__main__":
    sys.exit(main())
