"""How long requests take, judged from those that ended and from those that have not yet."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.engine.pacing.durations import (
    GROUPS,
    SETTLED,
    TAIL_SHARE,
    WINDOW,
    DurationSample,
    are_alike,
    groups_of,
    product_limit,
)

TIMES = st.lists(st.floats(0, 1e4), max_size=40)


def test_without_unfinished_requests_every_time_weighs_the_same() -> None:
    assert product_limit([1.0, 2.0, 4.0, 8.0], []) == pytest.approx([0.25] * 4)


def test_a_published_example_of_the_product_limit() -> None:
    """Ends at 3, 11 and 12, losses at 2, 6 and 9: survival 4/5, then 2/5 (two at risk), then 0."""
    assert product_limit([3.0, 11.0, 12.0], [2.0, 6.0, 9.0]) == pytest.approx([0.2, 0.4, 0.4])


def test_the_quick_ones_that_end_first_do_not_speak_for_the_others() -> None:
    """Five of forty are done after two seconds: most are expected to take longer than any seen."""
    groups = groups_of([1.2, 1.4, 1.7, 1.8, 2.0], [2.0] * 35)
    assert sum(group.weight for group in groups if group.mean > 2.0) > 0.8


def test_what_is_unknown_is_drawn_along_the_observed_quantiles() -> None:
    """From the first half of a log-normal sample its upper quantile is foreseen within a third."""
    rng = random.Random(3)
    sample = sorted(rng.lognormvariate(1.0, 0.5) for _ in range(200))
    seen, late = sample[:100], sample[100:]
    groups = groups_of(seen, [seen[-1]] * len(late))
    passed, upper = 0.0, groups[-1].last
    for group in groups:
        passed += group.weight
        if passed >= 0.9:
            upper = group.last
            break
    assert upper == pytest.approx(sample[180], rel=0.34)


@settings(deadline=None, max_examples=examples(300))
@given(finished=TIMES.filter(bool), unfinished=TIMES)
def test_groups_are_a_distribution_in_order_of_time(finished: list[float], unfinished: list[float]) -> None:
    """Whatever was seen: weights add up to one, means lie within their groups, none is too coarse."""
    groups = groups_of(sorted(finished), unfinished)
    assert sum(group.weight for group in groups) == pytest.approx(1.0)
    assert [group.last for group in groups] == sorted(group.last for group in groups)
    assert all(group.mean <= group.last * (1 + 1e-9) + 1e-12 for group in groups)
    assert len(groups) <= GROUPS / TAIL_SHARE


def judgements(sample: DurationSample, times: list[float]) -> int:
    """How often the sample is judged anew while it learns these."""
    count = 0
    for seconds in times:
        sample.learn(seconds)
        if sample.has_changed():
            sample.judged([])
            count += 1
    return count


def drawn(seed: int, median: float = 1.0, count: int = WINDOW) -> list[float]:
    rng = random.Random(seed)
    return [median * rng.lognormvariate(0, 0.3) for _ in range(count)]


def full(times: list[float]) -> DurationSample:
    sample = DurationSample()
    judgements(sample, times)
    sample.judged([])
    return sample


@pytest.mark.parametrize("times", [[0.0] * WINDOW, [1.0, 2.0] * (WINDOW // 2), drawn(1)])
def test_times_like_those_before_are_not_judged_anew(times: list[float]) -> None:
    """But once in a while: a few slow ones hardly move the ranks of the others."""
    sample = full(times)
    assert judgements(sample, times[: WINDOW - 1]) == 0
    assert judgements(sample, times * (1 + SETTLED // WINDOW)) == 1


@pytest.mark.parametrize("others", [drawn(2, 1.3), drawn(2, 0.8), [1.0] * WINDOW, [*[6.0] * 20, *drawn(2)[20:]]])
def test_times_of_another_distribution_are_judged_anew(others: list[float]) -> None:
    """Slower, faster, less scattered, or a few much slower: seen within one window."""
    assert judgements(full(drawn(1)), others) > 0


def test_a_drift_so_slow_that_neighbours_look_alike_is_seen() -> None:
    """Times are compared with those judged last, not with those just before."""
    sample, rng = full(drawn(1)), random.Random(3)
    times = [(1 + n / 1000) * rng.lognormvariate(0, 0.3) for n in range(SETTLED)]
    assert judgements(sample, times) > 0


@given(times=TIMES)
def test_a_sample_is_like_itself_and_not_like_one_of_another_size(times: list[float]) -> None:
    """Only as many can be compared rank by rank; few are soon judged anew."""
    times = [0.0, *sorted(times)]
    assert are_alike(times, times)
    assert not are_alike(times, times[1:])


@given(times=st.lists(st.floats(0, 100), min_size=1, max_size=WINDOW + 50))
def test_a_sample_holds_the_last_times_in_order(times: list[float]) -> None:
    sample = DurationSample()
    for seconds in times:
        sample.learn(seconds)
    assert sample.ranked == sorted(times[-WINDOW:])
