"""Poll times of requests, learnt from how long others took. No I/O.

Every question costs a little (``PRICE``), every second that a finished request goes unnoticed costs a second. Let the
requests of one model and size take times in groups with weights p₁ … pₘ that end at t₁ < … < tₘ (``durations``). A
request that was not ready at tᵢ is best asked after next at the tⱼ that minimises ::

    C(i) = min over j > i of  price·S(i) + Σ p_k (t_j - t̄_k) for i < k ≤ j + C(j),     S(i) = Σ p_k for k > i

which is solved once from the back for every i. So the first question comes when the request should just be ready, and
the gaps follow what is still likely; a model with two speeds gets questions around both.

The price grows with the mean time, but less than in proportion. It is higher while requests wait in the API's
queue, as their times (``concurrency``) and the states of a few that are asked early say: then a request that ended
unnoticed keeps no worker idle. When nothing is left to submit, only the last to end decides when the run does: the
others are not asked while it is most likely still under way (``drain``), and the fewer are left, the less a question
costs beside what the wait for one of them does.

Before anything is known of a kind, the gap grows with the age (``GROWTH``), and of many alike only some are asked: one
finished request tells about all of them. Requests of earlier runs are asked after without that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate
from math import inf, sqrt

from runner.engine.pacing.concurrency import AdaptiveConcurrency, CapacityEstimate
from runner.engine.pacing.durations import LEAST, DurationGroup, DurationSample
from runner.engine.pacing.last_requests import idle_seconds

MOST_KINDS = 256
PRICE = 0.036
"""Of one question, in seconds for a request of one second: five calls a job in all at a lag of a tenth of the time."""
SCALE = 0.58
"""The power of the mean time with which the price grows."""
QUEUED = 9.0
"""How much higher the price is, at most, while requests wait in the API's queue."""
GROWTH = 0.3
LATE_GROWTH = 0.07
"""Of the age: beyond all that is likely, and in the end of a run beyond the mean."""
SAME = 1.02
"""A question is not worth repeating before the age has grown by so much."""
IDLE = 0.5
"""In the end of a run no request is left alone for longer than this part of its age, or of the mean: it may be wrong
about the others, and files that come home all at once take their time."""
FIRST = 0.05
"""Seconds before the first question as long as nothing is known; a few instant answers tell it all."""
SOON = 0.25
"""Up to this age the gap doubles the age, and one request is asked for all."""
SCOUTS = 8
"""Beyond, one of so many requests alike is asked in each round, as long as nothing is known."""
SHORTEST = 0.005
"""Between two questions; the first may come at once, where that is how a service answers."""
LONGEST = 10.0
PROBES = 16
"""One request in so many is asked after early, at ``EARLY`` of the mean time, to see whether it waits."""
EARLY = 0.15


def best_poll_times(groups: Sequence[DurationGroup], price: float) -> list[int]:
    """For each group the one to ask at next when it was not ready then; entry 0 is for a request just submitted.

    ``groups`` are in order of time; ``price`` is in seconds a question.
    """
    weight = [0.0, *accumulate(group.weight for group in groups)]
    moment = [0.0, *accumulate(group.weight * group.mean for group in groups)]
    ends = [group.last for group in groups]
    last = furthest = len(groups)
    # what asking next at the end of each group costs, but for what it owes to the question before
    costs = [end * ended - missed for end, ended, missed in zip(ends, weight[1:], moment[1:], strict=True)]
    following = [last] * last
    for i in range(last - 1, -1, -1):
        best = inf
        for j in range(furthest, i, -1):  # who was asked earlier is not asked again later
            cost = costs[j - 1] - ends[j - 1] * weight[i]
            if cost <= best:
                best, furthest = cost, j
        following[i] = furthest
        if i:
            costs[i - 1] += best + moment[i] + price * (weight[last] - weight[i])
    return following


