"""Concurrency: how many requests the API works on at once, and how many to keep there. No I/O.

Requests beyond what the API works on wait in its queue, and take longer by as much. So if ``S`` is what one takes and
``W`` are the workers, one that was submitted as the ``n``-th in flight takes about ::

    S · max(1, n / W)

and pairs (n, seconds) tell W and S by least squares: the bend in that line. Each kind of request has an S of its own;
W is common to all. As long as no bend is in sight, W is at least the largest n tried. For every n the last few pairs
are kept, however long ago: a run that always has the same number in flight would otherwise forget where the bend is.

A few requests are asked after early, and the API says of each whether it waits. That comes long before a bend can be
told from chance, but does not say whose requests they wait for. With a fixed number in flight others may be in front,
and an end that goes unnoticed costs a place in that queue: so both must agree there. Where the number follows
(``AdaptiveConcurrency``), it makes up for such places: those that wait are a queue, and a bend while none waits is a
mistake.
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
"""Pairs for each number in flight."""
MOST_KEPT = 128
"""Numbers in flight of all kinds together; of more the oldest are forgotten."""
STEP = 1.1
"""Numbers in flight that differ by less are taken together."""
ENOUGH = 8
"""So many pairs make an estimate."""
CANDIDATES = 40
SIGNIFICANT = 6.0
"""A bend that explains so many times more than one request's share of the scatter is no chance."""
GAIN = 2.0
"""The API counts as well filled when half as many requests wait as are worked on."""
LIKELY = 0.6
"""So well filled it is taken to be when all that are asked after early wait, where the number in flight follows."""
EARLY_ANSWERS = 4
"""So many of the last count; one alone says nothing."""
MARGIN = 4.0
"""Standard deviations of the number of requests that have ended unnoticed."""
CORRECTION = 0.25
"""The step by which the limit grows, whatever the estimate, while half of those asked after early are worked on."""
START = 8
LEAST = 2
SHRINK = 0.7
"""After a refusal the limit is this share of itself."""


class CapacityEstimate:
    """What is known of the API's workers."""

    def __init__(self) -> None:
        self.workers: int | None = None
        """None: too little is known. Where ``bend`` is False, there are at least so many."""
        self.service_seconds = 0.0
        self.bend = False
        self.sure = False
        """Whether the bend is more than chance."""
        self._seen: dict[tuple[Hashable, int], deque[tuple[int, float]]] = {}
        self._news = 0
        self._count = 0
        self._early: deque[bool] = deque(maxlen=EARLY_ANSWERS)

    @property
    def waiting(self) -> float:
        """Of the last requests that were asked after early, the share that waited."""
        return sum(self._early) / len(self._early) if len(self._early) > 1 else 0.0

    @property
    def has_room(self) -> bool:
        """Tell whether at least half of the last requests that were asked after early were worked on at once."""
        return len(self._early) > 1 and self.waiting <= 0.5

    def asked_early(self, *, waits: bool) -> None:
        """Count what the API said of a request soon after it was accepted."""
        self._early.append(waits)

    def learn(self, kind: Hashable, in_flight: int, seconds: float) -> None:
        """Count a request that took ``seconds``; ``in_flight`` were there when it was submitted, itself included."""
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
        """How well filled the API's queue is with ``in_flight``, from 0, where none is known to wait, to 1."""
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
    """The pairs of one model and size, in order: it has its own S, and shares the W."""

    def __init__(self, pairs: list[tuple[int, float]]) -> None:
        self.in_flight: tuple[int, ...]
        seconds: tuple[float, ...]
        self.in_flight, seconds = zip(*pairs, strict=True)
        self.count = len(pairs)
        self._squares: float = 1e-12 + sum(map(mul, seconds, seconds))
        # sums over the first 0, 1, 2, … pairs, so that each W costs one look: of seconds, n · seconds and n²
        self._seconds = [0.0, *accumulate(seconds)]
        self._products: list[float] = [0.0, *accumulate(map(mul, self.in_flight, seconds))]
        self._loads: list[int] = [0, *accumulate(map(mul, self.in_flight, self.in_flight))]

    def _fit(self, workers: int) -> tuple[float, float]:
        """The sums of seconds times load and of squared loads, where the load is max(1, n / W)."""
        free = bisect_right(self.in_flight, workers)
        product = self._seconds[free] + (self._products[-1] - self._products[free]) / workers
        return product, free + (self._loads[-1] - self._loads[free]) / workers**2

    def explained(self, workers: int) -> float:
        """How much of its variation ``workers`` explain, in requests."""
        product, square = self._fit(workers)
        return self.count * product * product / (square * self._squares)

    def weight(self, workers: int) -> float:
        """S times the number of its requests."""
        product, square = self._fit(workers)
        return self.count * product / square


