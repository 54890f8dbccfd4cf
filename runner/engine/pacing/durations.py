"""Durations of requests, estimated from finished and unfinished requests. No I/O.

The first requests of a kind to end are the quick ones, so their times alone give too low an estimate. Each request that
is unfinished at some age shows that longer times occur. The product-limit estimate (Kaplan and Meier, 1958) counts
both. In order of time, every end takes its share of the remaining weight, divided among all requests under way at that
time. The weight that remains at the end belongs to times longer than any observed. That weight is spread along the
log-normal line that fits the observed quantiles best, pulled towards ``SPREAD`` while there are few. Each observed time
represents similar times: it is widened by a kernel. The kernel narrows with the number of times, except for a time that
stands alone.

Only the latest times count (``DurationSample``). They are estimated anew only when they differ from the times of the
last estimate.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, repeat
from math import exp, log
from operator import mul, sub
from statistics import NormalDist
from typing import NamedTuple

WINDOW = 200
"""Number of latest times that count."""
RENEWAL = 8
"""The sample is compared with the last estimate's when more than one time in so many is new. A later comparison keeps
outdated poll times for too long after a change of speed; an earlier one brings no gain."""
SETTLED = 400
"""Number of new times after which the estimate is renewed even if the samples are alike: a few very slow requests
hardly move the ranks of the others."""
SPREAD = 0.7
"""Standard deviation of the logarithm, before anything is known of it."""
BELIEF = 4.0
"""Amount of evidence that ``SPREAD`` counts for."""
GROUPS = 50
TAIL = 24
"""Number of parts into which the weight of times longer than any observed is divided."""
TAIL_SHARE = 0.1
"""Largest share of the remaining weight that one group has: late polls need fine steps, too."""
POINTS = 400
"""Approximate number of points after widening."""
SURE = 1 - 1e-9
LEAST = 1e-3
"""Shortest time in seconds that is distinguished."""

_LOG_LEAST = log(LEAST)
_NORMAL = NormalDist()
_SCORES = {parts: [_NORMAL.inv_cdf((part + 0.5) / parts) for part in range(parts)] for parts in range(1, 9)}


class DurationGroup(NamedTuple):
    """Times that are taken together."""

    last: float
    mean: float
    weight: float


class _Line(NamedTuple):
    """Log-normal distribution through the observed quantiles."""

    middle: float
    spread: float

    def beyond(self, seconds: float, share: float) -> float:
        """Return the time within which ``share`` of the requests end that take longer than ``seconds``."""
        passed = _NORMAL.cdf((log(max(LEAST, seconds)) - self.middle) / self.spread)
        return max(seconds, exp(self.middle + self.spread * _NORMAL.inv_cdf(min(SURE, passed + (1 - passed) * share))))


def groups_of(finished: Sequence[float], unfinished: Iterable[float]) -> list[DurationGroup]:
    """Return the distribution in order of time, with weights that add up to 1.

    ``finished`` are the durations of requests in seconds, at least one, in order. ``unfinished`` are the ages at which
    other requests were last seen unfinished.
    """
    weights = product_limit(finished, sorted(unfinished))
    logs = [log(seconds) if seconds > LEAST else _LOG_LEAST for seconds in finished]
    line = _fit(logs, weights)
    points = _widened(finished, weights, logs, line.spread)
    points += _tail(finished[-1], line, max(0.0, 1.0 - sum(weights)))
    points.sort()
    return _grouped(points)


class DurationSample:
    """Latest times of one kind of request."""

    def __init__(self) -> None:
        self.ranked: list[float] = []
        """Times in ascending order."""
        self._recent: deque[float] = deque()
        self._judged: list[float] = []
        """Times of the last estimate, in ascending order."""
        self._news = 0
        """Number of times learnt since the last estimate."""
        self._compared = 0
        """Number of them that were compared and changed nothing."""

    def learn(self, seconds: float) -> None:
        if len(self._recent) == WINDOW:
            del self.ranked[bisect_right(self.ranked, self._recent.popleft()) - 1]
        self._recent.append(seconds)
        insort(self.ranked, seconds)
        self._news += 1

    def mean(self) -> float:
        """Return the mean seconds of a request; at least one must be known."""
        return sum(self.ranked) / len(self.ranked)

    def has_changed(self, *, few: bool = False) -> bool:
        """Tell whether the estimate is to be renewed; with ``few``, even a few new times are compared."""
        enough = 0 if few else max(1, len(self.ranked) // RENEWAL)
        if self._judged and self._news - self._compared <= enough:
            return False
        self._compared = self._news
        return self._news > SETTLED or not are_alike(self.ranked, self._judged)

    def judged(self, unfinished: Iterable[float]) -> list[DurationGroup]:
        """Renew the estimate and return its groups."""
        self._judged, self._news, self._compared = self.ranked[:], 0, 0
        return groups_of(self.ranked, unfinished)


def are_alike(now: Sequence[float], before: Sequence[float]) -> bool:
    """Tell whether two samples, both in order, may come from one distribution.

    They may if no time has moved by a tenth of the ranks (the test of Kolmogorov and Smirnov, but for either end), and
    no more than a few times are longer than any before.
    """
    far, few = len(now) // 10, len(now) // 40
    if len(now) != len(before) or now[-1 - few] > before[-1]:
        return False
    within = zip(before, now[far:], before[2 * far :], strict=False)
    return all(low <= seconds <= high for low, seconds, high in within)


def product_limit(finished: Sequence[float], unfinished: Sequence[float]) -> list[float]:
    """Return the weight of each time in ``finished``; both in order. Unfinished older requests keep the rest."""
    left, at_risk, passed = 1.0, len(finished) + len(unfinished), 0
    weights = []
    for seconds in finished:
        while passed < len(unfinished) and unfinished[passed] < seconds:
            passed += 1
            at_risk -= 1
        weights.append(left / at_risk)
        left -= weights[-1]
        at_risk -= 1
    return weights


def _fit(logs: Sequence[float], weights: Sequence[float]) -> _Line:
    """Fit the logarithm of each time to the normal score of its quantile by least squares."""
    count = len(logs)
    middles = (done - weight / 2 for done, weight in zip(accumulate(weights), weights, strict=True))
    scores = [_score(round(1000 * middle)) for middle in middles]
    score, middle = sum(scores) / count, sum(logs) / count
    square = sum(map(mul, scores, scores)) - count * score * score
    product = sum(map(mul, scores, logs)) - count * score * middle
    spread = max(0.02, (product + BELIEF * SPREAD) / (square + BELIEF))
    return _Line(middle - spread * score, spread)


@cache
def _score(thousandth: int) -> float:
    """Return the normal score of a quantile."""
    return _NORMAL.inv_cdf(min(999, max(1, thousandth)) / 1000)


def _widened(
    finished: Sequence[float], weights: Sequence[float], logs: Sequence[float], spread: float
) -> list[tuple[float, float]]:
    count = len(finished)
    usual = spread * count**-0.5  # narrower than the usual fifth root: two speeds of a model stay separate
    parts = min(8, max(1, POINTS // count))
    points, close = [], []
    for seconds, weight, lonely in zip(finished, weights, _distances(logs), strict=True):
        if lonely <= usual:
            close.append((seconds, weight / parts))
            continue
        wide = _factors(lonely, 8 if lonely > 2 * usual else parts)
        points += [(seconds * factor, weight / len(wide)) for factor in wide]
    for factor in _factors(usual, parts):
        points += [(seconds * factor, share) for seconds, share in close]
    return points


def _factors(spread: float, parts: int) -> list[float]:
    """Return the factors that spread one time over ``parts`` similar times."""
    return [exp(spread * score) for score in _SCORES[parts]]


def _distances(logs: Sequence[float]) -> Iterator[float]:
    """Yield the distance of each time to its nearest neighbour, in logarithms: a lone time covers a wider range."""
    gaps = list(map(sub, logs[1:], logs))
    return map(min, [SPREAD, *gaps], [*gaps, SPREAD], repeat(SPREAD))


def _tail(longest: float, line: _Line, rest: float) -> list[tuple[float, float]]:
    if rest <= 1e-9:
        return []
    return [(line.beyond(longest, (part + 0.5) / TAIL), rest / TAIL) for part in range(TAIL)]


def _grouped(points: Sequence[tuple[float, float]]) -> list[DurationGroup]:
    groups = []
    left, weight, moment, last = 1.0, 0.0, 0.0, 0.0
    enough = min(1 / GROUPS, TAIL_SHARE)
    for last, share in points:
        weight += share
        moment += share * last
        if weight >= enough:
            groups.append(DurationGroup(last, moment / weight, weight))
            left -= weight
            weight = moment = 0.0
            enough = min(1 / GROUPS, TAIL_SHARE * left)
    if weight:
        groups.append(DurationGroup(last, moment / weight, weight))
    return groups
