"""The end of a run: nobody is asked as long as others keep it going anyway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, prod

from hypothesis import given
from hypothesis import strategies as st

from runner.engine.pacing.last_requests import MAY, STEPS, Ended, idle_seconds


def ends(means: Sequence[float]) -> Ended:
    return lambda seconds: [1.0 - exp(-seconds / mean) for mean in means]


@given(means=st.lists(st.floats(0.01, 100), max_size=40), most=st.floats(0.1, 1000))
def test_one_waits_until_all_others_may_have_ended_and_no_longer(means: list[float], most: float) -> None:
    """Before, an answer would change nothing; afterwards, the end of the run may depend on it."""
    others = ends(means)
    idle = idle_seconds(others, most)
    fine = most / 2**STEPS
    assert 0.0 <= idle <= most
    assert idle == most or prod(others(idle)) >= MAY
    assert prod(others(idle - fine)) < MAY or idle <= fine


def test_the_last_one_is_not_left_alone() -> None:
    """Where no other is left, or all others have probably ended unnoticed, its end is the end of the run."""
    assert idle_seconds(lambda _: [], 10.0) == 0.0
    assert idle_seconds(lambda _: [1.0, 0.9], 10.0) == 0.0


def test_one_that_will_certainly_take_longer_is_waited_for() -> None:
    """At most so long as is asked for: it might be stuck."""
    assert idle_seconds(lambda _: [0.0], 10.0) == 10.0


def test_of_a_great_many_only_the_first_are_looked_at() -> None:
    """A few that are surely under way answer the question: it must not take longer with a thousand others."""
    looked = 0

    def others(_: float) -> Iterator[float]:
        nonlocal looked
        for _ in range(1000):
            looked += 1
            yield 0.05

    assert idle_seconds(others, 10.0) == 10.0
    assert looked == 4
