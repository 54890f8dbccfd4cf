"""How long requests take, judged from those that ended and from those that have not yet: pure arithmetic.

The first requests of a kind to end are the quick ones, so their times alone would promise too much. Each request that
is still unfinished at some age says that such times happen, too. The product-limit estimate (Kaplan and Meier, 1958)
counts both: going up through the times, every end takes its share of the weight that is left, divided among all that
were still under way then. The weight left at the end belongs to times longer than any seen; it is spread along the
log-normal line that fits the observed quantiles best, pulled towards ``SPREAD`` while there are few. Each time seen
stands for times like it: it is widened by a kernel that narrows as more is known, but not where it stands alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import exp, inf, log
from statistics import NormalDist
from typing import NamedTuple

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

_NORMAL = NormalDist()
_SCORES = {parts: [_NORMAL.inv_cdf((part + 0.5) / parts) for part in range(parts)] for parts in range(1, 9)}


class Group(NamedTuple):
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


def groups_of(finished: Sequence[float], unfinished: Iterable[float]) -> list[Group]:
    """The distribution in order of time, weights adding up to 1.

    ``finished`` are the seconds that requests took, at least one, in order; ``unfinished`` the ages at which others
    were seen not to have ended.
    """
    weights = product_limit(finished, sorted(unfinished))
    logs = [log(max(LEAST, seconds)) for seconds in finished]
    line = _fit(logs, weights)
    rest = max(0.0, 1.0 - sum(weights))
    points = sorted([*_widened(finished, weights, logs, line.spread), *_tail(finished[-1], line, rest)])
    return list(_grouped(points))


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
    scores, done = [], 0.0
    for weight in weights:
        scores.append(_NORMAL.inv_cdf(min(0.999, max(0.001, done + weight / 2))))
        done += weight
    score, middle = sum(scores) / len(scores), sum(logs) / len(logs)
    square = sum((z - score) ** 2 for z in scores)
    product = sum((z - score) * (y - middle) for z, y in zip(scores, logs, strict=True))
    spread = max(0.02, (product + BELIEF * SPREAD) / (square + BELIEF))
    return _Line(middle - spread * score, spread)


def _widened(
    finished: Sequence[float], weights: Sequence[float], logs: Sequence[float], spread: float
) -> Iterator[tuple[float, float]]:
    count = len(finished)
    usual = spread * count**-0.5  # narrower than the usual fifth root: two speeds of a model shall stay two
    parts = min(8, max(1, POINTS // count))
    factors = [exp(usual * score) for score in _SCORES[parts]]
    for seconds, weight, lonely in zip(finished, weights, _distances(logs), strict=True):
        wide = factors
        if lonely > usual:
            wide = [exp(lonely * score) for score in _SCORES[8 if lonely > 2 * usual else parts]]
        for factor in wide:
            yield seconds * factor, weight / len(wide)


def _distances(logs: Sequence[float]) -> Iterator[float]:
    """How far each time is from the nearest other, in logarithms: one that stands alone stands for a wider range."""
    gaps = [inf, *(after - before for before, after in pairwise(logs)), inf]
    for gap in map(min, pairwise(gaps)):
        yield min(SPREAD, gap)


def _tail(longest: float, line: _Line, rest: float) -> Iterator[tuple[float, float]]:
    if rest > 1e-9:
        for part in range(TAIL):
            yield line.beyond(longest, (part + 0.5) / TAIL), rest / TAIL


def _grouped(points: Sequence[tuple[float, float]]) -> Iterator[Group]:
    left, weight, moment = 1.0, 0.0, 0.0
    for number, (seconds, share) in enumerate(points, 1):
        weight += share
        moment += share * seconds
        if weight >= min(1 / GROUPS, TAIL_SHARE * left) or number == len(points):
            yield Group(seconds, moment / weight, weight)
            left -= weight
            weight = moment = 0.0
