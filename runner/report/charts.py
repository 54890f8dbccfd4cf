"""The plots: how long requests took, how many were in flight, what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from markupsafe import Markup

from runner.core.clock import epoch
from runner.core.models import Record
from runner.engine.billing.costs import spent
from runner.report.cards import interval
from runner.report.drawing import Point, draw

POINTS = 400
"""So many at most are drawn of a line."""


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
