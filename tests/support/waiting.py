"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 60


def wait_for(what: Callable[[], object]) -> None:
    """Look until it is so, and leave the processor to the others in between."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.005)
