"""The plots: true to the records, bare of everything that loads or runs."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from random import Random
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.results_folder import record

from runner.core.models import State
from runner.report.charts import POINTS, capacity, draw, in_flight, plots, stairs, thin

NUMBERS = st.floats(0, 1e6, allow_nan=False)
SERIES = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=3 * POINTS).map(sorted)


def request(number: int, **more):
    times = {
        "submitted_at": f"2026-11-22T10:00:{number:02d}.000Z",
        "completed_at": f"2026-11-22T10:01:{number:02d}.500Z",
    }
    return record(f"j{number}", request_id="r", cost_usd=0.01, **{**times, **more})


def test_three_plots_say_what_they_show():
    """Each has a sentence for those who do not see it, and the figures are the records'."""
    drawn = plots([request(number) for number in range(20)])
    assert [plot.title for plot in drawn] == ["Duration of a request", "Requests in flight", "Cost so far"]
    assert "half took up to 60.5 s, the slowest 60.5 s" in drawn[0].says
    assert "At most 20 at a time" in drawn[1].says
    assert "$0.2000" in drawn[2].says


def test_the_plot_of_requests_in_flight_says_how_many_the_api_worked_on():
    """Sixteen workers, and from 4 to 40 requests in flight: the durations show the sixteen. A few show nothing."""

    def at(seconds: float) -> str:
        return f"2026-11-22T10:{int(seconds) // 60:02d}:{seconds % 60:06.3f}Z"

    rng = Random(1)
    purchases, free, begun = [], [0.0] * 16, [0.0] * 4
    for number in range(1600):
        begin = begun.pop(0)
        end = max(begin, free[0]) + rng.uniform(0.5, 1.5)
        free = sorted([*free[1:], end])
        begun = sorted([*begun, end, *([end] if number % 40 == 0 and len(begun) < 40 else [])])
        purchases.append(request(0, submitted_at=at(begin), completed_at=at(end)))
    assert 14 <= capacity(purchases) <= 18
    assert "; the API worked on about 1" in plots(purchases)[1].says
    assert capacity(purchases[:6]) is None


@pytest.mark.parametrize(
    "purchases",
    [
        [],
        [record("a", State.UNKNOWN)],
        [request(1, submitted_at="yesterday")],
        [request(1, completed_at="2020-01-01T00:00:00.000Z")],
    ],
    ids=["none", "no times", "no time", "ended before it began"],
)
def test_without_times_there_is_nothing_to_draw(purchases):
    """A folder of failures, and times that are none."""
    assert plots(purchases) == []


def test_a_single_request_can_be_drawn():
    """The first picture of a batch."""
    assert len(plots([request(1)])) == 3


def test_an_svg_only_draws():
    """No script, style, link or address of the library; an image with a name; sizes from its box alone."""
    for plot in plots([request(number) for number in range(9)]):
        assert not re.search(r"script|style|href|http|//|<desc|<!--|on\w+=", plot.svg)
        root = ET.fromstring(plot.svg)
        assert (root.get("role"), root.get("aria-label"), root.get("width")) == ("img", plot.title, None)
        assert {element.tag for element in root.iter()} <= {"svg", "g", "rect", "path", "circle", "text"}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_a_title_is_text(title):
    """Whatever a plot is called, it has the same elements."""
    try:
        root = ET.fromstring(draw(title, [(0, 0), (1, 2)], str, str))
    except ET.ParseError:
        assert not title.isprintable()  # letters that XML does not have
        return
    assert root.get("aria-label") == title


def test_the_library_leaves_no_finder_behind():
    """Its own makes every failed import of the program warn, or fail."""
    assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("pygal")]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40))
def test_requests_in_flight_are_counted_right(pairs):
    """At every moment as many as have begun and not ended."""
    spans = [(min(pair), max(pair)) for pair in pairs]
    steps = in_flight(spans)
    assert steps[-1][1] == 0
    for moment in range(51):
        count = next((count for when, count in reversed(steps) if when <= moment), 0)
        assert count == sum(begin <= moment < end for begin, end in spans)


@given(SERIES)
def test_thinning_keeps_peaks_and_the_end(points):
    """A long batch is drawn with a bounded number of points, in order, and none is invented."""
    few = thin(points)
    assert len(few) <= POINTS
    assert few == sorted(few, key=lambda point: point[0])
    assert set(few) <= set(points)
    assert max(value for _, value in few) == max(value for _, value in points)
    assert min(value for _, value in few) == min(value for _, value in points)
    assert few[-1] == points[-1]


@given(SERIES)
def test_stairs_hold_a_value_until_the_next(points):
    """Cost does not rise between two purchases."""
    corners = stairs(points)
    assert corners[0] == points[0]
    assert len(corners) == 2 * len(points) - 1
    for (when, value), (later, next_value) in pairwise(corners):
        assert when == later or value == next_value
