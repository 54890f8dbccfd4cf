"""Charts of the report: durations of requests, requests in flight, cost over time.

pygal draws the charts. pygal adds a script, styles and its web address to each SVG. It also adds a module finder to
the interpreter, which warns at every failed import. This module removes all of them again. ``page.css`` styles the
charts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate
from xml.etree import ElementTree as ET

import pygal  # type: ignore[import-untyped]  # pygal has no type hints; its drawings are read as text
from markupsafe import Markup
from pygal.style import Style  # type: ignore[import-untyped]  # pygal has no type hints; its drawings are read as text

from runner.core.clock import epoch
from runner.core.models import Record, kind_of
from runner.engine.billing.costs import spent
from runner.engine.pacing.concurrency import CapacityEstimate
from runner.report.cards import interval

POINTS = 400
"""Most points that are drawn of a line."""

sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

Point = tuple[float, float]

WIDTH, HEIGHT = 560, 240

_SVG = "{http://www.w3.org/2000/svg}"

_KEPT = {
    "": {"class", "transform", "role", "viewBox"},
    "rect": {"x", "y", "width", "height"},
    "path": {"d"},
    "circle": {"cx", "cy", "r"},
    "text": {"x", "y"},
}
"""Elements that are kept, and the attributes kept of each; ``""`` stands for all elements.

None of the attributes loads, runs or styles anything.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One chart. ``says`` describes its content in a sentence."""

    title: str
    says: str
    svg: Markup


def plots(purchases: Sequence[Record]) -> list[Plot]:
    """Return the charts of a folder's purchases; none if no times are known."""
    spans = sorted(times for record in purchases if (times := interval(record)) is not None)
    bills = sorted((when, spent(record)) for record in purchases if (when := _when(record)) is not None)
    if not spans or not bills:
        return []
    start = min(spans[0][0], bills[0][0])
    clock = _clock(max(bills[-1][0], *(end for _, end in spans)) - start)
    return [
        _durations([(begin - start, end - begin) for begin, end in spans], clock),
        _concurrency([(begin - start, end - start) for begin, end in spans], capacity(purchases), clock),
        _costs([(when - start, usd) for when, usd in bills], clock),
    ]


def _when(record: Record) -> float | None:
    """Return the time from which a purchase costs money; None if it costs nothing or the time is unknown."""
    try:
        return epoch(record.submitted_at or record.intended_at or record.at) if spent(record) else None
    except ValueError:
        return None


