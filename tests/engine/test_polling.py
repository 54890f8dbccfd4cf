"""When to ask after a request: just when it should be ready, then as often as is still likely to help."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from itertools import count as counted
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.engine.pacing.concurrency import AdaptiveConcurrency, CapacityEstimate
from runner.engine.pacing.durations import WINDOW, DurationGroup
from runner.engine.pacing.poll_times import GROWTH, SCOUTS, SOON, best_poll_times
from runner.engine.pacing.polling import (
    EARLY,
    FIRST,
    IDLE,
    LONGEST,
    PROBES,
    RECHECK,
    SHORTEST,
    PolledRequest,
    PollScheduler,
)

TIMES = st.lists(st.floats(0, 1000), max_size=60)


def learnt(seconds: list[float]) -> PollScheduler:
    durations = PollScheduler()
    for value in seconds:
        take(durations, value)
    return durations


def take(durations: PollScheduler, seconds: float, kind: str = "kind") -> None:
    """One request, found at its end."""
    watch = durations.watch(kind, 0.0)
    watch.finished(seconds, seconds)
    watch.close()


@pytest.mark.parametrize(("age", "gap"), [(0.0, FIRST), (0.1, 0.1), (1.0, GROWTH), (10.0, 10 * GROWTH), (1e6, LONGEST)])
def test_before_anything_is_known_the_gap_grows_with_the_age(age: float, gap: float) -> None:
    """The first request of a run is asked after soon, and a slow one ever less often."""
    assert PollScheduler().next_delay("kind", age) == pytest.approx(gap)


def test_the_first_question_comes_when_the_request_should_be_ready() -> None:
    """Once it is known how long such requests take, nobody asks long before."""
    durations = learnt([4.0] * WINDOW)
    assert durations.next_delay("kind", 0.0) == pytest.approx(4.0, rel=0.2)
    assert durations.next_delay("kind", 3.0) == pytest.approx(1.0, rel=0.8)


def test_beyond_all_that_is_likely_the_gap_grows_again() -> None:
    """A request that is slower than any before it is not asked after in a tight loop."""
    durations = learnt([4.0] * 50)
    assert durations.next_delay("kind", 200.0) > 10 * SHORTEST
    assert durations.next_delay("kind", 400.0) >= durations.next_delay("kind", 20.0)


def test_a_service_that_answers_at_once_is_asked_at_once() -> None:
    """Where requests take no time, none is spent waiting for them; one that takes some is not asked in a tight loop."""
    durations = learnt([0.0] * 10)
    assert durations.watch("kind", 5.0).next_delay(5.0) == SHORTEST  # the first of them finds out
    watch = durations.watch("kind", 5.0)
    assert watch.next_delay(5.0) == 0.0
    watch.unfinished(5.0, waits=False)
    assert watch.next_delay(5.0) >= SHORTEST


def test_a_few_that_take_no_time_hurry_no_question() -> None:
    """Where one in 25 is there at once, and the others in a second, none is asked in vain as soon as it is bought."""
    durations = learnt([0.0, *[1.0] * 24] * 4)
    watches = [durations.watch("kind", 5.0) for _ in range(3)]
    assert min(watch.next_delay(5.0) for watch in watches[1:]) > 0.1


def test_kinds_are_learnt_apart() -> None:
    """Large pictures do not slow down the questions about small ones."""
    assert learnt([9.0] * 10).next_delay("other", 0.0) == FIRST


def test_what_was_long_ago_is_forgotten() -> None:
    """When the service becomes faster, the questions follow."""
    assert learnt([9.0] * WINDOW + [1.0] * WINDOW).next_delay("kind", 0.0) < 1.5


@settings(deadline=None, max_examples=examples(200))
@given(seconds=TIMES, age=st.floats(0, 2000))
def test_every_gap_is_bounded(seconds: list[float], age: float) -> None:
    """No history makes a run ask without pause, or forget a request."""
    assert SHORTEST <= learnt(seconds).next_delay("kind", age) <= LONGEST


def test_of_many_alike_only_some_are_asked_until_one_is_done() -> None:
    """A run that begins with forty requests does not ask forty times before it knows anything."""
    durations = PollScheduler()
    watches = [durations.watch("kind", 0.0) for _ in range(40)]
    assert sum(watch.is_due(FIRST) for watch in watches) == 1
    assert sum(watch.is_due(4 * SOON) for watch in watches) == 40 // SCOUTS + 1
    watches[0].finished(5 * SOON, 4 * SOON)
    watches[0].close()
    assert all(watch.is_due(5 * SOON) for watch in watches[1:])


def test_a_clock_that_counts_whole_seconds_is_corrected_by_what_was_seen() -> None:
    """An API that says 0 s or 1 s for requests of half a second does not make the questions come at once, or late."""
    durations = PollScheduler()
    for said in [0.0, 1.0] * 20:
        watch = durations.watch("kind", 0.0)
        watch.unfinished(0.45, waits=False)
        watch.finished(0.55, said)
        watch.close()
    assert 0.3 < durations.next_delay("kind", 0.0) < 0.8


def test_without_the_apis_clock_a_time_lies_between_two_questions() -> None:
    """Where an API tells no times, how late it was asked does not count as its own slowness."""
    durations = PollScheduler()
    for _ in range(40):
        watch = durations.watch("kind", 0.0)
        watch.unfinished(0.4, waits=False)
        watch.finished(0.6, None)
        watch.close()
    assert 0.35 < durations.next_delay("kind", 0.0) < 0.65


def test_the_last_requests_of_a_run_are_asked_after_more_often() -> None:
    """The end of a run waits for its last request: when nothing is left to submit, questions come closer."""
    rng = random.Random(4)
    durations = learnt([rng.lognormvariate(0, 0.5) for _ in range(WINDOW)])
    watches = [durations.watch("kind", 0.0) for _ in range(32)]
    before = durations.next_delay("kind", 1.0)
    durations.no_jobs_left = True
    for watch in watches[1:]:
        watch.close()
    assert durations.next_delay("kind", 1.0) < before


GROUPS = st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 1)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=examples(200))
@given(steps=GROUPS, price=st.floats(0.001, 5))
def test_no_other_choice_of_times_is_cheaper(steps: list[tuple[float, float]], price: float) -> None:
    """The times asked at cost least, counting questions and unnoticed seconds: compared with every other choice."""
    total = sum(weight for _, weight in steps)
    now, groups = 0.0, []
    for step, weight in steps:
        now += step
        groups.append(DurationGroup(now, now - step / 2, weight / total))

    def cost(asked: list[int]) -> float:
        bill, before = 0.0, 0
        for j in asked:
            bill += price * sum(group.weight for group in groups[before:])
            bill += sum(group.weight * (groups[j - 1].last - group.mean) for group in groups[before:j])
            before = j
        return bill

    following, chosen, at = best_poll_times(groups, price), [], 0
    while at < len(groups):
        at = following[at]
        chosen.append(at)
    last = len(groups)
    others = (
        [j for j, kept in zip(range(1, last), choice, strict=True) if kept] + [last]
        for choice in product([False, True], repeat=last - 1)
    )
    assert cost(chosen) <= min(map(cost, others)) + 1e-9


def simulate(draw: Callable[[int], float], count: int) -> tuple[float, float, float]:
    """Mean duration, mean lag and questions a request, for requests one after the other that are learnt on the way."""
    durations, lag, questions, total = PollScheduler(), 0.0, 0, 0.0
    for number in range(count):
        seconds = draw(number)
        watch, age = durations.watch("kind", 0.0), 0.0
        while True:
            age += watch.next_delay(age)
            questions += 1
            if age >= seconds:
                break
            watch.unfinished(age, waits=False)
        watch.finished(age, seconds)
        watch.close()
        lag += age - seconds
        total += seconds
    return total / count, lag / count, questions / count


@pytest.mark.parametrize("mean", [0.8, 6.0])
def test_lognormal_durations_are_met_with_few_questions(mean: float) -> None:
    """Unknown at first and learnt on the way: little lag, three or four questions."""
    rng = random.Random(1)
    average, lag, questions = simulate(lambda _: mean * rng.lognormvariate(-0.08, 0.4), 1000)
    assert lag / average < 0.14
    assert questions < 5


def test_two_speeds_and_a_drift_are_followed() -> None:
    """The same policy, unchanged, on a model with a fast and a slow path, and on a service that slows down."""
    rng = random.Random(2)
    two = simulate(lambda _: rng.gauss(*((0.5, 0.03) if rng.random() < 0.7 else (4.0, 0.2))), 1000)
    drift = simulate(lambda n: (1 + n / 250) * rng.lognormvariate(-0.02, 0.2), 1000)
    for average, lag, questions in (two, drift):
        assert lag / average < 0.15
        assert questions < 5


def test_a_service_that_changes_its_pace_is_followed_within_a_few_requests() -> None:
    """Every few hundred requests four times as slow, or as fast again: what was learnt before soon counts for less."""
    rng = random.Random(2)
    average, lag, questions = simulate(lambda n: (1 if n // 250 % 2 else 4) * rng.lognormvariate(-0.02, 0.2), 2000)
    assert lag / average < 0.14
    assert questions < 4.5


def run_batch(draw: Callable[[], float], jobs: int, lanes: int) -> tuple[float, float]:
    """Wall time against that of lanes which notice every end at once, and questions a request, of one whole batch."""
    durations, numbers = PollScheduler(), counted()
    times = [draw() for _ in range(jobs)]
    ideal, waiting = [0.0] * lanes, iter(times)
    for seconds in times:
        heapreplace(ideal, ideal[0] + seconds)
    asks = [(0.0, next(numbers), None, 0.0) for _ in range(lanes)]
    questions, now = 0, 0.0
    while asks:
        now, _, watch, seconds = heappop(asks)
        if watch is not None and not watch.is_due(now):
            heappush(asks, (now + watch.next_delay(now), next(numbers), watch, seconds))
            continue
        questions += watch is not None
        if watch is not None and now - watch.started < seconds:
            watch.unfinished(now, waits=False)
        else:
            if watch is not None:
                watch.finished(now, seconds)
                watch.close()
            seconds = next(waiting, -1.0)
            durations.no_jobs_left = seconds < 0
            if durations.draining:
                continue
            watch = durations.watch("kind", now)
        heappush(asks, (now + watch.next_delay(now), next(numbers), watch, seconds))
    return now / max(ideal), questions / jobs


@pytest.mark.parametrize(("auto", "fresh", "share"), [(True, True, 1.0), (True, False, 0.0), (False, True, 0.0)])
def test_the_first_answers_of_a_run_tell_auto_whether_the_api_has_a_queue(
    auto: bool, fresh: bool, share: float
) -> None:
    """Nobody knows yet what early is: they are early enough. What an earlier run left there tells nothing.

    Of fixed lanes the first answers come from the burst that filled them: those wait, whatever comes after.
    """
    durations = PollScheduler(AdaptiveConcurrency(CapacityEstimate()) if auto else None)
    for watch in [durations.watch("kind", 0.0, fresh=fresh) for _ in range(3)]:
        watch.unfinished(FIRST, waits=True)
        watch.unfinished(2.0, waits=False)
    assert durations.capacity.waiting == share


def test_later_only_those_that_are_asked_early_tell_whether_the_api_has_a_queue() -> None:
    """Who is asked when it should just be ready has left the queue long ago, if there was one."""
    durations = learnt([1.0] * 50)
    for watch in [durations.watch("kind", 0.0) for _ in range(3 * PROBES)]:
        watch.unfinished(EARLY if watch.probe else 0.9, waits=watch.probe)
    assert durations.capacity.waiting == 1.0


def run_following(draw: Callable[[], float], jobs: int, workers: int) -> tuple[float, float]:
    """Wall time against that of workers which are never idle, and questions a request, with ``concurrency: auto``."""
    adaptive, numbers = AdaptiveConcurrency(CapacityEstimate()), counted()
    durations, free, ideal = PollScheduler(adaptive), [0.0] * workers, [0.0] * workers
    asks: list[tuple[float, int, PolledRequest, float, float]] = []
    now, submitted, questions = 0.0, 0, 0
    while asks or not submitted:
        while len(asks) < int(adaptive.limit) and submitted < jobs:
            seconds, start = draw(), max(now, free[0])
            heapreplace(free, start + seconds)
            heapreplace(ideal, ideal[0] + seconds)
            submitted += 1
            watch = durations.watch("kind", now)
            heappush(asks, (now + watch.next_delay(now), next(numbers), watch, start, start + seconds))
        durations.no_jobs_left = submitted == jobs
        now, _, watch, start, end = heappop(asks)
        asked = watch.is_due(now)
        questions += asked
        if asked and now >= end:
            watch.finished(now, end - watch.started)
            watch.close()
            continue
        if asked:
            watch.unfinished(now, waits=now < start)
        heappush(asks, (now + watch.next_delay(now), next(numbers), watch, start, end))
    return now / max(ideal), questions / jobs


@pytest.mark.parametrize(
    ("workers", "jobs"),
    [(8, 400), pytest.param(16, 400, marks=pytest.mark.slow), pytest.param(48, 1000, marks=pytest.mark.slow)],
)
def test_an_api_whose_size_is_unknown_is_kept_busy_with_few_questions(workers: int, jobs: int) -> None:
    """``auto`` finds out how many workers there are; the mean over batches is near what never idle ones would take."""
    rng = random.Random(6)
    ran = [run_following(lambda: 0.8 * rng.lognormvariate(-0.08, 0.4), jobs, workers) for _ in range(20)]
    assert sum(ratio for ratio, _ in ran) / len(ran) < 1.03
    assert sum(questions for _, questions in ran) / len(ran) < 2.15


@pytest.mark.slow
def test_a_batch_of_three_rounds_ends_soon_after_its_last_request() -> None:
    """Of so few rounds the last is a third: the mean over many batches is near the ideal, with few questions."""
    rng = random.Random(5)
    ran = [run_batch(lambda: 6 * rng.lognormvariate(-0.18, 0.6), 120, 40) for _ in range(40)]
    assert sum(ratio for ratio, _ in ran) / len(ran) < 1.045
    assert sum(questions for _, questions in ran) / len(ran) < 5.6


def test_in_the_end_one_is_left_alone_while_others_are_under_way() -> None:
    """An answer would change nothing: no slot is needed any more, and the run goes on anyway."""
    rng = random.Random(4)
    durations = learnt([rng.lognormvariate(0, 0.5) for _ in range(WINDOW)])
    old, *_ = [durations.watch("kind", started) for started in (0.0, *[1.0] * 20)]
    old.unfinished(1.0, waits=False)
    before = old.next_delay(1.0)
    durations.no_jobs_left = True
    now, looks = 1.0 + before, 0
    while not old.is_due(now):
        now += old.next_delay(now)
        looks += 1
    assert looks > 1
    assert 1.0 + before < now <= 1.0 + IDLE * 1.5


def test_in_the_end_one_that_waits_for_others_notices_that_they_ended() -> None:
    """It was left alone because others were under way; they end sooner than expected, and now its own end counts."""
    durations = learnt([1.0 + number / WINDOW for number in range(WINDOW)])
    old, *young = [durations.watch("kind", started) for started in (0.0, *[1.0] * 20)]
    old.unfinished(1.0, waits=False)
    durations.no_jobs_left = True
    due = 1.0 + old.next_delay(1.0)
    assert not old.is_due(due)
    look = due + old.next_delay(due)
    assert look - due <= RECHECK * 1.5
    for watch in young:
        watch.close()
    assert old.is_due(look)


def test_while_submissions_wait_for_their_turn_every_end_counts() -> None:
    """All jobs have a worker, but some were refused or wait for the rate: a free slot is still needed."""
    durations = learnt([1.0] * 50)
    durations.no_jobs_left = True
    assert durations.draining
    durations.submissions_wait = lambda: True
    assert not durations.draining


def test_in_the_end_one_of_which_nothing_is_known_holds_up_nobody() -> None:
    """It may end at any moment."""
    durations = learnt([1.0] * 50)
    one, other = durations.watch("kind", 0.0), durations.watch("another", 0.0)
    before = one.next_delay(0.5)
    durations.no_jobs_left = True
    assert one.next_delay(0.5) <= before
    assert durations.next_delay("another", 0.5) == other.next_delay(0.5)
