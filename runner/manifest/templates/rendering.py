"""Rendering of templates and cells into inputs. The type of the input decides the type of the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner.manifest.nodes import Mapping, Mark, Node, Scalar, Sequence, Style
from runner.manifest.problems import Invalid
from runner.manifest.templates.template import Template, Templates, is_template
from runner.manifest.yaml.scalars import filled_text, json_value, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner.core.models import Json

    Convert = Callable[[Node], Json]
    Make = Callable[[Any, bool], Json]

_TEXTS: Final = (text, filled_text)


class Rendered:
    """Input ``name`` of an entry, rendered for each of its jobs."""

    __slots__ = ("_make", "mark", "name", "templates")

    def __init__(self, name: str, mark: Mark, templates: tuple[Template, ...], make: Make) -> None:
        self.name = name
        self.mark = mark
        self.templates = templates
        self._make = make

    def value(self, context: Any, *, loose: bool) -> Json:
        """Return the value for one job. Raises ``Invalid``.

        ``loose``: the cells of the row are texts, whatever type they mean.
        """
        return self._make(context, loose)


def render(name: str, node: Node, convert: Convert, templates: Templates) -> Rendered | None:
    """Return ``node`` as the value of ``name``; None: it has no template. Raises ``Invalid`` for a wrong template."""
    found: list[Template] = []
    make = _make(name, node, convert, templates, found)
    return Rendered(name, node, tuple(found), make) if found else None


def _make(name: str, node: Node, convert: Convert, templates: Templates, found: list[Template]) -> Make:
    if isinstance(node, Scalar):
        if not is_template(node.text):
            return lambda _context, _loose: convert(node)
        template = templates.compile(name, node, node.text)
        found.append(template)
        return _of_template(template, convert)
    if convert is not json_value:
        return lambda _context, _loose: convert(node)
    inner = [_make(name, item, json_value, templates, found) for item in _items(node)]
    if isinstance(node, Sequence):
        return lambda context, loose: [make(context, loose) for make in inner]
    keys = list(node.items)
    return lambda context, loose: {k: make(context, loose) for k, make in zip(keys, inner, strict=True)}


def _items(node: Sequence | Mapping) -> Iterator[Node]:
    return iter(node.items) if isinstance(node, Sequence) else (value for _, value in node.items.values())


def _of_template(template: Template, convert: Convert) -> Make:
    if convert is text:
        return lambda context, _loose: template.text(context)
    if convert is filled_text:
        return lambda context, _loose: _filled(template.text(context))
    if convert is json_value:
        if not template.whole:
            return lambda context, _loose: template.text(context)
        return lambda context, loose: _untyped(template.value(context), loose=loose)
    if not template.whole:
        advice = "write a single {{ … }} as the whole value"
        raise Invalid("is not a text, but this template prints one", advice)
    return lambda context, _loose: convert(_plain(_there(template.value(context))))


def _there(value: Json) -> Json:
    if isinstance(value, str) and not value.strip():
        raise Invalid("has an empty cell for its value", "fill it, or write {{ name|default(1024, true) }}")
    return value


def cell_value(value: Json, convert: Convert, *, loose: bool) -> Json:
    """Return the cell of a feed as an input. Raises ``Invalid``."""
    if convert in _TEXTS:
        if type(value) is str:
            return value if convert is text else _filled(value)
        return convert(as_node(value))
    if convert is json_value:
        return _untyped(value, loose=loose)
    return convert(_plain(value) if loose else as_node(value))


def _filled(value: str) -> str:
    if not value.strip():
        raise Invalid("is empty", "write a text, or fill the cells that it comes from")
    return value


def _untyped(value: Json, *, loose: bool) -> Json:
    return json_value(Scalar(0, 0, value, Style.PLAIN)) if loose and isinstance(value, str) else value


def _plain(value: Json) -> Node:
    return Scalar(0, 0, value.strip(), Style.PLAIN) if isinstance(value, str) else as_node(value)


def as_node(value: Json) -> Node:
    """Return the node that a JSON value would have in a manifest."""
    if isinstance(value, str):
        return Scalar(0, 0, value, Style.QUOTED)
    if isinstance(value, dict):
        return Mapping(0, 0, {})
    if isinstance(value, (list, tuple)):
        return Sequence(0, 0, [])
    words = {None: "null", True: "true", False: "false"}
    return Scalar(0, 0, words[value] if value is None or isinstance(value, bool) else str(value), Style.PLAIN)
