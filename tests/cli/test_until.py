"""`--until HH:MM`: the moment nearest to now at which the clock on the wall shows it; `--for`: a duration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.commands.run import nearest_time, until_words

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
        ("2026-11-22T06:30:00+01:00", "06:30", "2026-11-22T06:30:00+01:00"),
        ("2026-11-22T09:00:00+01:00", "06:30", "2026-11-22T06:30:00+01:00"),
        ("2026-11-22T18:29:00+01:00", "06:30", "2026-11-22T06:30:00+01:00"),
        ("2026-11-22T18:31:00+01:00", "06:30", "2026-11-23T06:30:00+01:00"),
        ("2026-03-28T22:00:00+01:00", "06:30", "2026-03-29T06:30:00+02:00"),
        ("2026-10-24T22:00:00+02:00", "06:30", "2026-10-25T06:30:00+01:00"),
        ("2026-10-25T01:00:00+02:00", "02:15", "2026-10-25T02:15:00+02:00"),
        ("2026-10-25T02:30:00+02:00", "02:15", "2026-10-25T02:15:00+02:00"),
        ("2026-10-25T02:30:00+01:00", "02:15", "2026-10-25T02:15:00+01:00"),
        ("2026-03-29T01:00:00+01:00", "02:15", "2026-03-29T03:15:00+02:00"),
    ],
)
def test_nights_on_which_the_clocks_change_are_nights_as_any(now, text, then):
    """Half past six is half past six; of an hour that comes twice the next one; an hour left out counts on."""
    assert nearest_time(text, datetime.fromisoformat(now).timestamp()) == datetime.fromisoformat(then).timestamp()


@given(now=st.integers(1_700_000_000, 1_900_000_000), minutes=st.integers(0, 24 * 60 - 1))
def test_it_is_never_more_than_half_a_day_and_an_hour_away(now, minutes):
    """Whenever a run begins, and whatever hour is named."""
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    assert abs(timedelta(seconds=nearest_time(text, now) - now)) <= timedelta(hours=13)


def test_the_run_says_which_moment_it_means():
    """A run that starts late says that the time is over, and buys nothing until then or the next day."""
    now = datetime.fromisoformat("2026-11-22T09:00:00+01:00").timestamp()
    assert until_words(now + 5400, now) == "buying until 2026-11-22 10:30, 1 h 30 min from now"
    assert until_words(now - 9000, now).startswith("2026-11-22 06:30 was 2 h 30 min ago: this run buys nothing")


@pytest.mark.parametrize("text", ["1_0:30", "24:00", "06:60", "6", "06:30:00", "-1:30", ""])
def test_what_is_no_time_of_day_is_refused(text):
    """Exit 64 at once, and not a run that stops at a time that nobody meant."""
    with pytest.raises(ValueError, match=r"time data|unconverted"):
        nearest_time(text, 1.8e9)
