"""`--until HH:MM`: the next time that the clock on the wall shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.commands.run import next_time

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture(autouse=True, scope="module")
def _berlin() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", BERLIN)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("now", "text", "then"),
    [
        ("2026-11-22T22:00:00+01:00", "06:30", "2026-11-23T06:30:00+01:00"),
        ("2026-11-22T05:00:00+01:00", "06:30", "2026-11-22T06:30:00+01:00"),
        ("2026-11-22T06:30:00+01:00", "06:30", "2026-11-23T06:30:00+01:00"),
        ("2026-03-28T22:00:00+01:00", "06:30", "2026-03-29T06:30:00+02:00"),
        ("2026-10-24T22:00:00+02:00", "06:30", "2026-10-25T06:30:00+01:00"),
        ("2026-10-25T01:00:00+02:00", "02:15", "2026-10-25T02:15:00+02:00"),
        ("2026-10-25T02:30:00+02:00", "02:15", "2026-10-25T02:15:00+01:00"),
        ("2026-10-25T02:30:00+01:00", "02:15", "2026-10-26T02:15:00+01:00"),
        ("2026-03-29T01:00:00+01:00", "02:15", "2026-03-29T03:15:00+02:00"),
    ],
)
def test_nights_on_which_the_clocks_change_are_nights_as_any(now, text, then):
    """Half past six is half past six; of an hour that comes twice the next one; an hour left out counts on."""
    assert next_time(text, datetime.fromisoformat(now).timestamp()) == datetime.fromisoformat(then).timestamp()


@given(now=st.integers(1_700_000_000, 1_900_000_000), minutes=st.integers(0, 24 * 60 - 1))
def test_it_is_never_past_and_never_more_than_a_day_and_an_hour_away(now, minutes):
    """Whenever a run begins, and whatever hour is named."""
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    then = next_time(text, now)
    assert timedelta(0) < timedelta(seconds=then - now) <= timedelta(hours=25)


@pytest.mark.parametrize("text", ["1_0:30", "24:00", "06:60", "6", "06:30:00", "-1:30", ""])
def test_what_is_no_time_of_day_is_refused(text):
    """Exit 64 at once, and not a run that stops at a time that nobody meant."""
    with pytest.raises(ValueError, match=r"time data|unconverted"):
        next_time(text, 1.8e9)
