"""Best poll times of requests of one kind, from the distribution of their durations. No I/O.

Every poll has a price (``PRICE``), and every second for which a finished request goes unnoticed costs a second. Let the
requests of one model and size take times in groups with weights p₁ … pₘ that end at t₁ < … < tₘ (``durations``). For a
request that was not ready at tᵢ, the best next poll is at the tⱼ that minimises ::

    C(i) = min over j > i of  price·S(i) + Σ p_k (t_j - t̄_k) for i < k ≤ j + C(j),     S(i) = Σ p_k for k > i

which is solved once for every i, from the last to the first. So the first poll comes when the request should just be
ready, and the gaps follow the remaining distribution. A model with two speeds is polled around both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from math import inf

from runner.engine.pacing.durations import LEAST, DurationGroup, DurationSample

PRICE = 0.035
"""Price of one poll in seconds, for a request of one second: about five calls a job at a lag of a tenth of the time."""
SCALE = 0.58
"""Exponent of the mean time in the price."""
SAME = 1.02
"""Least growth of the age between two polls, as a factor."""
SCOUTS = 8
"""Beyond ``SOON``, one in so many requests alike is polled in each round, as long as nothing is known."""
GROWTH = 0.3
"""Gap as a share of the age, as long as nothing is known."""
SOON = 0.25
"""Age in seconds up to which each gap doubles the age, and one request is polled for all."""


class OpenRequest:
    """A request that has not ended, as far as is known. Times are seconds on a monotonic clock."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.unfinished_at = 0.0
        """Age at which the request was last seen unfinished."""


def best_poll_times(groups: Sequence[DurationGroup], price: float) -> list[int]:
    """Return for each group the group at whose end to poll next; entry 0 is for a request just submitted.

    ``groups`` are in order of time; ``price`` is in seconds a poll.
    """
    weight = [0.0, *accumulate(group.weight for group in groups)]
    moment = [0.0, *accumulate(group.weight * group.mean for group in groups)]
    ends = [group.last for group in groups]
    last = furthest = len(groups)
    # Cost of the next poll at the end of each group, without the part that depends on the poll before.
    costs = [end * ended - missed for end, ended, missed in zip(ends, weight[1:], moment[1:], strict=True)]
    following = [last] * last
    for i in range(last - 1, -1, -1):
        best = inf
        for j in range(furthest, i, -1):  # a request polled earlier is not polled again later
            cost = costs[j - 1] - ends[j - 1] * weight[i]
            if cost <= best:
                best, furthest = cost, j
        following[i] = furthest
        if i:
            costs[i - 1] += best + moment[i] + price * (weight[last] - weight[i])
    return following


class RequestKind:
    """Durations and open requests of one model and size."""

    def __init__(self) -> None:
        self.sample = DurationSample()
        self.open: set[OpenRequest] = set()
        self.ended = False
        """True if a request of this kind was polled to its end, whatever the result: no more scouts are needed then."""
        self._pressure = 0.0
        """Pressure for which the poll times are laid out."""
        self._groups: list[DurationGroup] = []
        self._times: list[float] = []
        """End of each group in seconds."""
        self._following: list[int] = []
        self._left = [1.0]
        """Weight of all groups, of all but the first, and so on; 0 at the end."""
        self._rounds: deque[float] = deque()
        """Times at which scouts were polled."""

    def next_question(self, age: float, pressure: float) -> float | None:
        """Return the age of the next poll; None: beyond all likely times."""
        fits = 0.8 * self._pressure <= pressure <= 1.25 * self._pressure
        changed = self.sample.has_changed(few=not fits)
        if changed:
            self._judge()
        if changed or not fits:
            self._lay_out(pressure)
        passed = bisect_right(self._times, SAME * age)
        return self._times[self._following[passed] - 1] if passed < len(self._times) else None

    def answers_at_once(self) -> bool:
        """Tell whether a request is best polled as soon as it is accepted."""
        return bool(self._times) and self._times[self._following[0] - 1] <= LEAST

    def _judge(self) -> None:
        self._groups = self.sample.judged(watch.unfinished_at for watch in self.open)
        self._times = [group.last for group in self._groups]
        self._left = [1.0, *(max(0.0, 1.0 - ended) for ended in accumulate(group.weight for group in self._groups))]

    def _lay_out(self, pressure: float) -> None:
        self._pressure = pressure
        mean = sum(group.weight * group.mean for group in self._groups)
        self._following = best_poll_times(self._groups, PRICE * mean**SCALE * pressure)

    def beyond(self, age: float) -> float:
        """Return the share of requests that take longer than ``age``; the ends within a group are spread evenly."""
        at = bisect_right(self._times, age)
        if at == len(self._times):
            return 0.0
        before = self._times[at - 1] if at else 0.0
        return self._left[at] + (self._left[at + 1] - self._left[at]) * (age - before) / (self._times[at] - before)

    def has_ended(self, watch: OpenRequest, at: float) -> float:
        """Return the probability that a request has ended at ``at``; 1 if nothing is known of its kind."""
        before = self.beyond(watch.unfinished_at) if self._times else 0.0
        return 1.0 - self.beyond(at - watch.started) / before if before else 1.0

    def scout(self, now: float, age: float) -> bool:
        """Tell whether one more request is polled in this round, before anything is known."""
        while self._rounds and self._rounds[0] <= now - GROWTH * age / 2:
            self._rounds.popleft()
        if len(self._rounds) > (len(self.open) // SCOUTS if age >= SOON else 0):
            return False
        self._rounds.append(now)
        return True
