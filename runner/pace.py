"""When to try again: numbers, not sleep. Whoever waits on them also owns the deadline."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


def backoff(rng: random.Random, *, base: float = 0.5, cap: float = 30.0) -> Iterator[float]:
    """Seconds before each repetition: doubling from ``base`` up to ``cap``, with full jitter above a tenth of it."""
    ceiling = base
    while True:
        yield ceiling * rng.uniform(0.1, 1.0)
        ceiling = min(cap, ceiling * 2)


@dataclass(slots=True)
class Pace:
    """At most ``per_second`` starts in any stretch of time, evenly spaced (GCRA without a burst); None: no limit."""

    per_second: float | None
    _next: float = float("-inf")

    def reserve(self, now: float) -> float:
        """Take the next free start and return the seconds until it. ``now`` is on a monotonic clock."""
        if self.per_second is None:
            return 0.0
        start = max(now, self._next)
        self._next = start + 1.0 / self.per_second
        return start - now
