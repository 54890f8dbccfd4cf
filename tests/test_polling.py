"""When to ask after a request: just when it should be ready, then as often as is still likely to help."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.polling import ENOUGH, FIRST, GROWTH, LONGEST, SHORTEST, WINDOW, Durations, best_questions

TIMES = st.lists(st.floats(0, 1000), max_size=60)


def learnt(seconds: list[float]) -> Durations:
    durations = Durations()
    for value in seconds:
        durations.learn("kind", value)
    return durations


@pytest.mark.parametrize(("age", "gap"), [(0.0, FIRST), (0.5, FIRST), (10.0, 10 * GROWTH), (1e6, LONGEST)])
@pytest.mark.parametrize("known", [0, ENOUGH - 1])
def test_before_anything_is_known_the_gap_grows_with_the_age(age: float, gap: float, known: int) -> None:
    """The first request of a run is asked after soon, and a slow one ever less often."""
    assert learnt([30.0] * known).gap("kind", age) == pytest.approx(gap)


def test_the_first_question_comes_when_the_request_should_be_ready() -> None:
    """Once it is known how long such requests take, nobody asks before."""
    assert learnt([4.0] * 10).gap("kind", 0.0) == pytest.approx(4.0)
    assert learnt([4.0] * 10).gap("kind", 3.0) == pytest.approx(1.0)


def test_beyond_all_that_was_ever_seen_the_gap_grows_again() -> None:
    """A request that is slower than any before it is not asked after in a tight loop."""
    assert learnt([4.0] * 10).gap("kind", 20.0) == pytest.approx(20 * GROWTH)


def test_a_service_that_answers_at_once_is_asked_at_once() -> None:
    """Where requests take no time, no time is spent waiting for them."""
    assert learnt([0.0] * 10).gap("kind", 0.0) == SHORTEST


def test_kinds_are_learnt_apart() -> None:
    """Large pictures do not slow down the questions about small ones."""
    assert learnt([9.0] * 10).gap("other", 0.0) == FIRST


def test_what_was_long_ago_is_forgotten() -> None:
    """When the service becomes faster, the questions follow."""
    assert learnt([9.0] * WINDOW + [1.0] * WINDOW).gap("kind", 0.0) == pytest.approx(1.0)


@settings(deadline=None, max_examples=300)
@given(seconds=TIMES, age=st.floats(0, 2000))
def test_every_gap_is_bounded(seconds: list[float], age: float) -> None:
    """No history makes a run ask without pause, or forget a request."""
    assert SHORTEST <= learnt(seconds).gap("kind", age) <= LONGEST


GROUPS = st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 1)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=200)
@given(steps=GROUPS, price=st.floats(0.001, 5))
def test_no_other_choice_of_times_is_cheaper(steps: list[tuple[float, float]], price: float) -> None:
    """The times asked at cost least, counting questions and unnoticed seconds: compared with every other choice."""
    total = sum(weight for _, weight in steps)
    now, groups = 0.0, []
    for step, weight in steps:
        now += step
        groups.append((now, now - step / 2, weight / total))

    def cost(asked: list[int]) -> float:
        bill, before = 0.0, 0
        for j in asked:
            bill += price * sum(p for _, _, p in groups[before:])
            bill += sum(p * (groups[j - 1][0] - mean) for _, mean, p in groups[before:j])
            before = j
        return bill

    following, chosen, at = best_questions(groups, price), [], 0
    while at < len(groups):
        at = following[at]
        chosen.append(at)
    last = len(groups)
    others = (
        [j for j, kept in zip(range(1, last), choice, strict=True) if kept] + [last]
        for choice in product([False, True], repeat=last - 1)
    )
    assert cost(chosen) <= min(map(cost, others)) + 1e-9


def simulate(draw: object, count: int) -> tuple[float, float, float]:
    """Mean duration, mean lag and questions a request, for requests one after the other that are learnt on the way."""
    durations, lag, questions, total = Durations(), 0.0, 0, 0.0
    for number in range(count):
        seconds = draw(number)  # type: ignore[operator]
        age = 0.0
        while True:
            age += durations.gap("kind", age)
            questions += 1
            if age >= seconds:
                break
        durations.learn("kind", seconds)
        lag += age - seconds
        total += seconds
    return total / count, lag / count, questions / count


@pytest.mark.parametrize("mean", [0.8, 6.0])
def test_lognormal_durations_are_met_with_few_questions(mean: float) -> None:
    """Unknown at first and learnt on the way: little lag, about three to six questions."""
    rng = random.Random(1)
    average, lag, questions = simulate(lambda _: mean * rng.lognormvariate(-0.08, 0.4), 1000)
    assert lag / average < 0.15
    assert questions < 6


def test_two_speeds_and_a_drift_are_followed() -> None:
    """The same policy, unchanged, on a model with a fast and a slow path, and on a service that slows down."""
    rng = random.Random(2)
    two = simulate(lambda _: rng.gauss(*((0.5, 0.03) if rng.random() < 0.7 else (4.0, 0.2))), 1000)
    drift = simulate(lambda n: (1 + n / 250) * rng.lognormvariate(-0.02, 0.2), 1000)
    for average, lag, questions in (two, drift):
        assert lag / average < 0.15
        assert questions < 5.5
