"""Concurrency: estimate of how many requests the API works on at once, and the number to keep in flight. No I/O.

Requests beyond the API's workers wait in its queue and take proportionally longer. With ``S``, the seconds that one
request takes, and ``W``, the number of workers, the ``n``-th request in flight takes about ::

    S · max(1, n / W)

Pairs (n, seconds) give W and S by least squares: W is at the bend of that line. Each kind of request has its own S. W
is common to all kinds. As long as no bend is found, W is at least the largest n tried. For every n the last few pairs
are kept, however old they are: a run with a constant number in flight would otherwise lose the bend.

A few requests are polled early, and the API tells for each whether it waits. These states show a queue long before a
bend is significant, but do not tell whose requests fill the queue. With a fixed concurrency, requests of others may be
in front, and an end that is noticed late costs a place in that queue. So the states and the bend must agree there.
``AdaptiveConcurrency`` makes up for such places: requests that wait are a queue, and a bend while none waits is an
error of the estimate.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Hashable
from itertools import accumulate
from math import log, sqrt
from operator import mul

from runner.core.models import MAX_AUTO_CONCURRENCY
from runner.engine.pacing.refusals import RefusalEstimate, RefusalKind

KEPT = 16
"""Pairs kept for each number in flight."""
MOST_KEPT = 128
"""Numbers in flight that are kept, all kinds together; beyond that the oldest are dropped."""
STEP = 1.1
"""Ratio below which two numbers in flight are counted as one."""
ENOUGH = 8
"""Number of pairs needed for an estimate."""
CANDIDATES = 40
SIGNIFICANT = 6.0
"""Least variation that a bend has to explain to be significant, in multiples of one request's share of the scatter."""
GAIN = 2.0
"""Factor from surplus to queue level: the queue counts as full when half as many requests wait as are worked on."""
LIKELY = 0.6
"""Level of the queue when all requests polled early wait and the concurrency is adaptive."""
EARLY_ANSWERS = 4
"""Number of latest early polls that count; a single one is not used."""
MARGIN = 4.0
"""Standard deviations of the number of requests that ended unnoticed."""
CORRECTION = 0.25
"""Step by which the limit grows, whatever the estimate, while half of the requests polled early are worked on."""
DECREASE, MUCH = 0.1, 1.5
"""Step by which the limit falls towards the estimate, and the ratio above which it falls by 1. A few requests too many
in the API's queue cost nothing, and a few too few leave workers idle, so the limit falls more slowly than it grows."""
START = 8
LEAST = 2
GROWTH = 1.5
"""Limit during the search, as a multiple of a number in flight at which a request is at work. With 2 a slow model gets
a longer queue, whose requests are polled for nothing."""
QUEUE = 1.25
"""Limit after the search, as a multiple of the first number in flight at which a request waits."""
SHRINK = 0.7
"""Factor for the limit after a refusal."""