def _durations(points: Sequence[Point], clock: Callable[[float], str]) -> Plot:
    slowest = max(seconds for _, seconds in points)
    ordered = sorted(seconds for _, seconds in points)
    median = ordered[len(ordered) // 2]
    return Plot(
        title="Duration of a request",
        says=f"{len(points):,} requests: half took up to {median:.1f} s, the slowest {slowest:.1f} s.",
        svg=draw("Duration of a request", thin(points), clock, lambda value: f"{value:g} s", stroke=False),
    )


def _concurrency(spans: Sequence[Point], workers: int | None, clock: Callable[[float], str]) -> Plot:
    steps = in_flight(spans)
    most = f"At most {max(count for _, count in steps):.0f} at a time"
    return Plot(
        title="Requests in flight",
        says=most + (f"; the API worked on about {workers:,} at once." if workers is not None else "."),
        svg=draw("Requests in flight", stairs(thin(steps)), clock, lambda value: f"{value:g}", fill=True),
    )


def _costs(bills: Sequence[Point], clock: Callable[[float], str]) -> Plot:
    totals = list(accumulate(usd for _, usd in bills))
    points = [(when, total) for (when, _), total in zip(bills, totals, strict=True)]
    return Plot(
        title="Cost so far",
        says=f"${totals[-1]:.4f} in all, open purchases at their reserve.",
        svg=draw("Cost so far", stairs(thin([(0.0, 0.0), *points])), clock, lambda value: f"${value:g}", fill=True),
    )


def capacity(purchases: Iterable[Record]) -> int | None:
    """Return about how many requests the API worked on at once, by their durations; None: that does not show."""
    estimate = CapacityEstimate()
    requests = sorted((times, record.id, kind_of(record)) for record in purchases if (times := interval(record)))
    ends: list[float] = []
    for (begin, end), _, kind in requests:
        while ends and ends[0] <= begin:
            heappop(ends)
        heappush(ends, end)
        estimate.learn(kind, len(ends), end - begin)
    return estimate.workers if estimate.bend and estimate.sure else None


def in_flight(spans: Iterable[Point]) -> list[Point]:
    """Return the number of open ``spans`` from each moment on at which the number changes."""
    changes: dict[float, int] = {}
    for begin, end in spans:
        changes[begin] = changes.get(begin, 0) + 1
        changes[end] = changes.get(end, 0) - 1
    moments = sorted(changes)
    return list(zip(moments, map(float, accumulate(changes[moment] for moment in moments)), strict=True))


def thin(points: Sequence[Point]) -> list[Point]:
    """Return at most ``POINTS`` of ``points``: highest and lowest of each group of neighbours, and the last point."""
    if len(points) <= POINTS:
        return list(points)
    length = -(-2 * len(points) // (POINTS - 2))
    groups = (range(begin, min(begin + length, len(points))) for begin in range(0, len(points), length))
    kept = {len(points) - 1}
    for group in groups:
        kept |= {min(group, key=lambda number: points[number][1]), max(group, key=lambda number: points[number][1])}
    return [points[number] for number in sorted(kept)]


def stairs(points: Sequence[Point]) -> list[Point]:
    """Return the corners of a step line, which keeps each value until the next point."""
    return [
        corner
        for number, (when, value) in enumerate(points)
        for corner in ([(when, points[number - 1][1])] if number else []) + [(when, value)]
    ]


def _clock(span: float) -> Callable[[float], str]:
    """Return the formatter of a time since the beginning, with a unit that suits a chart of ``span`` seconds."""
    unit, seconds = next((unit for unit in (("s", 1), ("min", 60), ("h", 3600)) if span < 180 * unit[1]), ("d", 86_400))
    return lambda value: f"{value / seconds:.3g} {unit}"


def draw(
    title: str,
    points: Sequence[Point],
    when: Callable[[float], str],
    value: Callable[[float], str],
    *,
    stroke: bool = True,
    fill: bool = False,
) -> Markup:
    """Return an SVG of ``points``; ``when`` and ``value`` format the labels of the axes."""
    chart = pygal.XY(
        js=[],
        no_prefix=True,
        show_legend=False,
        width=WIDTH,
        height=HEIGHT,
        margin=8,
        stroke=stroke,
        show_dots=not stroke,
        dots_size=2,
        include_x_axis=True,
        style=Style(label_font_size=13),
        x_value_formatter=when,
        value_formatter=value,
        max_scale=5,
        x_labels_major_count=6,
        show_minor_x_labels=False,
    )
    if fill:
        chart.add("area", points, fill=True)
    chart.add(title, points)
    return plain(chart.render_tree(), title)


def plain(drawn: ET.Element, title: str) -> Markup:
    """Return the drawing without scripts and styles, with ``title`` as its label for screen readers."""
    root = _copy(drawn)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("class", "plot-svg")
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - ElementTree escapes text and attributes


def _copy(element: ET.Element) -> ET.Element:
    """Return a copy of ``element`` with only the children, attributes and texts that draw."""
    tag = str(element.tag).removeprefix(_SVG)
    known = _KEPT[""] | _KEPT.get(tag, set())
    copy = ET.Element(tag, {name: element.attrib[name] for name in element.attrib if name in known})
    if tag == "text":
        copy.text = element.text
    for child in element:
        if isinstance(child.tag, str) and child.tag.removeprefix(_SVG) in {"g", *_KEPT}:
            kept = _copy(child)
            if len(kept) or kept.tag != "g":
                copy.append(kept)
    return copy
