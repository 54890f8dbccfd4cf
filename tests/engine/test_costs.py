"""What purchases cost: reserved on the high side, settled by the bill."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.models import Record, State
from runner.engine.billing.costs import base_price, reserve, spent


@pytest.mark.parametrize(
    ("entry", "price"),
    [
        ({"base_price_usd": 0.0045, "price_unit": "output"}, 0.0045),
        ({"base_price_usd": 1}, 1.0),
        ({"base_price_usd": 0}, 0.0),
        ({}, None),
        ({"base_price_usd": None}, None),
        ({"base_price_usd": "0.0045"}, None),
        ({"base_price_usd": True}, None),
        ({"base_price_usd": -1}, None),
        ({"base_price_usd": 10**400}, None),
        ({"base_price_usd": float("nan")}, None),
        ({"base_price_usd": float("inf")}, None),
        ({"base_price_usd": [1]}, None),
        ({"base_price_usd": 0.01, "price_unit": "second"}, None),
        ({"base_price_usd": 0.01, "price_unit": None}, None),
        ({"base_price_usd": 0.01, "price_unit": 3}, None),
    ],
)
def test_a_price_that_is_missing_or_malformed_is_unknown_and_never_free(
    entry: dict[str, Any], price: float | None
) -> None:
    """Only a number per output is a price."""
    assert base_price(entry) == price


@pytest.mark.parametrize(
    ("inputs", "times"),
    [
        ({}, 1),
        ({"width": 64, "height": 64}, 1),
        ({"width": 1000, "height": 1000}, 1),
        ({"width": 1024, "height": 1024}, 2),
        ({"width": 1536, "height": 864}, 2),
        ({"width": 2048, "height": 2048}, 5),
        ({"width": 2048}, 1),
        ({"width": "2048", "height": "2048"}, 1),
        ({"width": True, "height": True}, 1),
        ({"width": 0, "height": 5}, 1),
        ({"width": -2000, "height": 2000}, 1),
    ],
)
def test_every_megapixel_begun_is_reserved(inputs: dict[str, Any], times: int) -> None:
    """A large picture reserves more, an odd size never less than the base price."""
    assert reserve(0.0045, inputs) == pytest.approx(0.0045 * times)


def test_an_unknown_price_reserves_an_unknown_amount() -> None:
    """Where the catalogue names no price, none is made up."""
    assert reserve(None, {"width": 64, "height": 64}) is None


@settings(deadline=None)
@given(
    price=st.floats(0, 100),
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    more=st.integers(0, 512),
)
def test_a_larger_picture_never_reserves_less(price: float, width: int, height: int, more: int) -> None:
    """The reserve is at least the base price, and grows with the size."""
    small = reserve(price, {"width": width, "height": height})
    large = reserve(price, {"width": width + more, "height": height})
    assert small is not None
    assert large is not None
    assert price <= small <= large


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
