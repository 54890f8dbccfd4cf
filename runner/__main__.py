"""Entry point of ``python -m runner`` and of the console script, and its settings of the garbage collector."""

from __future__ import annotations

import gc
import sys

GARBAGE = 100_000
"""After so many new objects cycles of garbage are looked for. A run makes hardly any, and many objects that are soon
gone: to look after every 700 of them, as Python does by itself, takes a tenth of the time."""


def main() -> int:
    """Run the command line and return its exit code. The process is to end then."""
    gc.set_threshold(GARBAGE)
    from runner.cli.main import main as command_line  # noqa: PLC0415 - after the line above, which spares an eighth of `runner --help`

    code = command_line()
    gc.freeze()  # else Python goes through all that is left before it ends: a quarter of `runner --help`
    return code


if __name__ == "__main__":
    sys.exit(main())
