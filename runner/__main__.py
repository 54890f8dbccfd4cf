"""``python -m runner`` and the console script."""

from __future__ import annotations

import gc
import sys

from runner import cli


def main() -> int:
    """Run the command line and return its exit code. The process is to end then."""
    code = cli.main()
    gc.freeze()  # what is left is not gone through once more for garbage: a quarter of `runner --help`
    return code


if __name__ == "__main__":
    sys.exit(main())
