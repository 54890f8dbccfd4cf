"""How many requests the API works on at once, found out from how long they take."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.core.models import MAX_AUTO_CONCURRENCY
from runner.engine.pacing.concurrency import EARLY_ANSWERS, LEAST, START, AdaptiveConcurrency, CapacityEstimate
from runner.engine.pacing.refusals import RefusalKind


class Queue:
    """Workers that take requests first come, first served."""

    def __init__(self, workers: int, seed: int, sigma: float = 0.4) -> None:
        self._free = [0.0] * workers
        self._rng = random.Random(seed)
        self._sigma = sigma

    def submit(self, now: float) -> tuple[float, float]:
        """When it is taken up, and when it ends."""
        start = max(now, heappop(self._free))
        end = start + 0.8 * self._rng.lognormvariate(-(self._sigma**2) / 2, self._sigma)
        heappush(self._free, end)
        return start, end


def learn(
    queue: Queue, capacity: CapacityEstimate, requests: int, in_flight: Callable[[], int], lag: float = 0.1
) -> None:
    """Keep ``in_flight()`` requests there, each end noticed ``lag`` seconds later; all are asked after early."""
    ends: list[tuple[float, float, int]] = []
    now = 0.0
    for _ in range(requests):
        if len(ends) >= in_flight():
            now, seconds, count = heappop(ends)
            capacity.learn("kind", count, seconds)
        start, end = queue.submit(now)
        capacity.asked_early(waits=start > now)
        heappush(ends, (end + lag, end - now, len(ends) + 1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("workers", [4, 8, 16])
def test_more_requests_than_workers_show_where_the_line_bends(workers: int, seed: int) -> None:
    """32 in flight at an API with fewer workers: their number is found within what ends unnoticed."""
    capacity = CapacityEstimate()
    learn(Queue(workers, seed), capacity, 300, lambda: 32)
    assert capacity.workers is not None
    assert 0.7 * workers <= capacity.workers <= 1.5 * workers
    assert capacity.queued(32) == 1.0
    assert capacity.queued(workers // 2) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_no_more_requests_than_workers_show_no_queue(seed: int) -> None:
    """16 in flight at 16 workers: the scatter of the times is not taken for a queue."""
    capacity = CapacityEstimate()
    learn(Queue(16, seed), capacity, 300, lambda: 16)
    capacity.asked_early(waits=True)
    capacity.asked_early(waits=True)
    assert capacity.queued(16) == 0.0


def test_kinds_of_different_length_are_not_taken_for_a_queue() -> None:
    """Large pictures that come after small ones take longer for their own reasons."""
    capacity, rng = CapacityEstimate(), random.Random(1)
    for kind, seconds, in_flight in [("small", 0.5, 8), ("large", 4.0, 16)]:
        for number in range(60):
            capacity.learn(kind, 1 + number % in_flight, seconds * rng.lognormvariate(-0.02, 0.2))
            capacity.asked_early(waits=True)
    assert capacity.queued(16) == 0.0


def waiting(*answers: bool) -> CapacityEstimate:
    """What is known after early answers alone; True: it waits."""
    capacity = CapacityEstimate()
    for waits in answers:
        capacity.asked_early(waits=waits)
    return capacity


def test_where_the_concurrency_follows_those_that_wait_are_a_queue() -> None:
    """Early answers tell it long before times do; with fixed lanes others may be in front, and nothing changes."""
    capacity = waiting(True, True)
    assert AdaptiveConcurrency(capacity).queued(24) > 0.5
    assert capacity.queued(24) == 0.0


def test_a_moment_before_each_request_is_no_queue_where_no_more_may_be_in_flight() -> None:
    """Some services take each request up after a moment: asking late would leave their workers idle."""
    refused, full, free = (
        AdaptiveConcurrency(waiting(True, True), limit=limit)
        for limit in (20.0, MAX_AUTO_CONCURRENCY, MAX_AUTO_CONCURRENCY - 1)
    )
    refused.refused(RefusalKind.LOAD)
    assert refused.queued(14) == 0.0
    assert full.queued(MAX_AUTO_CONCURRENCY) == 0.0
    assert free.queued(MAX_AUTO_CONCURRENCY - 1) > 0.0


@pytest.mark.parametrize("answers", [[], [True], [False, False], [True, True, False, False, False, False]])
def test_one_answer_and_old_ones_make_no_queue(answers: list[bool]) -> None:
    """A request may wait by chance, and a queue that was there an hour ago has gone."""
    assert AdaptiveConcurrency(waiting(*answers)).queued(24) == 0.0


def believing(workers: int, limit: float) -> AdaptiveConcurrency:
    """A run that takes the API for smaller than it is, from 80 requests with the ``limit`` in flight at most."""
    adaptive = AdaptiveConcurrency(CapacityEstimate(), limit=limit)
    for number in range(80):
        in_flight = 1 + number % int(limit)
        adaptive.capacity.learn("kind", in_flight, max(1.0, in_flight / workers))
    assert adaptive.capacity.bend
    return adaptive


@pytest.mark.parametrize(("waits", "grows"), [([False], True), ([True, False], True), ([True], False)])
def test_an_estimate_that_is_too_low_does_not_confirm_itself(waits: list[bool], grows: bool) -> None:
    """While half of the requests are worked on at once there is room for more, whatever their times seemed to say."""
    adaptive = believing(10, limit=20)
    for number in range(40):
        adaptive.capacity.asked_early(waits=waits[number % len(waits)])
        adaptive.finished(0.1, int(adaptive.limit), first_answer=False)
    assert (adaptive.limit > 25) is grows


def test_lanes_that_stand_empty_are_no_reason_for_more() -> None:
    """Workers are free because little is submitted: that says nothing about how many there are."""
    adaptive = believing(10, limit=20)
    for _ in range(40):
        adaptive.capacity.asked_early(waits=False)
        adaptive.finished(0.1, 5, first_answer=False)
    assert adaptive.limit < 17


def test_with_fixed_lanes_times_and_answers_must_agree() -> None:
    """Where none waits any more, slow requests are slow by themselves: the queue that times told of has gone."""
    capacity = CapacityEstimate()
    learn(Queue(8, seed=1), capacity, 300, lambda: 32)
    assert capacity.queued(32) == 1.0
    for _ in range(EARLY_ANSWERS):
        capacity.asked_early(waits=False)
    assert capacity.queued(32) == 0.0


def run(workers: int, jobs: int, seed: int = 1) -> tuple[AdaptiveConcurrency, list[float]]:
    """``jobs`` on an API with so many workers; the limit after each end."""
    adaptive = AdaptiveConcurrency(CapacityEstimate())
    queue, now, events, limits = Queue(workers, seed), 0.0, [], []
    in_flight = submitted = 0
    while submitted < jobs or events:
        while in_flight < int(adaptive.limit) and submitted < jobs:
            in_flight, submitted = in_flight + 1, submitted + 1
            start, end = queue.submit(now)
            heappush(events, (now + 0.25, submitted, "asked", start, end, now, in_flight))
        now, number, what, start, end, began, count = heappop(events)
        if what == "asked" and end > now:
            adaptive.waits(count) if start > now else adaptive.at_work(count)
            heappush(events, (end + 0.12, number, "ended", start, end, began, count))
            continue
        in_flight -= 1
        adaptive.capacity.learn("kind", count, end - began)
        adaptive.finished(now - end, in_flight, first_answer=what == "asked")
        limits.append(adaptive.limit)
    return adaptive, limits


@pytest.mark.parametrize("workers", [4, 16, 48])
def test_it_settles_just_above_the_workers(workers: int) -> None:
    """Enough in flight that no worker waits for the client, and not several times as many."""
    _, limits = run(workers, 40 * workers)
    settled = limits[len(limits) // 2 :]
    assert workers <= sum(settled) / len(settled) <= 2.2 * workers + 4


def test_it_falls_more_slowly_than_it_grows() -> None:
    """A queue that is a little too long costs nothing, one too short idles workers; a far too long one goes soon."""
    for limit, least, most in ((14, 0.5, 2.0), (60, 15.0, 25.0)):
        adaptive = believing(10, limit=60)
        adaptive.limit = limit
        for _ in range(20):
            adaptive.finished(0.0, 5, first_answer=False)
        assert least <= limit - adaptive.limit <= most


def test_it_starts_small_and_grows_by_half_with_each_generation() -> None:
    """8 requests at work allow 12, the 4 added ones 18, the 6 added ones 27."""
    adaptive = AdaptiveConcurrency(CapacityEstimate())
    assert adaptive.limit == START
    for asked, allowed in ((range(1, 9), 12), (range(9, 13), 18), (range(13, 19), 27)):
        for in_flight in asked:
            adaptive.at_work(in_flight)
        assert adaptive.limit == allowed


@pytest.mark.parametrize(("waiting", "allowed"), [(3, START), (17, 21.25), (33, 40.0)])
def test_the_first_request_that_waits_ends_the_search(waiting: int, allowed: float) -> None:
    """The limit is then a little above that number, at least the first one, and no answer raises it by steps again."""
    adaptive = AdaptiveConcurrency(CapacityEstimate(), limit=8.0 if waiting == 3 else 40.0)
    adaptive.waits(waiting)
    assert adaptive.limit == allowed
    adaptive.at_work(64)
    adaptive.waits(8)
    assert adaptive.limit == allowed


def test_requests_far_below_the_limit_do_not_raise_it() -> None:
    """Two requests at work say nothing about a ninth: with few jobs at a time the number stays at its start."""
    adaptive = AdaptiveConcurrency(CapacityEstimate())
    for _ in range(50):
        adaptive.at_work(2)
    assert adaptive.limit == START


def test_a_refusal_shrinks_it_and_what_was_refused_is_approached_slowly() -> None:
    """429 takes a third away; a hundred good answers do not bring it back to where it was refused."""
    adaptive = AdaptiveConcurrency(CapacityEstimate(), limit=20.0)
    adaptive.refused(RefusalKind.LOAD)
    assert adaptive.limit == pytest.approx(14.0)
    for _ in range(100):
        adaptive.capacity.learn("kind", int(adaptive.limit), 1.0)
        adaptive.finished(0.1, int(adaptive.limit), first_answer=True)
    assert 15 < adaptive.limit < 20


EVENTS = st.lists(st.sampled_from(["at_work", "waits", "load", "limit", "finished"]), max_size=300)


@settings(deadline=None, max_examples=examples(100))
@given(events=EVENTS, seconds=st.floats(0, 100), lag=st.floats(0, 100))
def test_the_limit_stays_within_its_bounds(events: list[str], seconds: float, lag: float) -> None:
    """Whatever the API answers: at least a few, at most a few hundred, and only whole steps are told."""
    told: list[int] = []
    adaptive = AdaptiveConcurrency(CapacityEstimate())
    adaptive.on_change(lambda: told.append(int(adaptive.limit)))
    for event in events:
        before = adaptive.limit
        if event == "finished":
            adaptive.capacity.learn("kind", int(adaptive.limit), seconds)
            adaptive.finished(lag, int(adaptive.limit), first_answer=False)
        elif event in ("load", "limit"):
            if event == "limit":
                adaptive.refusals.limit = max(1, int(adaptive.limit) - 1)
            adaptive.refused(RefusalKind(event))
            assert adaptive.limit <= max(before, LEAST)
        elif event == "waits":
            adaptive.waits(int(adaptive.limit))
        else:
            adaptive.at_work(int(adaptive.limit))
        assert 1 <= adaptive.limit <= MAX_AUTO_CONCURRENCY
    assert all(one != other for one, other in itertools.pairwise(told))


def test_the_reason_for_the_number_is_said() -> None:
    """Whoever reads the log sees whether the API, a limit of its account or the beginning decides."""
    fresh, busy, limited, queued = (AdaptiveConcurrency(CapacityEstimate()) for _ in range(4))
    assert fresh.reason == "the API has room for more"
    queued.waits(8)
    for _ in range(2):
        queued.capacity.asked_early(waits=True)
    assert queued.reason == "requests wait in the API's queue"
    busy.refused(RefusalKind.LOAD)
    assert busy.reason == "the API was busy with 8"
    limited.refusals.limit = 5
    limited.refused(RefusalKind.LIMIT)
    assert (int(limited.limit), limited.reason) == (6, "more are refused")
    assert believing(10, limit=20).reason == "the API works on about 10 at once"
