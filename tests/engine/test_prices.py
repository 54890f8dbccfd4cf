"""Prices by the output and by the second, and what of a job they depend on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.models import MOST_USD, Record, State
from runner.engine.billing.prices import Extent, Price, extent_of, price_in, price_of, price_words, read_seconds


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
        ({"base_price_usd": 0.01, "price_unit": "minute"}, None),
        ({"base_price_usd": 0.01, "price_unit": None}, None),
        ({"base_price_usd": 0.01, "price_unit": 3}, None),
        ({"base_price_usd": 0.01, "price_unit": ["second"]}, None),
    ],
)
def test_a_price_that_is_missing_or_malformed_is_unknown_and_never_free(
    entry: dict[str, Any], price: float | None
) -> None:
    """Only a number for a unit that is known is a price."""
    assert price_of(entry) == (None if price is None else Price(usd=price))


@pytest.mark.parametrize(
    ("schema", "seconds"),
    [
        ({"properties": {"duration": {"type": "integer", "default": 5}}}, 5),
        ({"properties": {"duration": {"type": "string", "enum": ["5", "10"], "default": "10"}}}, 10),
        ({"properties": {"duration": {"type": "integer"}}}, None),
        ({"properties": {"duration": {"type": "integer", "default": None}}}, None),
        ({"properties": {"duration": {"default": "auto"}}}, None),
        ({"properties": {"duration": 5}}, None),
        ({"properties": [5]}, None),
        ({"properties": {"seconds": {"default": 5}}}, None),
        ([5], None),
        (None, None),
    ],
)
def test_a_price_by_the_second_knows_the_models_own_duration(schema: object, seconds: int | None) -> None:
    """Where a job gives none, the default of the schema is what is billed; a malformed one is none."""
    entry = {"base_price_usd": 0.05, "price_unit": "second", "input_schema": schema}
    assert price_of(entry) == Price(usd=0.05, per_second=True, default_seconds=seconds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5),
        ("5", 5),
        (" 10 ", 10),
        (5.0, 5),
        (5.2, 6),
        (0, None),
        ("0", None),
        (-1, None),
        ("-1", None),
        (True, None),
        (None, None),
        ("", None),
        ("5s", None),
        ("auto", None),
        ("\u0665", None),
        ("1e3", None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ("9" * 5000, None),
        ([5], None),
        ({"seconds": 5}, None),
    ],
)
def test_a_malformed_duration_gives_no_amount(value: object, seconds: int | None) -> None:
    """An integer, or a text that is one; zero, less and anything else is unknown, and never free."""
    assert read_seconds(value) == seconds
    price = Price(usd=0.1, per_second=True, default_seconds=7)
    expected = None if seconds is None else pytest.approx(0.1 * seconds)
    assert price.least(extent_of({"duration": value})) == expected
    assert price.most(extent_of({"duration": value})) == expected


def test_a_job_that_leaves_the_duration_to_the_model_is_priced_by_its_default() -> None:
    """Without a default nothing says what it costs."""
    extent = extent_of({"prompt": "a mug"})
    assert Price(usd=0.1, per_second=True, default_seconds=7).least(extent) == pytest.approx(0.7)
    assert Price(usd=0.1, per_second=True).least(extent) is None
    assert Price(usd=0.1).least(extent) == 0.1


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
    assert Price(usd=0.0045).most(extent_of(inputs)) == pytest.approx(0.0045 * times)


@settings(deadline=None)
@given(
    usd=st.floats(0, 100),
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    seconds=st.integers(1, 600),
    more=st.integers(0, 512),
)
def test_a_larger_or_longer_output_never_reserves_less(
    usd: float, width: int, height: int, seconds: int, more: int
) -> None:
    """The reserve is at least the base price, and grows with the size and the duration."""
    for price in (Price(usd=usd), Price(usd=usd, per_second=True)):
        small = extent_of({"width": width, "height": height, "duration": seconds})
        large = extent_of({"width": width + more, "height": height, "duration": seconds + more})
        least, most, larger = price.least(small), price.most(small), price.most(large)
        assert least is not None
        assert most is not None
        assert larger is not None
        assert least <= most <= larger


def test_no_estimate_is_beyond_all_reason() -> None:
    """A stranger's catalogue cannot make sums that no budget can be compared with."""
    assert Price(usd=MOST_USD, per_second=True).most(Extent(10**12, 10**6)) == MOST_USD


def purchase(reserved: float | None, seconds: int | None = None, **inputs: Any) -> Record:
    fields: dict[str, Any] = {"at": "now", "api": "api", "manifest": "-", "fingerprint": "A", "file": "a"}
    return Record(
        id="a",
        purchase=1,
        state=State.DONE,
        model="m",
        inputs=inputs,
        reserved_usd=reserved,
        priced_seconds=seconds,
        **fields,
    )


@pytest.mark.parametrize(
    ("record", "price"),
    [
        (purchase(None), None),
        (purchase(0.05, width=2048, height=2048), Price(usd=0.01)),
        (purchase(0.05, duration=5), Price(usd=0.05)),
        (purchase(0.05, 5, duration=5), Price(usd=0.01, per_second=True)),
        (purchase(0.05, 5), Price(usd=0.01, per_second=True, default_seconds=5)),
        (purchase(0.05, -5), Price(usd=0.05)),
        (purchase(0.05, 10**30), Price(usd=0.05)),
    ],
)
def test_the_price_of_an_earlier_purchase_is_read_from_its_record(record: Record, price: Price | None) -> None:
    """By the second where the record says for how many seconds; a number that is no duration is none."""
    assert price_in(record) == price


def test_a_price_is_said_with_its_unit() -> None:
    """An unknown one is said to be unknown, a small one is not rounded to nothing."""
    assert price_words(Price(usd=0.00002)) == "from $2e-05 each"
    assert price_words(Price(usd=0.05, per_second=True)) == "from $0.05 a second"
    assert price_words(None) == "price unknown"
