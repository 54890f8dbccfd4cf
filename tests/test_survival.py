"""How long requests take, judged from those that ended and from those that have not yet."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.survival import GROUPS, TAIL_SHARE, groups_of, product_limit

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


@settings(deadline=None, max_examples=300)
@given(finished=TIMES.filter(bool), unfinished=TIMES)
def test_groups_are_a_distribution_in_order_of_time(finished: list[float], unfinished: list[float]) -> None:
    """Whatever was seen: weights add up to one, means lie within their groups, none is too coarse."""
    groups = groups_of(sorted(finished), unfinished)
    assert sum(group.weight for group in groups) == pytest.approx(1.0)
    assert [group.last for group in groups] == sorted(group.last for group in groups)
    assert all(group.mean <= group.last * (1 + 1e-9) + 1e-12 for group in groups)
    assert len(groups) <= GROUPS / TAIL_SHARE
