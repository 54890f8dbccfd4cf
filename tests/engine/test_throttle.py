"""When to try again, and when the next submission may leave: numbers, not sleep."""

from __future__ import annotations

from itertools import islice, pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.pacing.throttle import RateLimit, backoff


@settings(deadline=None)
@given(seed=st.integers(), base=st.floats(0.01, 5), cap=st.floats(5, 100))
def test_delays_grow_to_a_cap_and_are_never_nothing(seed: int, base: float, cap: float) -> None:
    """Repetitions spread out, none comes at once, and none waits longer than the cap."""
    ceiling = base
    for delay in islice(backoff(Random(seed), base=base, cap=cap), 30):
        assert ceiling * 0.1 <= delay <= ceiling
        assert delay <= cap
        ceiling = min(cap, ceiling * 2)


def wait_and_start(pace: RateLimit, now: float) -> float:
    """What a lane does: wait as long as it is told, and start."""
    wait = pace.wait(now)
    pace.take(now + wait)
    return wait


def test_two_runs_do_not_repeat_in_step() -> None:
    """Jitter keeps many clients from coming back together."""
    first = list(islice(backoff(Random(1)), 5))
    assert first != list(islice(backoff(Random(2)), 5))
    assert first == list(islice(backoff(Random(1)), 5))


@settings(deadline=None)
@given(
    per_second=st.floats(0.01, 1000),
    gaps=st.lists(st.floats(0, 100), min_size=1, max_size=50),
    start=st.floats(-1000, 1000),
)
def test_submissions_never_leave_faster_than_the_rate(per_second: float, gaps: list[float], start: float) -> None:
    """Whenever lanes ask, starts are at least one interval apart and never in the past."""
    pace, now, starts = RateLimit(per_second), start, []
    for gap in gaps:
        now += gap
        wait = wait_and_start(pace, now)
        assert wait >= 0
        starts.append(now + wait)
    assert all(later - earlier >= (1 / per_second) * (1 - 1e-6) - 1e-6 for earlier, later in pairwise(starts))


def test_the_first_submission_leaves_at_once_and_a_pause_saves_up_no_burst() -> None:
    """After a quiet hour the rate is the same as before."""
    pace = RateLimit(2.0)
    assert [wait_and_start(pace, 10.0), wait_and_start(pace, 10.0), wait_and_start(pace, 10.0)] == [0.0, 0.5, 1.0]
    assert [wait_and_start(pace, 3600.0), wait_and_start(pace, 3600.0)] == [0.0, 0.5]


@pytest.mark.parametrize("now", [0.0, -5.0, 1e9])
def test_without_a_rate_nothing_waits(now: float) -> None:
    """No rate in the manifest means no limit of our own."""
    pace = RateLimit(None)
    assert [wait_and_start(pace, now) for _ in range(3)] == [0.0, 0.0, 0.0]
