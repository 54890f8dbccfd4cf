"""How many examples a property is tried with: few by default, all of them with ``HYPOTHESIS_PROFILE=full``."""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
"""``quick`` or ``full``; see ``conftest.py``."""
QUICK = 25


def examples(full: int, quick: int = QUICK) -> int:
    """As many as the profile asks for, where a property has numbers of its own."""
    return full if PROFILE == "full" else min(full, quick)
