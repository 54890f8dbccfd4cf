"""When to try again: numbers, not sleep. Whoever waits on them also owns the deadline."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec


def backoff(rng: random.Random, *, base: float = 0.5, cap: float = 30.0) -> Iterator[float]:
    """Seconds before each repetition: doubling from ``base`` up to ``cap``, with full jitter above a tenth of it."""
    ceiling = base
    while True:
        yield ceiling * rng.uniform(0.1, 1.0)
        ceiling = min(cap, ceiling * 2)


class Pace(msgspec.Struct):
    """At most ``per_second`` starts in any stretch of time, evenly spaced (GCRA without a burst); None: no limit."""

    per_second: float | None
    _next: float = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next start is free. ``now`` is on a monotonic clock."""
        return max(0.0, self._next - now) if self.per_second is not None else 0.0

    def take(self, now: float) -> None:
        """Start now, or a moment before the next start is free: the one after that keeps its distance."""
        if self.per_second is not None:
            self._next = max(now, self._next) + 1.0 / self.per_second
