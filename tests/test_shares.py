"""What one shard may use of the lanes and of the budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.shards import Shard
from runner.shares import allowance, lanes, share

COUNTS = st.integers(1, 9)
USD = st.integers(0, 10**12)


@given(USD, COUNTS)
def test_shares_sum_to_the_whole(count: int, of: int) -> None:
    """Nothing is left over and nothing is handed out twice; they differ by one at most."""
    parts = [share(count, shard) for shard in Shard(index=1, of=of).all]
    assert sum(parts) == count
    assert max(parts) - min(parts) <= 1


@given(st.integers(1, 1000), st.integers(1, 1000), st.data())
def test_every_shard_has_a_lane_or_none_runs(count: int, of: int, data: st.DataObject) -> None:
    """More shards than requests in flight is a mistake, and the message says what to write."""
    shard = Shard(index=data.draw(st.integers(1, of)), of=of)
    if count < of:
        with pytest.raises(UsageError, match=f"write `--concurrency {of}` or more"):
            lanes(count, shard)
    else:
        assert lanes(count, shard) >= 1


def given_to(budget: int, spent: list[int]) -> list[int]:
    """What each shard would be given now."""
    by_index = dict(enumerate(spent, 1))
    return [allowance(budget, shard, by_index) for shard in Shard(index=1, of=len(spent)).all]


@given(USD, st.lists(USD, min_size=1, max_size=7))
def test_nobody_is_given_more_than_the_share(budget: int, spent: list[int]) -> None:
    """And what is given beside what shards over their share have spent is within the budget, if that is."""
    given = given_to(budget, spent)
    assert all(
        part <= share(budget, shard) for part, shard in zip(given, Shard(index=1, of=len(spent)).all, strict=True)
    )
    reach = sum(map(max, given, spent))
    assert reach <= max(budget, sum(spent))


@given(USD, st.lists(USD, min_size=2, max_size=7), st.data())
def test_the_more_others_have_spent_the_less_is_given(budget: int, spent: list[int], data: st.DataObject) -> None:
    """So what was given earlier is never more than what would be given once others have come down."""
    number = data.draw(st.integers(1, len(spent) - 1))
    less = [*spent[:number], data.draw(st.integers(0, spent[number])), *spent[number + 1 :]]
    assert given_to(budget, spent)[0] <= given_to(budget, less)[0]


def test_an_even_past_leaves_the_shares() -> None:
    """Who keeps within the share changes nothing for the others."""
    assert given_to(100, [25, 10, 0, 3]) == [25, 25, 25, 25]
    assert given_to(100, [20, 10, 0, 40]) == [20, 20, 20, 25]
    assert given_to(100, [0, 22, 0, 40]) == [19, 20, 19, 25]
    assert given_to(100, [0, 90, 0, 40]) == [0, 20, 0, 3]


EVENTS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["start", "buy", "refund"]), st.integers(1, 60)))


@given(st.integers(0, 200), st.lists(st.integers(0, 80), min_size=1, max_size=7), EVENTS)
def test_the_cap_holds_however_runs_are_interleaved(
    budget: int, spent: list[int], events: list[tuple[int, str, int]]
) -> None:
    """Shards start when they like, buy in any order, have bills come in below their reserves, and start again."""
    shards = Shard(index=1, of=len(spent)).all
    before = sum(spent)
    limits = [0] * len(spent)
    for number, event, amount in events:
        shard = number % len(spent)
        if event == "start":
            limits[shard] = allowance(budget, shards[shard], dict(enumerate(spent, 1)))
        elif event == "buy" and spent[shard] + amount <= limits[shard]:
            spent[shard] += amount
        elif event == "refund":
            spent[shard] -= min(spent[shard], amount)
        assert sum(spent) <= max(budget, before)
