"""Poll times of requests, learnt from the durations of others. No I/O.

``poll_times`` finds the best times from the durations of earlier requests, for a price of one poll in seconds.

The price grows with the mean time, but less than proportionally. The price is higher while requests wait in the API's
queue, as shown by their times (``concurrency``) and the states of a few requests polled early: a request that ended
unnoticed then keeps no worker idle.

When nothing is left to submit, only the last request to end decides when the run ends. The others are not polled while
that request is most likely still under way (``last_requests``). The fewer requests are left, the lower the price.

Before anything is known of a kind, the gap grows with the age (``GROWTH``), and of many requests alike only some are
polled: one finished request gives the time of all. Requests of earlier runs are polled without this restriction.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from math import sqrt

from runner.engine.pacing.concurrency import AdaptiveConcurrency, CapacityEstimate
from runner.engine.pacing.last_requests import idle_seconds
from runner.engine.pacing.poll_times import GROWTH, SOON, OpenRequest, RequestKind

MOST_KINDS = 256
QUEUED = 9.0
"""Largest increase of the price, as a multiple, while requests wait in the API's queue."""
LATE_GROWTH = 0.07
"""Gap as a share of the age, beyond all likely times; at the end of a run, beyond the mean."""
IDLE = 1.0
"""Longest time without a poll at the end of a run, as a share of the request's age or of the mean: the estimate of the
others may be wrong, and files that are downloaded all at once take their time."""
RECHECK = 0.1
"""Seconds between two looks at what the end of a run still waits for, as a share of the mean time of a request."""
FIRST = 0.05
"""Seconds before the first poll as long as nothing is known; a few instant results are enough to learn from."""
SHORTEST = 0.005
"""Shortest gap in seconds between two polls; the first poll may come at once, for a service that answers at once."""
LONGEST = 10.0
PROBES = 16
"""One request in so many is polled early, at ``EARLY`` of the mean time, to learn whether it waits."""
EARLY = 0.15


class PolledRequest(OpenRequest):
    """One request that is polled. All times are seconds on a monotonic clock."""

    def __init__(
        self,
        scheduler: PollScheduler,
        kind: Hashable,
        known: RequestKind,
        *,
        started: float,
        in_flight: int,
        fresh: bool,
    ) -> None:
        """Start with ``known``, the knowledge about its ``kind``; ``fresh``: the request was submitted in this run.

        ``in_flight`` is the number of requests in flight at its submission, itself included.
        """
        super().__init__(started)
        self.kind = kind
        self.known = known
        self.in_flight = in_flight
        self.fresh = fresh
        self.asked = False
        self.probe = False
        """True if the request is polled early."""
        self._scheduler = scheduler
        self._due_at: float | None = None
        """Time from which the request is worth a poll; None: not chosen since the last poll."""

    def next_delay(self, now: float) -> float:
        """Return the seconds until the request is worth a poll, or until ``is_due`` may have changed its answer."""
        if not self.asked and self.known.answers_at_once():
            return 0.0  # no timer: setting one takes longer than the wait
        if self.probe and not self.asked:
            return _between(EARLY * self.known.sample.mean())
        idle = self._scheduler.idle(self, now)
        if idle > 0.0 and self._due_at is not None:
            return max(self._due_at - now, idle)
        delay = self._scheduler.next_delay(self.kind, now - self.started)
        self._due_at = now + delay
        return max(delay, idle)

    def is_due(self, now: float) -> bool:
        """Tell whether the request is to be polled now; False: others are polled instead, or have not ended."""
        return self._scheduler.is_due(self, now)

    def unfinished(self, now: float, *, waits: bool) -> None:
        """Count a poll that found the request unfinished; ``waits``: it is in the API's queue."""
        self.unfinished_at = now - self.started
        self._due_at = None
        self._scheduler.answered(self, waits=waits)

    def finished(self, now: float, seconds: float | None) -> None:
        """Count the end, after ``seconds`` by the API's clock; None: the API does not tell.

        A clock that counts in whole seconds is corrected by the times of the polls.
        """
        age = now - self.started
        if self.fresh:
            seconds = (self.unfinished_at + age) / 2 if seconds is None else seconds
            self._scheduler.learn(self, min(age, max(self.unfinished_at, seconds)), age)
        elif seconds is not None:
            self._scheduler.learn_old(self.kind, seconds)

    def close(self) -> None:
        """Stop polling the request."""
        self._scheduler.close(self)