class _RequestKind:
    """What is known of one model and size."""

    def __init__(self) -> None:
        self.sample = DurationSample()
        self.open: set[PolledRequest] = set()
        self.ended = False
        """Whether one of them was polled to its end, however it ended: then others are no scouts any more."""
        self._pressure = 0.0
        """That for which the questions are laid out."""
        self._groups: list[DurationGroup] = []
        self._times: list[float] = []
        """When each group ends."""
        self._following: list[int] = []
        self._left = [1.0]
        """The weight of all groups, of all but the first, and so on; at last 0."""
        self._rounds: deque[float] = deque()
        """When scouts were sent."""

    def next_question(self, age: float, pressure: float) -> float | None:
        """The age at which to ask next; None beyond all that is likely."""
        fits = 0.8 * self._pressure <= pressure <= 1.25 * self._pressure
        changed = self.sample.has_changed(few=not fits)
        if changed:
            self._judge()
        if changed or not fits:
            self._lay_out(pressure)
        passed = bisect_right(self._times, SAME * age)
        return self._times[self._following[passed] - 1] if passed < len(self._times) else None

    def answers_at_once(self) -> bool:
        """Tell whether a request is best asked after as soon as it is accepted."""
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
        """The share of requests that take longer: those of a group end evenly since the group before."""
        at = bisect_right(self._times, age)
        if at == len(self._times):
            return 0.0
        before = self._times[at - 1] if at else 0.0
        return self._left[at] + (self._left[at + 1] - self._left[at]) * (age - before) / (self._times[at] - before)

    def has_ended(self, watch: PolledRequest, at: float) -> float:
        """The probability that a request has ended by then; as if it had, where nothing like it is known."""
        before = self.beyond(watch.unfinished_at) if self._times else 0.0
        return 1.0 - self.beyond(at - watch.started) / before if before else 1.0

    def scout(self, now: float, age: float) -> bool:
        """Tell whether one more is to be asked in this round, before anything is known."""
        while self._rounds and self._rounds[0] <= now - GROWTH * age / 2:
            self._rounds.popleft()
        if len(self._rounds) > (len(self.open) // SCOUTS if age >= SOON else 0):
            return False
        self._rounds.append(now)
        return True


class PolledRequest:
    """One request that is polled. All times are seconds on a monotonic clock."""

    def __init__(
        self,
        scheduler: PollScheduler,
        kind: Hashable,
        known: _RequestKind,
        *,
        started: float,
        in_flight: int,
        fresh: bool,
    ) -> None:
        """``known`` is what is known of its ``kind``; ``fresh``: it was submitted in this run.

        ``in_flight`` is how many requests there were when it was submitted, itself included.
        """
        self.kind = kind
        self.known = known
        self.started = started
        self.in_flight = in_flight
        self.fresh = fresh
        self.unfinished_at = 0.0
        """The age at which it was last seen not to have ended."""
        self.asked = False
        self.probe = False
        """Whether it is asked after early."""
        self._scheduler = scheduler

    def next_delay(self, now: float) -> float:
        """Seconds until it is worth a look."""
        if not self.asked and self.known.answers_at_once():
            return 0.0  # without a timer, which would cost more than it waits
        if self.probe and not self.asked:
            return _between(EARLY * self.known.sample.mean())
        return max(self._scheduler.next_delay(self.kind, now - self.started), self._scheduler.idle(self, now))

    def is_due(self, now: float) -> bool:
        """Tell whether it is to be asked after now; False: others tell as much."""
        return self._scheduler.is_due(self, now)

    def unfinished(self, now: float, *, waits: bool) -> None:
        """It has not ended; ``waits`` if it is in the API's queue."""
        self.unfinished_at = now - self.started
        self._scheduler.answered(self, waits=waits)

    def finished(self, now: float, seconds: float | None) -> None:
        """It ended, after ``seconds`` by the API's clock; None: it does not say.

        A clock that counts in whole seconds is corrected by what was seen.
        """
        age = now - self.started
        if self.fresh:
            seconds = (self.unfinished_at + age) / 2 if seconds is None else seconds
            self._scheduler.learn(self, min(age, max(self.unfinished_at, seconds)), age)
        elif seconds is not None:
            self._scheduler.learn_old(self.kind, seconds)

    def close(self) -> None:
        """It is not asked after any more."""
        self._scheduler.close(self)


class PollScheduler:
    """How long requests of each kind take, learnt as the run goes. A kind is any hashable: model and size."""

    def __init__(self, adaptive: AdaptiveConcurrency | None = None) -> None:
        """``adaptive`` is told what is learnt, where the concurrency follows it."""
        self.capacity = adaptive.capacity if adaptive is not None else CapacityEstimate()
        self.draining = False
        """Nothing is left to submit."""
        self._adaptive = adaptive
        self._kinds: dict[Hashable, _RequestKind] = {}
        self.in_flight = 0
        """Requests that were accepted and are not known to have ended."""
        self._most = 1
        self._submitted = 0

    def watch(self, kind: Hashable, started: float, *, fresh: bool = True) -> PolledRequest:
        """Begin to ask after a request that was accepted at ``started``; ``fresh``: in this run."""
        self.in_flight += 1
        self._most = max(self._most, self.in_flight)
        known = self._known(kind)
        watch = PolledRequest(self, kind, known, started=started, in_flight=self.in_flight, fresh=fresh)
        known.open.add(watch)
        if fresh and known.sample.ranked:
            self._submitted += 1
            watch.probe = self._submitted % PROBES == 1
        return watch

    def _known(self, kind: Hashable) -> _RequestKind:
        """What is known of ``kind``; of a great many the oldest are forgotten, unless something of them is open."""
        if kind not in self._kinds:
            self._kinds[kind] = _RequestKind()
            for _ in range(len(self._kinds) - MOST_KINDS):
                oldest = next(iter(self._kinds))
                forgotten = self._kinds.pop(oldest)
                if forgotten.open or oldest == kind:
                    self._kinds[oldest] = forgotten
        return self._kinds[kind]

    def next_delay(self, kind: Hashable, age: float) -> float:
        """Seconds to wait before asking after a request that was accepted ``age`` seconds ago."""
        known = self._kinds.get(kind)
        if known is None or not known.sample.ranked:
            return _between(max(FIRST, age) if age < SOON else GROWTH * age)
        pressure = self._pressure()
        at = known.next_question(age, pressure)
        late = LATE_GROWTH * age * min(1.0, sqrt(pressure))
        if at is None:
            return _between(late)
        sparse = self.draining and age > known.sample.mean()  # groups of times so long are far apart
        return _between(min(late, at - age) if sparse else at - age)

    def idle(self, watch: PolledRequest, now: float) -> float:
        """Seconds in which it does not matter whether a request has ended, because others have not."""
        if not self.draining or not watch.known.sample.ranked:
            return 0.0
        most = IDLE * max(now - watch.started, watch.known.sample.mean())
        return min(LONGEST, idle_seconds(lambda seconds: self._others_ended(watch, now + seconds), most))

    def _others_ended(self, watch: PolledRequest, at: float) -> Iterator[float]:
        """The probability for each other request that it has ended by then."""
        for known in self._kinds.values():
            for other in known.open:
                if other is not watch:
                    yield known.has_ended(other, at)

    def is_due(self, watch: PolledRequest, now: float) -> bool:
        known = watch.known
        if known.sample.ranked or known.ended or not watch.fresh or (self._adaptive is not None and not watch.asked):
            return True
        return known.scout(now, now - watch.started)

    def answered(self, watch: PolledRequest, *, waits: bool) -> None:
        first = watch.fresh and not watch.asked
        watch.asked = True
        if not first:
            return
        early = watch.probe
        if self._adaptive is not None:
            self._adaptive.waits() if waits else self._adaptive.at_work()
            early |= not watch.known.sample.ranked  # all are asked soon then, to find out how many there may be
        if early:
            self.capacity.asked_early(waits=waits)

    def learn(self, watch: PolledRequest, seconds: float, age: float) -> None:
        watch.known.sample.learn(seconds)
        self.capacity.learn(watch.kind, watch.in_flight, seconds)
        if self._adaptive is not None:
            self._adaptive.finished(age - seconds, self.in_flight, first_answer=not watch.asked)

    def learn_old(self, kind: Hashable, seconds: float) -> None:
        """Count a request of an earlier run: it says nothing about the slots of this one."""
        self._known(kind).sample.learn(seconds)

    def close(self, watch: PolledRequest) -> None:
        watch.known.open.discard(watch)
        watch.known.ended = True
        self.in_flight -= 1

    def _pressure(self) -> float:
        """What a question costs now, compared with usual times."""
        filled = self.capacity if self._adaptive is None else self._adaptive
        queued = 1.0 + QUEUED * filled.queued(self.in_flight)
        return queued * self.in_flight / self._most if self.draining else queued


def _between(seconds: float) -> float:
    return min(LONGEST, max(SHORTEST, seconds))