class AdaptiveConcurrency:
    """``concurrency: auto``: how many requests to keep in flight.

    It starts small. Each request that is found at work, not waiting, makes room for one more, so the limit doubles
    with every generation until requests wait. From then on it follows the workers, with just enough more that none is
    idle while an ended request goes unnoticed: ended ones come at W / S a second and stay unnoticed for the ``lag``,
    so W·lag / S of them are there on average, and ``MARGIN`` times the root of that covers the fluctuation. (What is
    unnoticed counts as in flight when the workers are estimated, so the average is in that estimate already.) Too low
    an estimate would confirm itself, since nothing beyond it is tried: while at least half of those asked after early
    are worked on and all slots are full, the limit grows all the same. A refusal shrinks it, once until something is
    accepted again, and what was refused is then approached in small steps: one for each generation, and at last one
    for ten.
    """

    def __init__(
        self, capacity: CapacityEstimate, limit: float = START, refusals: RefusalEstimate | None = None
    ) -> None:
        self.capacity = capacity
        self.refusals = refusals or RefusalEstimate()
        self.limit = limit
        self.lag = 0.0
        """Mean seconds from a request's end to noticing it."""
        self._seen = 0
        self._searching = True
        self._refused_at: float | None = None
        self._tell: Callable[[], None] = lambda: None

    @property
    def reason(self) -> str:
        """Why the limit is what it is, in words for the log."""
        allowed = self.refusals.limit
        if allowed is not None and int(self.limit) >= allowed:
            return "more are refused"
        if self._refused_at is not None and self.limit < self._refused_at:
            return f"the API was busy with {int(self._refused_at)}"
        if self.capacity.bend and self.capacity.workers is not None:
            return f"the API works on about {self.capacity.workers} at once"
        return "the API has room for more"

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` whenever the limit allows another whole number of requests."""
        self._tell = tell

    def queued(self, in_flight: int) -> float:
        """How well filled the API's queue is with ``in_flight``, from 0 to 1.

        Where the limit cannot grow any more, times must say so, too: an API that lets each request wait a moment before
        it is taken up has no queue for that, and each end that goes unnoticed would leave a worker idle.
        """
        known = self.capacity.queued(in_flight)
        bounded = self._refused_at is not None or self.limit >= self._most
        return known if bounded else max(known, LIKELY * self.capacity.waiting)

    def at_work(self) -> None:
        """A request was asked after for the first time and is being worked on."""
        if self._searching:
            self._grow(1.0)

    def waits(self) -> None:
        """A request was asked after for the first time and waits in the API's queue."""
        self._searching = False

    def finished(self, lag: float, in_flight: int, *, first_answer: bool) -> None:
        """A request ended and was noticed ``lag`` seconds later, with ``in_flight`` still there."""
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
            self._grow(max(-1.0, min(1.0, self._wanted(capacity.workers) - self.limit)))
        elif full:
            self._grow(CORRECTION if capacity.bend else 1.0)

    def _wanted(self, workers: int) -> float:
        unnoticed = workers * self.lag / max(1e-3, self.capacity.service_seconds)
        return workers + MARGIN * sqrt(unnoticed) + 1

    def refused(self, kind: RefusalKind) -> None:
        """Keep fewer in flight: as many as the API allows, or a share of them where it is only busy now."""
        self._searching = False
        if kind is RefusalKind.LIMIT:
            self._set(self.limit)
        else:
            self._refused_at = self.limit
            self._set(SHRINK * self.limit)

    @property
    def _most(self) -> int:
        """The most that may be in flight, by what the API allows."""
        return min(MAX_AUTO_CONCURRENCY, self.refusals.limit or MAX_AUTO_CONCURRENCY)

    def _grow(self, step: float) -> None:
        if step > 0 and self._refused_at is not None:
            step /= self.limit * (10 if self.limit > 0.9 * self._refused_at else 1)
        self._set(self.limit + step)

    def _set(self, limit: float) -> None:
        before, self.limit = self.limit, min(self._most, max(LEAST, limit))
        if int(before) != int(self.limit):
            self._tell()
