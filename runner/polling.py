"""When to ask after a request: pure arithmetic on how long the earlier ones took.

Let F be the distribution of the time from acceptance to the final state, estimated from the last ``WINDOW`` requests
of the same model and size. A request that has been out for ``age`` seconds without being final is asked after next
at the time by which ``CONFIDENCE`` of the *remaining* probability has passed: F(t) ≥ F(age) + CONFIDENCE·(1 - F(age)).
So the first question comes when the request should just be ready, and the gaps follow what is still likely. Before
anything is known, and beyond all that was ever seen, the gap grows with the age: ``GROWTH`` of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Hashable
from math import ceil

WINDOW = 200
ENOUGH = 5
"""So many requests make a distribution."""
CONFIDENCE = 0.6
GROWTH = 0.3
FIRST = 0.25
"""Seconds before the first question as long as nothing is known."""
SHORTEST = 0.005
"""Between two questions; a service that answers at once is asked at once."""
LONGEST = 10.0


class Durations:
    """How long requests of each kind take, learnt as the run goes. A kind is any hashable: model and size."""

    def __init__(self) -> None:
        self._recent: dict[Hashable, deque[float]] = {}
        self._sorted: dict[Hashable, list[float]] = {}

    def learn(self, kind: Hashable, seconds: float) -> None:
        """Count a request that took ``seconds`` from acceptance to being seen final."""
        recent = self._recent.setdefault(kind, deque())
        ranked = self._sorted.setdefault(kind, [])
        if len(recent) == WINDOW:
            oldest = recent.popleft()
            del ranked[bisect_right(ranked, oldest) - 1]
        recent.append(seconds)
        insort(ranked, seconds)

    def gap(self, kind: Hashable, age: float) -> float:
        """Seconds to wait before asking after a request that was accepted ``age`` seconds ago."""
        ranked = self._sorted.get(kind, [])
        past = bisect_left(ranked, age)
        remaining = len(ranked) - past
        if len(ranked) < ENOUGH or remaining == 0:
            return _between(max(FIRST, GROWTH * age))
        return _between(ranked[past + ceil(CONFIDENCE * remaining) - 1] - age)


def _between(seconds: float) -> float:
    return min(LONGEST, max(SHORTEST, seconds))
