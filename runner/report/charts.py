"""Charts of the report: durations of requests, requests in flight, cost over time.

pygal draws. It adds a script, styles and its address to each SVG, and a finder of modules to the interpreter that
warns at every failed import; all of these are taken out again. ``page.css`` styles what is left.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from xml.etree import ElementTree as ET

import pygal  # type: ignore[import-untyped]  # it brings no types, and what it draws is read as text
from markupsafe import Markup
from pygal.style import Style  # type: ignore[import-untyped]  # it brings no types, and what it draws is read as text

from runner.core.clock import epoch
from runner.core.models import Record
from runner.engine.billing.costs import spent
from runner.report.cards import interval

POINTS = 400
"""So many at most are drawn of a line."""

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
"""What is kept of an element: nothing that loads, runs or styles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One drawing. ``says`` is what it shows, in a sentence."""

    title: str
    says: str
    svg: Markup


def plots(purchases: Sequence[Record]) -> list[Plot]:
    """The plots of a folder's purchases; none without times to draw."""
    spans = sorted(times for record in purchases if (times := interval(record)) is not None)
    bills = sorted((when, spent(record)) for record in purchases if (when := _when(record)) is not None)
    if not spans or not bills:
        return []
    start = min(spans[0][0], bills[0][0])
    clock = _clock(max(bills[-1][0], *(end for _, end in spans)) - start)
    return [
        _durations([(begin - start, end - begin) for begin, end in spans], clock),
        _concurrency([(begin - start, end - start) for begin, end in spans], clock),
        _costs([(when - start, usd) for when, usd in bills], clock),
    ]


def _when(record: Record) -> float | None:
    """When a purchase began to cost money."""
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


def _concurrency(spans: Sequence[Point], clock: Callable[[float], str]) -> Plot:
    steps = in_flight(spans)
    return Plot(
        title="Requests in flight",
        says=f"At most {max(count for _, count in steps):.0f} at a time.",
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


def in_flight(spans: Iterable[Point]) -> list[Point]:
    """How many of ``spans`` there are from each moment on at which that changes."""
    changes: dict[float, int] = {}
    for begin, end in spans:
        changes[begin] = changes.get(begin, 0) + 1
        changes[end] = changes.get(end, 0) - 1
    moments = sorted(changes)
    return list(zip(moments, map(float, accumulate(changes[moment] for moment in moments)), strict=True))


def thin(points: Sequence[Point]) -> list[Point]:
    """At most ``POINTS`` of ``points``: of each group of neighbours the highest and the lowest, and the last of all."""
    if len(points) <= POINTS:
        return list(points)
    length = -(-2 * len(points) // (POINTS - 2))
    groups = (range(begin, min(begin + length, len(points))) for begin in range(0, len(points), length))
    kept = {len(points) - 1}
    for group in groups:
        kept |= {min(group, key=lambda number: points[number][1]), max(group, key=lambda number: points[number][1])}
    return [points[number] for number in sorted(kept)]


def stairs(points: Sequence[Point]) -> list[Point]:
    """The line that holds each value until the next one comes."""
    return [
        corner
        for number, (when, value) in enumerate(points)
        for corner in ([(when, points[number - 1][1])] if number else []) + [(when, value)]
    ]


def _clock(span: float) -> Callable[[float], str]:
    """How a time since the beginning is written on a plot of so many seconds."""
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
    """An SVG of ``points``; ``when`` and ``value`` write the labels of its axes."""
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
    """The bare drawing, named for those who cannot see it."""
    root = _copy(drawn)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("class", "plot-svg")
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - text and attributes are escaped by the writer of XML


def _copy(element: ET.Element) -> ET.Element:
    """``element`` with the children, attributes and texts that only draw."""
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
