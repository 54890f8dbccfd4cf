"""What purchases cost: reserved on the high side, settled by the bill."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.models import Job, Record, State
from runner.engine.billing.costs import Estimate, spent
from runner.engine.billing.prices import Price, WithoutDuration


def record(state: State, cost: float | None = None, reserved: float | None = 0.5, **more: Any) -> Record:
    return Record(
        id="mug",
        purchase=1,
        state=state,
        at="now",
        api="api",
        manifest="-",
        model="m",
        inputs={},
        fingerprint="A",
        file="mug",
        cost_usd=cost,
        reserved_usd=reserved,
        **more,
    )


@pytest.mark.parametrize(
    ("purchase", "usd"),
    [
        (record(State.SUBMITTING), 0.5),
        (record(State.UNKNOWN), 0.5),
        (record(State.SUBMITTED), 0.5),
        (record(State.GENERATED), 0.5),
        (record(State.GENERATED, 0.25), 0.25),
        (record(State.DONE), 0.5),
        (record(State.DONE, 0.25), 0.25),
        (record(State.DONE, 0.75), 0.75),
        (record(State.DONE, 0.0), 0.0),
        (record(State.DONE, None, None), 0.0),
        (record(State.FAILED, request_id="req_1"), 0.5),
        (record(State.FAILED), 0.0),
        (record(State.FAILED, 0.0), 0.0),
        (record(State.FAILED, 0.1), 0.1),
        (record(State.CANCELLED), 0.0),
        (record(State.CANCELLED, 0.1), 0.1),
        (record(State.RELEASED), 0.0),
        (record(State.DONE, 0.25, restored_from=1), 0.0),
    ],
)
def test_a_purchase_counts_at_its_bill_or_else_at_its_reserve(purchase: Record, usd: float) -> None:
    """Open questions and unbilled failures count in full; what was never bought, or paid elsewhere, does not."""
    assert spent(purchase) == usd


def job(job_id: str, **inputs: Any) -> Job:
    return Job(id=job_id, model=inputs.pop("model", "m"), inputs=inputs, fingerprint=job_id, file=job_id)


def test_jobs_are_summed_by_their_duration() -> None:
    """By the second: price times duration at least, and for every megapixel begun at most."""
    estimate = Estimate()
    for made in (job("a", duration=2), job("b", duration="10", width=1920, height=1080), job("c")):
        estimate.add(made)
    prices = {"m": Price(usd=0.1, per_second=True, default_seconds=5)}
    assert estimate.range_usd(prices) == pytest.approx((1.7, 0.2 + 3.0 + 0.5))
    assert (estimate.seconds("m", prices["m"]), estimate.without_duration(prices)) == (17, [])


def test_jobs_without_a_duration_are_named_and_never_free() -> None:
    """They are no part of the sum, and where nothing else is there is none."""
    estimate = Estimate()
    for made in (job("a", duration=2), job("b"), job("c", duration="soon"), job("d", model="other")):
        estimate.add(made)
    prices = {"m": Price(usd=0.1, per_second=True), "other": Price(usd=0.1)}
    assert estimate.without_duration(prices) == [WithoutDuration("m", 2, "b")]
    assert estimate.range_usd(prices) == pytest.approx((0.3, 0.3))
    unknown = Estimate()
    unknown.add(job("b"))
    assert (unknown.range_usd(prices), unknown.range_usd({})) == (None, None)