class PollScheduler:
    """Durations of requests of each kind, learnt during the run. A kind is any hashable: model and size."""

    def __init__(self, adaptive: AdaptiveConcurrency | None = None) -> None:
        """Start with no knowledge. ``adaptive`` receives what is learnt, if the concurrency is adaptive."""
        self.capacity = adaptive.capacity if adaptive is not None else CapacityEstimate()
        self.no_jobs_left = False
        """True if every job has a worker or is done."""
        self.submissions_wait: Callable[[], bool] = lambda: False
        """Function that tells whether submissions wait for their turn."""
        self._adaptive = adaptive
        self._kinds: dict[Hashable, RequestKind] = {}
        self.in_flight = 0
        """Requests that were accepted and are not known to have ended."""
        self._most = 1
        self._submitted = 0

    @property
    def draining(self) -> bool:
        """Tell whether nothing is left to submit. The last request then decides when the run ends."""
        return self.no_jobs_left and not self.submissions_wait()

    def watch(self, kind: Hashable, started: float, *, fresh: bool = True) -> PolledRequest:
        """Begin to poll a request that was accepted at ``started``; ``fresh``: in this run."""
        self.in_flight += 1
        self._most = max(self._most, self.in_flight)
        known = self._known(kind)
        watch = PolledRequest(self, kind, known, started=started, in_flight=self.in_flight, fresh=fresh)
        known.open.add(watch)
        if fresh and known.sample.ranked:
            self._submitted += 1
            watch.probe = self._submitted % PROBES == 1
        return watch

    def _known(self, kind: Hashable) -> RequestKind:
        """Return the knowledge about ``kind``; beyond ``MOST_KINDS`` the oldest without open requests are dropped."""
        if kind not in self._kinds:
            self._kinds[kind] = RequestKind()
            for _ in range(len(self._kinds) - MOST_KINDS):
                oldest = next(iter(self._kinds))
                forgotten = self._kinds.pop(oldest)
                if forgotten.open or oldest == kind:
                    self._kinds[oldest] = forgotten
        return self._kinds[kind]

    def next_delay(self, kind: Hashable, age: float) -> float:
        """Return the seconds before the next poll of a request that was accepted ``age`` seconds ago."""
        known = self._kinds.get(kind)
        if known is None or not known.sample.ranked:
            return _between(max(FIRST, age) if age < SOON else GROWTH * age)
        pressure = self._pressure()
        at = known.next_question(age, pressure)
        late = LATE_GROWTH * age * min(1.0, sqrt(pressure))
        if at is None:
            return _between(late)
        sparse = self.draining and age > known.sample.mean()  # groups of long times are far apart
        return _between(min(late, at - age) if sparse else at - age)

    def idle(self, watch: PolledRequest, now: float) -> float:
        """Return the seconds for which the end of a request does not matter, because others have not ended.

        The others are looked at again after ``RECHECK`` at the latest: they may end sooner than expected.
        """
        if not self.draining or not watch.known.sample.ranked:
            return 0.0
        mean = watch.known.sample.mean()
        since = now - watch.started - watch.unfinished_at
        most = min(IDLE * max(watch.unfinished_at, mean) - since, RECHECK * mean, LONGEST)
        if most < SHORTEST:
            return 0.0
        idle = idle_seconds(lambda seconds: self._others_ended(watch, now + seconds), most)
        return max(SHORTEST, idle) if idle else 0.0

    def _others_ended(self, watch: PolledRequest, at: float) -> Iterator[float]:
        """Yield for each other request the probability that it has ended at ``at``."""
        for known in self._kinds.values():
            for other in known.open:
                if other is not watch:
                    yield known.has_ended(other, at)

    def is_due(self, watch: PolledRequest, now: float) -> bool:
        known = watch.known
        if self.idle(watch, now) > 0.0:
            return False
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
            note = self._adaptive.waits if waits else self._adaptive.at_work
            note(watch.in_flight)
            early |= not watch.known.sample.ranked  # all are polled soon then, to find the capacity
        if early:
            self.capacity.asked_early(waits=waits)

    def learn(self, watch: PolledRequest, seconds: float, age: float) -> None:
        watch.known.sample.learn(seconds)
        self.capacity.learn(watch.kind, watch.in_flight, seconds)
        if self._adaptive is not None:
            self._adaptive.finished(age - seconds, self.in_flight, first_answer=not watch.asked)

    def learn_old(self, kind: Hashable, seconds: float) -> None:
        """Count a request of an earlier run; its time tells nothing about the slots of this run."""
        self._known(kind).sample.learn(seconds)

    def close(self, watch: PolledRequest) -> None:
        watch.known.open.discard(watch)
        watch.known.ended = True
        self.in_flight -= 1

    def _pressure(self) -> float:
        """Return the current price of a poll as a multiple of the usual price."""
        filled = self.capacity if self._adaptive is None else self._adaptive
        queued = 1.0 + QUEUED * filled.queued(self.in_flight)
        return queued * self.in_flight / self._most if self.draining else queued


def _between(seconds: float) -> float:
    return min(LONGEST, max(SHORTEST, seconds))
