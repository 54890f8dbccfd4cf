"""The budget: what is reserved before a purchase, what a bill teaches, and who has to wait."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.models import Budget, Job, Record, State
from runner.core.shards import Shard
from runner.engine.billing.budget import BudgetTracker
from runner.engine.billing.prices import Price
from runner.engine.stop import Stop

PRICE = 0.01


def tracker(usd: float = 1.0, *, shard: Shard | None = None, price: float | None = PRICE) -> BudgetTracker:
    made = BudgetTracker(Budget(usd=usd), Stop(), lambda: "2026-11-22", shard)
    made.set_price("m", None if price is None else Price(usd=price))
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
    budget.set_price("m", Price(usd=0.01))
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
    assert budget.earlier_price("m") == Price(usd=0.01)


def clips(price: float | None = 0.1, default_seconds: int | None = None) -> BudgetTracker:
    """A budget of $10 and a model by the second."""
    made = BudgetTracker(Budget(usd=10.0), Stop(), lambda: "2026-11-22")
    by_second = None if price is None else Price(usd=price, per_second=True, default_seconds=default_seconds)
    made.set_price("m", by_second)
    return made


def clip(job_id: str, **inputs: Any) -> Job:
    return Job(id=job_id, model="m", inputs={"prompt": "x", **inputs}, fingerprint=job_id, file=job_id)


def bought(
    job_id: str, state: State = State.SUBMITTING, *, inputs: dict[str, Any] | None = None, **more: Any
) -> Record:
    fields: dict[str, Any] = {"at": "now", "api": "api", "manifest": "-", "day": "2026-11-22", **more}
    given = {"prompt": "x", **(inputs or {})}
    return Record(id=job_id, purchase=1, state=state, model="m", inputs=given, fingerprint="A", file="a", **fields)


def test_a_clip_reserves_its_price_for_each_second():
    """An integer, a text that is one, or the model's own default."""
    budget = clips(default_seconds=4)
    jobs = [clip("a", duration=2), clip("b", duration="10"), clip("c")]
    assert [budget.estimate(job) for job in jobs] == pytest.approx([0.2, 1.0, 0.4])
    assert [budget.priced_seconds(job) for job in jobs] == [2, 10, 4]


def test_a_bill_above_its_reserve_teaches_what_a_second_costs():
    """Two seconds were billed $0.40 and not $0.20: ten seconds reserve $2.00, those under way as well."""
    budget = clips()
    budget.load([bought("old", State.DONE, inputs={"duration": 1}, priced_seconds=1, request_id="r", cost_usd=0.1)])
    two = {"inputs": {"duration": 2}, "reserved_usd": 0.2, "priced_seconds": 2}
    ten = {"inputs": {"duration": "10"}, "reserved_usd": 1.0, "priced_seconds": 10}
    budget.reserve(bought("a", **two))
    budget.reserve(bought("b", **ten))
    budget.charge(bought("a", State.GENERATED, **two, request_id="r-a", cost_usd=0.4))
    assert budget.left_usd == pytest.approx(10.0 - 0.1 - 0.4 - 2.0)
    assert budget.estimate(clip("c", duration=10)) == pytest.approx(2.0)
    assert budget.estimate(clip("d", duration=1)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "earlier",
    [
        bought("a", State.DONE, inputs={"duration": "2"}, priced_seconds=2, request_id="r", cost_usd=0.4),
        bought("a", State.DONE, priced_seconds=2, request_id="r", cost_usd=0.4),
        bought("a", State.DONE, inputs={"duration": 2}, request_id="r", cost_usd=0.4),
    ],
    ids=["its own duration", "the model's default", "bought without a price"],
)
def test_what_a_second_costs_is_learnt_from_the_records_of_earlier_runs(earlier):
    """A new process reserves a clip of ten seconds by what one of two was billed."""
    budget = clips()
    budget.load([earlier])
    assert budget.estimate(clip("b", duration=10)) == pytest.approx(2.0)


def test_a_low_bill_for_a_second_never_lowers_a_reserve():
    """The price of the catalogue is the least."""
    budget = clips()
    budget.load([bought("a", State.DONE, inputs={"duration": 10}, priced_seconds=10, request_id="r", cost_usd=0.1)])
    assert budget.estimate(clip("b", duration=10)) == pytest.approx(1.0)


@pytest.mark.anyio
@pytest.mark.parametrize("inputs", [{}, {"duration": "auto"}, {"duration": 0}, {"duration": -1}, {"duration": None}])
async def test_a_clip_without_a_duration_is_never_bought_under_a_budget(inputs):
    """Nothing says what it costs, and a budget does not take it for free; the reason says what to write."""
    stop = Stop()
    budget = BudgetTracker(Budget(usd=10.0), stop, lambda: "2026-11-22")
    budget.set_price("m", Price(usd=0.1, per_second=True))
    assert budget.estimate(clip("a", **inputs)) is None
    assert not budget.admits(clip("a", **inputs))
    assert not await budget.acquire(clip("a", **inputs))
    assert stop.why is not None
    assert stop.why.exit_code == 65
    assert (
        "the price of m is per second, and a has no `duration` in seconds; add it, for example `duration: 5`"
        in stop.why.reason
    )


@pytest.mark.anyio
async def test_a_job_without_a_price_does_not_wait_for_others():
    """While something else is under way the run does not stand still for it."""
    stop = Stop()
    budget = BudgetTracker(Budget(usd=10.0), stop, lambda: "2026-11-22")
    budget.set_price("m", Price(usd=0.1, per_second=True))
    budget.set_price("n", None)
    budget.reserve(bought("a", inputs={"duration": 2}, reserved_usd=0.2, priced_seconds=2))
    assert not await budget.acquire(Job(id="b", model="n", inputs={}, fingerprint="b", file="b"))
    assert stop.why is not None
    assert "the price of b is unknown" in stop.why.reason


def test_a_clip_that_was_bought_without_a_price_counts_at_the_price_of_now():
    """By its duration; one that gave none counts for a second at least."""
    budget = clips()
    unknown = {"state": State.UNKNOWN, "reserved_usd": None}
    budget.load([bought("a", **unknown, inputs={"duration": 5}), bought("b", **unknown)])
    assert budget.left_usd == pytest.approx(10.0 - 0.5 - 0.1)


def test_an_owed_clip_that_was_bought_without_a_price_is_raised_by_the_second():
    """Another one's bill teaches what it may come to."""
    budget = clips()
    owed = [
        bought(name, State.SUBMITTED, inputs={"duration": seconds}, reserved_usd=None, request_id=name)
        for name, seconds in (("a", 2), ("b", 10))
    ]
    budget.load(owed)
    budget.track(owed)
    assert budget.left_usd == pytest.approx(10.0 - 0.2 - 1.0)
    budget.charge(bought("a", State.GENERATED, inputs={"duration": 2}, request_id="a", cost_usd=0.4))
    assert budget.left_usd == pytest.approx(10.0 - 0.4 - 2.0)


def test_the_earlier_price_by_the_second_keeps_the_models_default():
    """While the catalogue is away the records say for how many seconds they were reserved."""
    budget = clips(None)
    budget.load(
        [
            bought("a", State.DONE, reserved_usd=0.5, priced_seconds=5, request_id="r"),
            bought("b", State.DONE, inputs={"duration": 2}, reserved_usd=0.2, priced_seconds=2, request_id="s"),
        ]
    )
    assert budget.earlier_price("m") == Price(usd=0.1, per_second=True, default_seconds=5)


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
