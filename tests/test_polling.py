"""When to ask after a request: just when it should be ready, then as often as is still likely to help."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.polling import CONFIDENCE, ENOUGH, FIRST, GROWTH, LONGEST, SHORTEST, WINDOW, Durations

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
    durations = learnt([9.0] * 10)
    assert durations.gap("other", 0.0) == FIRST


def test_what_was_long_ago_is_forgotten() -> None:
    """When the service becomes faster, the questions follow."""
    durations = learnt([9.0] * WINDOW + [1.0] * WINDOW)
    assert durations.gap("kind", 0.0) == pytest.approx(1.0)


@settings(deadline=None, max_examples=300)
@given(seconds=TIMES, age=st.floats(0, 2000))
def test_every_gap_is_bounded(seconds: list[float], age: float) -> None:
    """No history makes a run ask without pause, or forget a request."""
    assert SHORTEST <= learnt(seconds).gap("kind", age) <= LONGEST


@settings(deadline=None, max_examples=300)
@given(seconds=TIMES, age=st.floats(0, 2000))
def test_the_next_question_comes_as_soon_as_it_is_likely_enough_to_succeed(seconds: list[float], age: float) -> None:
    """By the time of the question so much of the remaining probability has passed, and before it less."""
    left = sorted(value for value in seconds if value >= age)
    if len(seconds) < ENOUGH or not left:
        return
    gap = learnt(seconds).gap("kind", age)
    candidates = [
        value - age for value in left if sum(other <= value for other in left) >= CONFIDENCE * len(left) - 1e-9
    ]
    assert gap == pytest.approx(min(LONGEST, max(SHORTEST, candidates[0])))


@settings(deadline=None)
@given(seconds=st.lists(st.floats(0, 100), min_size=1, max_size=3 * WINDOW), age=st.floats(0, 100))
def test_only_the_last_requests_decide(seconds: list[float], age: float) -> None:
    """However long a run is, it remembers a fixed number of durations."""
    assert learnt(seconds).gap("kind", age) == learnt(seconds[-WINDOW:]).gap("kind", age)
