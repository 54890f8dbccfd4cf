"""The budget: what is reserved before a purchase, what a bill teaches, and who has to wait."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.models import Budget, Job, Record, State
from runner.core.shards import Shard
from runner.engine.billing.budget import BudgetTracker
from runner.engine.stop import Stop

PRICE = 0.01


def tracker(usd: float = 1.0, *, shard: Shard | None = None, price: float | None = PRICE) -> BudgetTracker:
    made = BudgetTracker(Budget(usd=usd), Stop(), lambda: "2026-11-22", shard)
    made.set_price("m", price)
    return made


def job(job_id: str = "mug", side: int = 512) -> Job:
    inputs = {"prompt": "a mug", "width": side, "height": side}
    return Job(id=job_id, model="m", inputs=inputs, fingerprint=job_id, file=job_id)


def record(job_id: str = "mug", state: State = State.SUBMITTING, side: int = 512, **more: Any) -> Record:
    fields: dict[str, Any] = {"model": "m", "reserved_usd": PRICE, "day": "2026-11-22", **more}
    return Record(
        id=job_id,
        purchase=1,
        state=state,
        at="now",
        api="api",
        manifest="-",
        inputs={"prompt": "a mug", "width": side, "height": side},
        fingerprint=job_id,
        file=job_id,
        **fields,
    )


def test_until_the_first_bill_one_purchase_of_a_kind_is_under_way():
    """Its bill may be higher than the price says: all slots together would go beyond the cap by as much."""
    budget = tracker()
    budget.reserve(record("a"))
    assert not budget.admits(job("b"))
    budget.charge(record("a", State.GENERATED, request_id="r", cost_usd=0.02))
    assert budget.admits(job("b"))
    budget.reserve(record("b"))
    assert budget.admits(job("c"))


@pytest.mark.parametrize("state", [State.UNKNOWN, State.RELEASED, State.FAILED])
def test_a_first_purchase_without_a_request_teaches_nothing(state):
    """In doubt or refused, it says nothing of the bill: the next one goes alone, too."""
    budget = tracker()
    budget.reserve(record("a"))
    budget.charge(record("a", state))
    assert budget.admits(job("b"))
    budget.reserve(record("b"))
    assert not budget.admits(job("c"))


def test_a_first_purchase_with_a_request_and_no_bill_ends_the_waiting():
    """Some services name no cost: then all go together from the second on."""
    budget = tracker()
    budget.reserve(record("a"))
    budget.charge(record("a", State.GENERATED, request_id="r"))
    budget.reserve(record("b"))
    assert budget.admits(job("c"))


def test_a_cancelled_purchase_that_cost_nothing_teaches_nothing():
    """Loaded from an earlier run, it is no bill of its kind: the first of this run goes alone."""
    budget = tracker()
    budget.load([record("a", State.CANCELLED, request_id="r", cost_usd=0.0)])
    budget.reserve(record("b"))
    assert not budget.admits(job("c"))


def test_a_low_bill_never_lowers_a_reserve():
    """A discount for one picture is no promise for the next."""
    budget = tracker()
    budget.load([record("a", State.DONE, request_id="r", cost_usd=0.001)])
    assert budget.estimate(job("b")) == PRICE


def test_a_low_bill_leaves_what_others_under_way_are_reserved_at():
    """Their own bills may be as high as the price says."""
    budget = tracker()
    budget.load([record("a", State.DONE, request_id="r", cost_usd=0.001)])
    for name in ("b", "c"):
        budget.reserve(record(name))
    budget.charge(record("b", State.GENERATED, request_id="r-b", cost_usd=0.001))
    assert budget.left_usd == pytest.approx(1.0 - 0.001 - 0.001 - PRICE)


def test_a_high_bill_raises_every_reserve_of_its_kind():
    """Those under way as well: they will be billed alike."""
    budget = tracker()
    budget.load([record("a", State.DONE, request_id="r", cost_usd=0.05)])
    assert budget.estimate(job("b")) == 0.05
    for name in ("b", "c"):
        budget.reserve(record(name, reserved_usd=0.05))
    budget.charge(record("b", State.GENERATED, request_id="r-b", cost_usd=0.07))
    assert budget.left_usd == pytest.approx(1.0 - 0.05 - 0.07 - 0.07)


def test_a_new_price_shrinks_what_a_shard_may_spend():
    """What others bought without a known price counts at the price of now, so their part grows and ours shrinks."""
    mine = Shard(index=1, of=2)
    budget = tracker(shard=mine, price=None)
    unpriced = [record(f"j{number}", State.UNKNOWN, reserved_usd=None) for number in range(140)]
    others = sum(not mine.owns(one.id) for one in unpriced)
    budget.load(one for one in unpriced if not mine.owns(one.id))
    before = budget.cap
    budget.set_price("m", 0.01)
    after = budget.cap
    assert before is not None
    assert after is not None
    assert 0.5 < others * 0.01 < 1.0
    assert after.usd == pytest.approx(1.0 - others * 0.01)
    assert before.usd == pytest.approx(0.5)


def test_an_owed_purchase_that_was_made_without_a_price_counts_at_the_price_of_now():
    """It is collected under a budget like any other."""
    budget = tracker()
    owed = record("a", State.SUBMITTED, reserved_usd=None, request_id="r", side=2048)
    budget.load([owed])
    budget.track([owed])
    assert budget.left_usd == pytest.approx(1.0 - 5 * PRICE)
    budget.charge(record("a", State.GENERATED, reserved_usd=None, request_id="r", cost_usd=0.03, side=2048))
    assert budget.left_usd == pytest.approx(1.0 - 0.03)


def test_the_earlier_price_is_that_of_one_megapixel():
    """While the catalogue is away a large picture's reserve does not make small ones dear."""
    budget = tracker(price=None)
    budget.load([record("a", State.DONE, side=2048, reserved_usd=0.05, request_id="r")])
    assert budget.earlier_price("m") == pytest.approx(0.01)


