"""Sandbox of templates: Jinja2 reduced to expressions over plain values.

There are no calls, no loops, no attributes of Python objects and nothing random. A template is a bounded function of
a row. This module imports jinja2 and is imported with the first template only.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, ClassVar, Final

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.manifest.names import slug
from runner.manifest.problems import Invalid, listing, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CHARACTERS: Final = 100_000
"""Longest text or list that a template, or one step in it, may produce."""


class Missing(StrictUndefined):
    """A missing value. Any use except ``default`` and ``is defined`` raises an error that names it."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return str(self._undefined_hint)
        if isinstance(self._undefined_obj, dict):
            known = [str(name) for name in self._undefined_obj]
            hint = nearest(str(self._undefined_name), known) or f"there is {listing(known) or 'nothing'}"
            return f"there is no {shown(str(self._undefined_name))}; {hint}"
        return f"{shown(str(self._undefined_name))} has no value here"


class Null(Missing):
    """A ``null`` in a feed."""

    @property
    def _undefined_message(self) -> str:
        return f"{shown(str(self._undefined_name))} is null"


def text_of(value: Any) -> str:
    """Return ``value`` as templates print it. Raises ``Invalid`` for a value that has no text."""
    if isinstance(value, str):
        return value
    if value is None:
        raise Invalid("prints null", "`|default(…)` stands in for it")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Undefined)):
        return str(value)
    what = "a mapping" if isinstance(value, dict) else "a list"
    raise Invalid(f"prints {what}", '`|join(", ")` or `|tojson` makes a text of it')


def bounded(value: Any) -> Any:
    """Return ``value``. Raises ``Invalid`` if it is longer than a template may produce."""
    if isinstance(value, (str, list, tuple)) and len(value) > MAX_CHARACTERS:
        raise Invalid(f"produces more than {MAX_CHARACTERS:,} characters", "shorten it")
    return value


def _number(value: Any, convert: Callable[[Any], Any], wanted: str) -> Any:
    try:
        found = convert(value.strip() if isinstance(value, str) else value)
    except (ValueError, TypeError, OverflowError):
        found = math.nan
    if isinstance(found, float) and not math.isfinite(found):
        raise Invalid(f"takes {shown(str(value))} for {wanted}, which it is not", "it must be digits, like 12 or 0.5")
    return found


def _int(value: Any) -> Any:
    return _number(value, lambda v: int(v) if isinstance(v, str) else math.trunc(v), "a whole number")


def _float(value: Any) -> Any:
    return _number(value, float, "a number")


def _round(value: Any, precision: int = 0) -> Any:
    number = _float(value)
    return round(number, precision) if precision > 0 else round(number)


def _default(value: Any, other: Any = "", boolean: bool = False) -> Any:  # noqa: FBT001, FBT002, RUF100 - Jinja's own signature
    return other if isinstance(value, Undefined) or (boolean and not value) else value


def _join(values: Any, separator: str = "") -> str:
    parts = [text_of(value) for value in values]
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_CHARACTERS:
        raise Invalid(f"produces more than {MAX_CHARACTERS:,} characters", "shorten it")
    return separator.join(parts)


def _replace(value: Any, old: str, new: str) -> str:
    text = text_of(value)
    if len(text) + text.count(old) * len(new) > MAX_CHARACTERS:
        raise Invalid(f"produces more than {MAX_CHARACTERS:,} characters", "shorten it")
    return text.replace(old, new)


def _truncate(value: Any, length: int = 255, end: str = "…") -> str:
    text = text_of(value)
    if len(text) <= length:
        return text
    cut = text[: max(0, length - len(end)) + 1].rpartition(" ")[0] or text[: max(0, length - len(end))]
    return cut + end


def _first(value: Any) -> Any:
    return value[0] if value else Missing(name="first")


def _last(value: Any) -> Any:
    return value[-1] if value else Missing(name="last")


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "slug": lambda value: slug(text_of(value)),
    "upper": lambda value: text_of(value).upper(),
    "lower": lambda value: text_of(value).lower(),
    "title": lambda value: text_of(value).title(),
    "capitalize": lambda value: text_of(value).capitalize(),
    "trim": lambda value: text_of(value).strip(),
    "text": text_of,
    "string": text_of,
    "tojson": lambda value: json.dumps(value, ensure_ascii=False, default=text_of),
    "replace": _replace,
    "truncate": _truncate,
    "join": _join,
    "split": lambda value, separator=None: text_of(value).split(separator),
    "first": _first,
    "last": _last,
    "length": len,
    "count": len,
    "default": _default,
    "d": _default,
    "int": _int,
    "float": _float,
    "round": _round,
    "abs": abs,
}

TESTS: Final = ("defined", "undefined", "none", "string", "number", "boolean", "true", "false", "odd", "even",
                "divisibleby", "in", "eq", "ne", "lt", "le", "gt", "ge", "equalto", "mapping", "sequence")  # fmt: skip


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: bounded(function(*args, **kwargs))


class _Values(NativeCodeGenerator):
    """Code generator that yields values unchanged, constants too. ``text_of`` prints them."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Any, finalize: Any) -> Any:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


class Sandbox(ImmutableSandboxedEnvironment):
    """Environment with only the filters and tests above, without globals. Attributes are items of plain values."""

    code_generator_class = _Values
    intercepted_binops: ClassVar[frozenset[str]] = frozenset({"+", "*", "%"})  # type: ignore[misc]  # Jinja's stub has it per object

    def __init__(self) -> None:
        super().__init__(undefined=Missing, autoescape=False, keep_trailing_newline=True, optimized=False)
        tests = {name: self.tests[name] for name in TESTS}
        self.globals.clear()
        self.filters.clear()
        self.tests.clear()
        self.filters.update({name: _guarded(function) for name, function in FILTERS.items()})
        self.tests.update(tests, none=lambda value: value is None or isinstance(value, Null))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item of a plain value: ``row["a header"]``, ``sizes[0]``, ``name[:10]``."""
        try:
            if type(obj) is dict or (isinstance(obj, (str, list, tuple)) and isinstance(argument, (int, slice))):
                value = obj[argument]
            else:
                return self.undefined(obj=obj, name=argument)
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)
        return Null(name=argument) if value is None else value

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the item of a mapping with this name, as in ``job.width``; never an attribute of an object."""
        return self.getitem(obj, attribute) if type(obj) is dict else self.undefined(obj=obj, name=attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - Jinja's signature
        """Return the result of arithmetic on numbers, or of ``+`` on two texts.

        A text times a number is refused, because it could fill the memory.
        """
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if numbers or (operator == "+" and isinstance(left, str) and isinstance(right, str)):
            return bounded(self.binop_table[operator](left, right))
        for value in (left, right):
            if isinstance(value, Undefined):
                text_of(value)
        raise Invalid(f"uses `{operator}` on what is no number", "`|int` or `|float` makes a number of a text")
