"""Drawing with pygal, and keeping only what it drew; ``page.css`` dresses it.

pygal brings a script, styles of its own and its address into each SVG, and a finder of modules into the interpreter
that warns at every failed import. All of that is taken out again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

import pygal  # type: ignore[import-untyped]  # it brings no types, and what it draws is read as text
from markupsafe import Markup
from pygal.style import Style  # type: ignore[import-untyped]  # it brings no types, and what it draws is read as text

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