class CapacityEstimate:
    """Estimate of the number of the API's workers."""

    def __init__(self) -> None:
        self.workers: int | None = None
        """Estimated workers, or a lower bound if ``bend`` is False; None: too little is known."""
        self.service_seconds = 0.0
        self.bend = False
        self.sure = False
        """True if the bend is significant."""
        self._seen: dict[tuple[Hashable, int], deque[tuple[int, float]]] = {}
        self._news = 0
        self._count = 0
        self._early: deque[bool] = deque(maxlen=EARLY_ANSWERS)

    @property
    def waiting(self) -> float:
        """Return the share of the last early polls that found the request waiting."""
        return sum(self._early) / len(self._early) if len(self._early) > 1 else 0.0

    @property
    def has_room(self) -> bool:
        """Tell whether at least half of the last early polls found the request at work."""
        return len(self._early) > 1 and self.waiting <= 0.5

    def asked_early(self, *, waits: bool) -> None:
        """Count the state that an early poll returned."""
        self._early.append(waits)

    def learn(self, kind: Hashable, in_flight: int, seconds: float) -> None:
        """Count a request that took ``seconds``; ``in_flight`` is the number at its submission, itself included."""
        place = kind, int(log(in_flight, STEP))
        if place not in self._seen:
            self._seen[place] = deque(maxlen=KEPT)
            if len(self._seen) > MOST_KEPT:
                del self._seen[next(iter(self._seen))]
        self._seen[place].append((in_flight, seconds))
        self._news += 1
        self._count += 1
        if self._count >= ENOUGH and self._news > min(self._count // 16, 8 * KEPT):
            self._news = 0
            self._estimate()

    def queued(self, in_flight: int) -> float:
        """Return the level of the API's queue with ``in_flight`` requests, from 0 (none is known to wait) to 1."""
        if self.workers is None or not self.sure:
            return 0.0
        return self.waiting * min(1.0, max(0.0, GAIN * (in_flight / self.workers - 1.0)))

    def _estimate(self) -> None:
        pairs: dict[Hashable, list[tuple[int, float]]] = {}
        for (kind, _), kept in self._seen.items():
            pairs.setdefault(kind, []).extend(kept)
        kinds = [_KindEstimate(sorted(of_kind)) for of_kind in pairs.values()]
        tried = sorted({in_flight for kind in kinds for in_flight in kind.in_flight})
        candidates = [*tried[:: -(-len(tried) // CANDIDATES)], tried[-1]]
        scores = {workers: sum(kind.explained(workers) for kind in kinds) for workers in candidates}
        self.workers = max(scores, key=lambda workers: (scores[workers], workers))
        count = sum(kind.count for kind in kinds)
        self.service_seconds = sum(kind.weight(self.workers) for kind in kinds) / count
        self.bend = self.workers < 0.95 * tried[-1]
        gain, rest = scores[self.workers] - scores[tried[-1]], count - scores[self.workers]
        self.sure = gain * count > SIGNIFICANT * rest


class _KindEstimate:
    """Pairs of one model and size, in order, with their own S; W is shared by all kinds."""

    def __init__(self, pairs: list[tuple[int, float]]) -> None:
        self.in_flight: tuple[int, ...]
        seconds: tuple[float, ...]
        self.in_flight, seconds = zip(*pairs, strict=True)
        self.count = len(pairs)
        self._squares: float = 1e-12 + sum(map(mul, seconds, seconds))
        # Sums over the first 0, 1, 2, … pairs of seconds, n · seconds and n²: each W then costs one lookup.
        self._seconds = [0.0, *accumulate(seconds)]
        self._products: list[float] = [0.0, *accumulate(map(mul, self.in_flight, seconds))]
        self._loads: list[int] = [0, *accumulate(map(mul, self.in_flight, self.in_flight))]

    def _fit(self, workers: int) -> tuple[float, float]:
        """Return the sums of seconds times load and of squared loads, where the load is max(1, n / W)."""
        free = bisect_right(self.in_flight, workers)
        product = self._seconds[free] + (self._products[-1] - self._products[free]) / workers
        return product, free + (self._loads[-1] - self._loads[free]) / workers**2

    def explained(self, workers: int) -> float:
        """Return the variation that ``workers`` explain, in requests."""
        product, square = self._fit(workers)
        return self.count * product * product / (square * self._squares)

    def weight(self, workers: int) -> float:
        """Return S times the number of requests of this kind."""
        product, square = self._fit(workers)
        return self.count * product / square


class AdaptiveConcurrency:
    """Number of requests to keep in flight with ``concurrency: auto``.

    The limit starts small. If the ``n``-th request in flight is found at work, not waiting, there are at least ``n``
    workers, and the limit becomes ``GROWTH * n``, so it grows by half with every generation of first polls. The first
    request that waits ends this search; the limit then allows a short queue.

    After that the limit follows the estimated workers, plus a margin, so that no worker is idle while the end of a
    request is unnoticed. Requests end at a rate of W / S a second and stay unnoticed for the ``lag``, so W·lag / S of
    them are unnoticed on average. The margin is ``MARGIN`` times the root of that number, for its fluctuation. The
    average itself is already in the estimate of the workers, because unnoticed requests count as in flight.

    An estimate that is too low would confirm itself, because nothing beyond it is tried. Therefore the limit also grows
    while all slots are full and at least half of the requests polled early are at work.

    A refusal lowers the limit once until a submission is accepted again. The limit then approaches the refused number
    in small steps: one for each generation, and close to that number one for ten generations.
    """

    def __init__(
        self, capacity: CapacityEstimate, limit: float = START, refusals: RefusalEstimate | None = None
    ) -> None:
        self.capacity = capacity
        self.refusals = refusals or RefusalEstimate()
        self.limit = limit
        self.lag = 0.0
        """Mean seconds from the end of a request to noticing it."""
        self._seen = 0
        self._searching = True
        self._refused_at: float | None = None
        self._tell: Callable[[], None] = lambda: None

    @property
    def reason(self) -> str:
        """Return the reason for the current limit, in words for the log."""
        allowed = self.refusals.limit
        if allowed is not None and int(self.limit) >= allowed:
            return "more are refused"
        if self._refused_at is not None and self.limit < self._refused_at:
            return f"the API was busy with {int(self._refused_at)}"
        if self.capacity.bend and self.capacity.workers is not None:
            return f"the API works on about {self.capacity.workers} at once"
        if not self._searching and self.capacity.waiting > 0.5:
            return "requests wait in the API's queue"
        return "the API has room for more"

    def on_change(self, tell: Callable[[], None]) -> None:
        """Set ``tell`` to be called whenever the whole number of allowed requests changes."""
        self._tell = tell

    def queued(self, in_flight: int) -> float:
        """Return the level of the API's queue with ``in_flight`` requests, from 0 to 1.

        Where the limit cannot grow any more, the times must show the queue, too. An API that lets each request wait a
        moment before the work begins has no queue, and each end that is noticed late would leave a worker idle.
        """
        known = self.capacity.queued(in_flight)
        bounded = self._refused_at is not None or self.limit >= self._most
        return known if bounded else max(known, LIKELY * self.capacity.waiting)

    def at_work(self, in_flight: int) -> None:
        """Count a first poll that found a request at work; it was the ``in_flight``-th in flight when submitted."""
        if self._searching:
            self._grow(max(0.0, GROWTH * in_flight - self.limit))

    def waits(self, in_flight: int) -> None:
        """Count a first poll that found a request waiting in the API's queue; it was the ``in_flight``-th in flight.

        So there are fewer workers than that. The first such request ends the search.
        """
        if self._searching:
            self._searching = False
            self._set(min(self.limit, max(START, QUEUE * in_flight)))

    def finished(self, lag: float, in_flight: int, *, first_answer: bool) -> None:
        """Count a request whose end was noticed ``lag`` seconds later, with ``in_flight`` requests remaining."""
        self._seen = min(50, self._seen + 1)
        self.lag += (max(0.0, lag) - self.lag) / self._seen
        capacity = self.capacity
        if capacity.workers is None:
            if self._searching and first_answer:
                self._grow(1.0)
            return
        self._searching = False
        full = in_flight >= int(self.limit) - 1
        if capacity.bend and not (full and capacity.has_room):
            wanted = self._wanted(capacity.workers)
            least = -1.0 if self.limit > MUCH * wanted else -DECREASE
            self._grow(max(least, min(1.0, wanted - self.limit)))
        elif full:
            self._grow(CORRECTION if capacity.bend else 1.0)

    def _wanted(self, workers: int) -> float:
        unnoticed = workers * self.lag / max(1e-3, self.capacity.service_seconds)
        return workers + MARGIN * sqrt(unnoticed) + 1

    def refused(self, kind: RefusalKind) -> None:
        """Lower the limit: to what the API allows, or by the factor ``SHRINK`` if the API is only busy now."""
        self._searching = False
        if kind is RefusalKind.LIMIT:
            self._set(self.limit)
        else:
            self._refused_at = self.limit
            self._set(SHRINK * self.limit)

    @property
    def _most(self) -> int:
        """Return the largest limit: one more than the API allows, which the throttle tries now and then."""
        return min(MAX_AUTO_CONCURRENCY, (self.refusals.limit or MAX_AUTO_CONCURRENCY) + 1)

    def _grow(self, step: float) -> None:
        if step > 0 and self._refused_at is not None:
            step /= self.limit * (10 if self.limit > 0.9 * self._refused_at else 1)
        self._set(self.limit + step)

    def _set(self, limit: float) -> None:
        before, self.limit = self.limit, min(self._most, max(LEAST, limit))
        if self._refused_at is not None and self.limit > 1.1 * self._refused_at + 1:
            self._refused_at = None  # the API accepts more than what it once was too busy for
        if int(before) != int(self.limit):
            self._tell()