def test_a_purchase_of_a_model_that_never_had_a_price_counts_nothing():
    """Nothing says what it came to: it neither uses the budget up nor makes it larger."""
    budget = tracker()
    budget.load([record("a", State.UNKNOWN, reserved_usd=None, model="free")])
    assert budget.left_usd == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("per_day", "today", "left"), [(False, "2026-11-22", 0.94), (True, "2026-11-22", 0.95), (True, None, 0.94)]
)
def test_a_daily_budget_counts_today_and_what_has_no_day_and_another_counts_all(per_day, today, left):
    """What was spent yesterday is gone only where the budget is one of a day, and the API has said which it is."""
    budget = BudgetTracker(Budget(usd=1.0, per_day=per_day), Stop(), lambda: today)
    days = {"a": "2026-11-22", "b": None, "c": "2026-11-21"}
    costs = {"a": 0.03, "b": 0.02, "c": 0.01}
    budget.load(record(name, State.DONE, request_id=name, day=days[name], cost_usd=costs[name]) for name in days)
    assert budget.left_usd == pytest.approx(left)


def test_a_job_fits_if_its_reserve_does():
    """To the last cent, and no further."""
    budget = tracker(0.02)
    budget.load([record("a", State.DONE, request_id="r", cost_usd=PRICE)])
    assert budget.admits(job("b"))
    assert budget.room([job("b"), job("c")]) == 1
    budget.reserve(record("b"))
    assert not budget.admits(job("c"))
    assert budget.cap is not None
    assert (budget.cap.spent_usd, budget.cap.reserved_usd) == (pytest.approx(PRICE), pytest.approx(PRICE))


def test_without_a_budget_there_is_no_cap_and_no_wait():
    """Nothing is reserved, and all go together."""
    budget = BudgetTracker(None, Stop(), lambda: None)
    budget.reserve(record("a"))
    assert (budget.cap, budget.admits(job("b"))) == (None, True)
