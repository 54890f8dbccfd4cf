"""Clock that is passed as an argument.

Code waits on the clock of the event loop. A test with a loop on virtual time therefore passes a clock that reads the
loop's time. Only ``disk`` and the cluster's liveness checks read the system time directly.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Source of the current time. The local clock is used for display and ages, never to decide about money."""

    def now(self) -> float:
        """Return the seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Return the seconds on a clock that never steps back; only differences are meaningful."""


class SystemClock:
    """Clock of the machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def timestamp(epoch_seconds: float) -> str:
    """Return ``2026-11-22T01:02:03.456Z``, the form of every time in the results log."""
    return _in_milliseconds(round(epoch_seconds * 1_000_000) // 1000)


@lru_cache(maxsize=16)
def _in_milliseconds(epoch_milliseconds: int) -> str:
    """Format a time in milliseconds; cached, because every record holds one or more times."""
    second, millisecond = divmod(epoch_milliseconds, 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=16)
def _second(epoch_second: int) -> str:
    """Format the whole seconds: the slow part, cached because many times share a second."""
    return datetime.fromtimestamp(epoch_second, tz=UTC).isoformat()[:-6]


def epoch(text: str) -> float:
    """Return the seconds since the epoch of ``text``, the reverse of ``timestamp``.

    Raises ``ValueError`` if ``text`` is not an ISO 8601 time with a time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment.timestamp()
