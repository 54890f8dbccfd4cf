"""Clock that is passed as an argument.

Code waits on the clock of the event loop. A test with a loop on virtual time therefore passes a clock that reads the
loop's time. Only ``disk`` and the cluster's liveness checks read the system time directly.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
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
    moment = datetime.fromtimestamp(epoch_seconds, tz=UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def epoch(text: str) -> float:
    """Return the seconds since the epoch of ``text``, the reverse of ``timestamp``.

    Raises ``ValueError`` if ``text`` is not an ISO 8601 time with a time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment.timestamp()
