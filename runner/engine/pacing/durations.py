"""Durations of requests, estimated from those that ended and those that have not. No I/O.

The first requests of a kind to end are the quick ones, so their times alone would promise too much. Each request that
is still unfinished at some age says that such times happen, too. The product-limit estimate (Kaplan and Meier, 1958)
counts both: going up through the times, every end takes its share of the weight that is left, divided among all that
were still under way then. The weight left at the end belongs to times longer than any seen; it is spread along the
log-normal line that fits the observed quantiles best, pulled towards ``SPREAD`` while there are few. Each time seen
stands for times like it: it is widened by a kernel that narrows as more is known, but not where it stands alone.

Only the last times count (``DurationSample``), and they are judged anew only when they are not like those judged
before.
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
"""So many of the last times count."""
RENEWAL = 8
"""They are compared with those judged before when more than one in so many is new: later, and a change of pace is met
with old questions for too long; sooner, and it is met no better."""
SETTLED = 400
"""After so many new ones they are judged anew even if alike: a few that are very slow hardly move the others' ranks."""
SPREAD = 0.7
"""Standard deviation of the logarithm, before anything is known of it."""
BELIEF = 4.0
"""How much evidence that counts for."""
GROUPS = 50
TAIL = 24
"""Into so many parts goes the weight of times longer than any seen."""
TAIL_SHARE = 0.1
"""No group is heavier than this share of all that may still come: late questions need fine steps, too."""
POINTS = 400
"""About so many after widening."""
SURE = 1 - 1e-9
LEAST = 1e-3
"""Seconds; shorter times are all alike."""

_LOG_LEAST = log(LEAST)
_NORMAL = NormalDist()
_SCORES = {parts: [_NORMAL.inv_cdf((part + 0.5) / parts) for part in range(parts)] for parts in range(1, 9)}


class DurationGroup(NamedTuple):
    """Times that are taken together."""

    last: float
    mean: float
    weight: float


class _Line(NamedTuple):
    """The log-normal distribution through the observed quantiles."""

    middle: float
    spread: float

    def beyond(self, seconds: float, share: float) -> float:
        """The time within which ``share`` of those end that take longer than ``seconds``."""
        passed = _NORMAL.cdf((log(max(LEAST, seconds)) - self.middle) / self.spread)
        return max(seconds, exp(self.middle + self.spread * _NORMAL.inv_cdf(min(SURE, passed + (1 - passed) * share))))


def groups_of(finished: Sequence[float], unfinished: Iterable[float]) -> list[DurationGroup]:
    """The distribution in order of time, weights adding up to 1.

    ``finished`` are the seconds that requests took, at least one, in order; ``unfinished`` the ages at which others
    were seen not to have ended.
    """
    weights = product_limit(finished, sorted(unfinished))
    logs = [log(seconds) if seconds > LEAST else _LOG_LEAST for seconds in finished]
    line = _fit(logs, weights)
    points = _widened(finished, weights, logs, line.spread)
    points += _tail(finished[-1], line, max(0.0, 1.0 - sum(weights)))
    points.sort()
    return _grouped(points)


class DurationSample:
    """The last times of one kind."""

    def __init__(self) -> None:
        self.ranked: list[float] = []
        """In order."""
        self._recent: deque[float] = deque()
        self._judged: list[float] = []
        """Those judged last, in order."""
        self._news = 0
        """Times learnt since."""
        self._compared = 0
        """How many of them were found to change nothing."""

    def learn(self, seconds: float) -> None:
        if len(self._recent) == WINDOW:
            del self.ranked[bisect_right(self.ranked, self._recent.popleft()) - 1]
        self._recent.append(seconds)
        insort(self.ranked, seconds)
        self._news += 1

    def mean(self) -> float:
        """Seconds that one takes, where at least one is known."""
        return sum(self.ranked) / len(self.ranked)

    def has_changed(self, *, few: bool = False) -> bool:
        """Tell whether they are to be judged anew; ``few``: even a few new ones are compared."""
        enough = 0 if few else max(1, len(self.ranked) // RENEWAL)
        if self._judged and self._news - self._compared <= enough:
            return False
        self._compared = self._news
        return self._news > SETTLED or not are_alike(self.ranked, self._judged)

    def judged(self, unfinished: Iterable[float]) -> list[DurationGroup]:
        """Their groups, as of now."""
        self._judged, self._news, self._compared = self.ranked[:], 0, 0
        return groups_of(self.ranked, unfinished)


def are_alike(now: Sequence[float], before: Sequence[float]) -> bool:
    """Tell whether two samples, both in order, may come from one distribution.

    No time is a tenth of the ranks away from where it was (as Kolmogorov and Smirnov test it, but for either end), and
    no more than a few are longer than any before.
    """
    far, few = len(now) // 10, len(now) // 40
    if len(now) != len(before) or now[-1 - few] > before[-1]:
        return False
    within = zip(before, now[far:], before[2 * far :], strict=False)
    return all(low <= seconds <= high for low, seconds, high in within)


def product_limit(finished: Sequence[float], unfinished: Sequence[float]) -> list[float]:
    """The weight of each time in ``finished``; both in order. Older unfinished ones keep the rest."""
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
    """Least squares of the logarithm of each time against the normal score of its quantile."""
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
    """The normal score of a quantile."""
    return _NORMAL.inv_cdf(min(999, max(1, thousandth)) / 1000)


def _widened(
    finished: Sequence[float], weights: Sequence[float], logs: Sequence[float], spread: float
) -> list[tuple[float, float]]:
    count = len(finished)
    usual = spread * count**-0.5  # narrower than the usual fifth root: two speeds of a model shall stay two
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
    """By which a time is stretched to stand for ``parts`` times like it."""
    return [exp(spread * score) for score in _SCORES[parts]]


def _distances(logs: Sequence[float]) -> Iterator[float]:
    """How far each time is from the nearest other, in logarithms: one that stands alone stands for a wider range."""
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
