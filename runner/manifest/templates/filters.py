"""Filters of templates. Each is a bounded function of plain values.

This module imports jinja2 and is imported with the first template only.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Undefined
from markupsafe import Markup

from runner.manifest.names import slug
from runner.manifest.problems import Invalid, shown
from runner.manifest.templates.values import Missing, bounded, check_length, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCKS: Final = re.compile(r"<(?=/?(?:address|br|div|dd|dl|dt|h[1-6]|hr|li|ol|p|table|td|th|tr|ul)\b)", re.IGNORECASE)
"""Start of an HTML tag that separates words."""


def _number(value: Any, convert: Callable[[Any], Any], wanted: str) -> Any:
    try:
        found = convert(value.strip() if isinstance(value, str) else value)
    except (ValueError, TypeError, OverflowError):
        found = math.nan
    if isinstance(found, float) and not math.isfinite(found):
        raise Invalid(f"cannot read {shown(str(value))} as {wanted}", "write digits, such as 12 or 0.5")
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
    check_length(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _replace(value: Any, old: str, new: str) -> str:
    text = text_of(value)
    check_length(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _truncate(value: Any, length: int = 255, end: str = "…") -> str:
    text = text_of(value)
    if len(text) <= length:
        return text
    cut = text[: max(0, length - len(end)) + 1].rpartition(" ")[0] or text[: max(0, length - len(end))]
    return cut + end


def _striptags(value: Any) -> str:
    """Return the text of a piece of HTML: without tags and comments, with single spaces between words."""
    return str(Markup(_BLOCKS.sub(" <", text_of(value))).striptags())  # noqa: S704 - nothing here is sent to a browser


def _first(value: Any) -> Any:
    return value[0] if value else Missing(name="first")


def _last(value: Any) -> Any:
    return value[-1] if value else Missing(name="last")


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: bounded(function(*args, **kwargs))


_UNBOUNDED: Final[dict[str, Callable[..., Any]]] = {
    "slug": lambda value, ascii=False: slug(text_of(value), ascii_only=ascii),  # noqa: A006 - the name in manifests
    "striptags": _striptags,
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

FILTERS: Final = {name: _guarded(function) for name, function in _UNBOUNDED.items()}
"""Filters by name. The length of each result is bounded."""
