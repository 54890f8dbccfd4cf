"""When to ask after a request: pure arithmetic on how long the earlier ones took.

Every question costs a little (``PRICE``), every second that a finished request goes unnoticed costs a second. Let the
requests of one model and size take times with weights p₁ … pₘ at t₁ < … < tₘ, estimated from the last ``WINDOW`` of
them in groups of equal count. A request that was not ready at tᵢ is best asked after next at the tⱼ that minimises ::

    C(i) = min over j > i of  PRICE·√mean·S(i) + Σ p_k (t_j - t_k) for i < k ≤ j + C(j),     S(i) = Σ p_k for k > i

which is solved once from the back for every i. So the first question comes when the request should just be ready, and
the gaps follow what is still likely; a model with two speeds gets questions around both. The price grows with the
root of the mean: a slow request may be asked after more often, but not in proportion. Before anything is known, and
beyond all that was ever seen, the gap grows with the age: ``GROWTH`` of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import sqrt

WINDOW = 200
ENOUGH = 5
"""So many requests make a distribution."""
GROUPS = 40
PRICE = 0.036
"""Of one question, in seconds for a request of one second: 5.2 calls a job in all at a lag of a tenth of the time."""
GROWTH = 0.3
FIRST = 0.25
"""Seconds before the first question as long as nothing is known."""
SHORTEST = 0.005
"""Between two questions; a service that answers at once is asked at once."""
LONGEST = 10.0


def best_questions(groups: Sequence[tuple[float, float, float]], price: float) -> list[int]:
    """For each group the one to ask at next when it was not ready then; entry 0 is for a request just submitted.

    A group is (its last time, its mean time, its weight), in order of time; ``price`` is in seconds a question.
    """
    weight = [0.0, *accumulate(p for _, _, p in groups)]
    moment = [0.0, *accumulate(p * mean for _, mean, p in groups)]
    last = len(groups)
    cost = [0.0] * (last + 1)
    following = [last] * last
    for i in range(last - 1, -1, -1):
        asked = price * (weight[last] - weight[i])
        lags = (groups[j - 1][0] * (weight[j] - weight[i]) - (moment[j] - moment[i]) for j in range(i + 1, last + 1))
        cost[i], following[i] = min((asked + lag + cost[j], j) for j, lag in enumerate(lags, i + 1))
    return following


@dataclass(slots=True)
class _Kind:
    """What is known of one model and size."""

    recent: deque[float] = field(default_factory=deque)
    ranked: list[float] = field(default_factory=list)
    news: int = 0
    """Durations learnt since the questions were laid out."""
    times: list[float] = field(default_factory=list)
    following: list[int] = field(default_factory=list)

    def learn(self, seconds: float) -> None:
        if len(self.recent) == WINDOW:
            del self.ranked[bisect_right(self.ranked, self.recent.popleft()) - 1]
        self.recent.append(seconds)
        insort(self.ranked, seconds)
        self.news += 1

    def next_question(self, age: float) -> float | None:
        """The age at which to ask next; None beyond all that was seen, or before enough was."""
        if len(self.ranked) < ENOUGH:
            return None
        if self.news > len(self.ranked) // 8:
            self._lay_out()
        passed = bisect_left(self.times, age)
        return self.times[self.following[passed] - 1] if passed < len(self.times) else None

    def _lay_out(self) -> None:
        self.news = 0
        count = len(self.ranked)
        bounds = sorted({round(count * group / GROUPS) for group in range(GROUPS + 1)})
        parts = [self.ranked[low:high] for low, high in pairwise(bounds)]
        groups = [(part[-1], sum(part) / len(part), len(part) / count) for part in parts]
        self.times = [time for time, _, _ in groups]
        self.following = best_questions(groups, PRICE * sqrt(sum(self.ranked) / count))


class Durations:
    """How long requests of each kind take, learnt as the run goes. A kind is any hashable: model and size."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, _Kind] = {}

    def learn(self, kind: Hashable, seconds: float) -> None:
        """Count a request that took ``seconds`` from acceptance to its end."""
        self._kinds.setdefault(kind, _Kind()).learn(seconds)

    def gap(self, kind: Hashable, age: float) -> float:
        """Seconds to wait before asking after a request that was accepted ``age`` seconds ago."""
        known = self._kinds.get(kind)
        at = known.next_question(age) if known is not None else None
        if at is None:
            return _between(max(FIRST, GROWTH * age))
        return _between(at - age)


def _between(seconds: float) -> float:
    return min(LONGEST, max(SHORTEST, seconds))
