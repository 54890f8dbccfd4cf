"""``python -m runner`` and the console script: a process of its own, and how it deals with its memory."""

from __future__ import annotations

import gc
import sys

GARBAGE = 100_000
"""After so many new objects cycles of garbage are looked for. A run makes hardly any, and many objects that are soon
gone: to look after every 700 of them, as Python does by itself, takes a tenth of the time."""


def main() -> int:
    """Run the command line and return its exit code. The process is to end then."""
    gc.set_threshold(GARBAGE)
    from runner import cli  # noqa: PLC0415 - nor is what it brings along looked through, an eighth of `runner --help`

    code = cli.main()
    gc.freeze()  # what is left is not gone through once more before the end: a quarter of it
    return code


if __name__ == "__main__":
    sys.exit(main())
