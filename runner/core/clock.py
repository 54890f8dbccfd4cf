"""Clock: time as an argument.

Waiting is done on the event loop's clock, so a test that runs its loop on virtual time needs a second clock
that reads that loop. By itself only ``disk`` looks at the time, and the cluster for signs of life.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """What the time is. The local clock is for display and ages; it never decides about money."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps back; only differences mean anything."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def timestamp(epoch_seconds: float) -> str:
    """``2026-11-22T01:02:03.456Z``, the form of every time in the results manifest."""
    return _in_milliseconds(round(epoch_seconds * 1_000_000) // 1000)


@lru_cache(maxsize=16)
def _in_milliseconds(epoch_milliseconds: int) -> str:
    """What happens at one moment is formatted once: each record bears a time or more."""
    second, millisecond = divmod(epoch_milliseconds, 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=16)
def _second(epoch_second: int) -> str:
    """Whole seconds are what takes long to format, and many moments share one."""
    return datetime.fromtimestamp(epoch_second, tz=UTC).isoformat()[:-6]


def epoch(text: str) -> float:
    """The reverse of ``timestamp``. Raises ``ValueError`` for text that is no ISO 8601 time with a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment.timestamp()
