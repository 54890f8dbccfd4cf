"""What one shard may use of the lanes and of the budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import UsageError
from runner.core.models import Budget, Record, State
from runner.core.shards import MOST_SHARDS, Shard, shard_of, share, share_concurrency
from runner.engine.billing.budget import BudgetTracker
from runner.engine.billing.shares import allowance
from runner.engine.stop import Stop

COUNTS = st.integers(1, 9)
USD = st.integers(0, 10**12)


@given(USD, COUNTS)
def test_shares_sum_to_the_whole(count: int, of: int) -> None:
    """Nothing is left over and nothing is handed out twice; they differ by one at most."""
    parts = [share(count, shard) for shard in Shard(index=1, of=of).all]
    assert sum(parts) == count
    assert max(parts) - min(parts) <= 1


@given(st.integers(1, 1000), st.integers(1, MOST_SHARDS), st.data())
def test_every_shard_has_a_lane_or_none_runs(count: int, of: int, data: st.DataObject) -> None:
    """More shards than requests in flight is a mistake, and the message says what to write."""
    shard = Shard(index=data.draw(st.integers(1, of)), of=of)
    if count < of:
        with pytest.raises(UsageError, match=f"write `--concurrency {of}` or more"):
            share_concurrency(count, shard)
    else:
        assert share_concurrency(count, shard) >= 1


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


def spent_record(job_id: str, day: str | None, usd: float) -> Record:
    return Record(
        id=job_id,
        purchase=1,
        state=State.DONE,
        at="2026-11-22T01:02:03.456Z",
        api="a",
        manifest="-",
        model="m",
        inputs={},
        fingerprint="",
        file=job_id,
        cost_usd=usd,
        day=day,
    )


def id_in(index: int, of: int = 2) -> str:
    return next(f"job-{number}" for number in range(100) if shard_of(f"job-{number}", of) == index)


def test_a_daily_budget_is_divided_each_day() -> None:
    """What another shard has spent yesterday takes nothing from today's share; what has no day counts always."""
    day = ["2026-11-22"]
    tracker = BudgetTracker(Budget(usd=10.0, per_day=True), Stop(), lambda: day[0], Shard(index=1, of=2))
    tracker.load([spent_record(id_in(1), "2026-11-21", 4.0), spent_record(id_in(2), "2026-11-22", 8.0)])
    assert tracker.left_usd == pytest.approx(2.0)
    day[0] = "2026-11-23"
    assert tracker.left_usd == pytest.approx(5.0)
    tracker.load([spent_record(id_in(2), None, 6.0)])
    assert tracker.left_usd == pytest.approx(4.0)


def test_the_share_is_told_as_the_cap() -> None:
    """A display shows what this run may spend, not what all of them may."""
    tracker = BudgetTracker(Budget(usd=9.0), Stop(), lambda: None, Shard(index=3, of=3))
    tracker.load([])
    assert tracker.cap is not None
    assert tracker.cap.usd == 3.0
