"""Values of scalars. The place of a scalar decides its type, not its notation.

Every function takes a node and returns its value, or raises ``Invalid`` with the problem.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Final, NoReturn

from runner.manifest.nodes import Mapping, Node, Scalar, Sequence, Style
from runner.manifest.problems import Invalid, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.core.models import Json

_PLAIN: Final = Style.PLAIN
"""Module constant: looking up a member of an enum costs as much as a call."""
_WORDS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.0+)?", re.ASCII)
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_ALONE: Final = "write the value alone, without brackets, braces or dashes"
_INTEGERS: Final = range(-(2**63), 2**64)
"""Accepted whole numbers. Others are refused, because JSON readers disagree on their values."""


def text(node: Node) -> str:
    """Return a text as written. Raises ``Invalid`` for ``true``, ``false``, ``null``, ``~`` and an empty value."""
    if not isinstance(node, Scalar):
        raise Invalid(f"takes a text, not {kind(node)}", "put the text in quotes")
    if node.style is _PLAIN and node.text in _WORDS:
        _no_text(node)
    return node.text


def _no_text(node: Scalar) -> NoReturn:
    if node.text:
        raise Invalid(f"takes a text, not `{node.text}`", "quote it if you mean the word, or leave the key out")
    if node.cut:
        raise Invalid("is empty: ` #` starts a comment", "put the text in quotes")
    raise Invalid("is empty", "write a text, or leave the key out")


def filled_text(node: Node) -> str:
    """Return a text that is not blank."""
    value = text(node)
    if not value.strip():
        raise Invalid("is empty", "write a text, or leave the key out")
    return value


def written(node: Node) -> str:
    """Return the text of a scalar, quoted or not, for a value with its own notation (``units``)."""
    if not isinstance(node, Scalar):
        raise Invalid(f"takes one value, not {kind(node)}", _ALONE)
    return node.text.strip()


def integer(node: Node) -> int:
    """Return a whole number; ``1024.0`` is one."""
    plain = _plain(node, "a whole number", _as_whole)
    if not _INTEGER.fullmatch(plain):
        raise Invalid(f"takes a whole number, not {shown(plain)}", _as_whole(plain))
    return _whole(plain.partition(".")[0])


def number(node: Node) -> int | float:
    """Return a decimal number. A number without a point is an ``int``."""
    plain = _plain(node, "a number", _as_number)
    if not _DECIMAL.fullmatch(plain):
        raise Invalid(f"takes a number, not {shown(plain)}", _as_number(plain))
    return _fraction(plain) if "." in plain else _whole(plain)


def boolean(node: Node) -> bool:
    """Return ``true`` or ``false`` as a bool."""
    plain = _plain(node, "`true` or `false`", _as_boolean)
    if plain not in ("true", "false"):
        raise Invalid(f"takes `true` or `false`, not {shown(plain)}", _as_boolean(plain))
    return plain == "true"


def _as_boolean(spelling: str) -> str:
    word = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(spelling.lower(), spelling.lower())
    return f"write {word}" if word in ("true", "false") else ""


def json_value(node: Node) -> Json:
    """Return the value in the notation of JSON: ``true``, ``12``, ``1.5``, ``null``, lists, mappings; else a text."""
    if isinstance(node, Sequence):
        return [json_value(item) for item in node.items]
    if isinstance(node, Mapping):
        return {name: json_value(value) for name, (_, value) in node.items.items()}
    if node.style is not _PLAIN:
        return node.text
    if node.text in _WORDS:
        return _WORDS[node.text]
    found = _JSON_NUMBER.fullmatch(node.text)
    return _json_number(node, fraction=bool(found[1] or found[2])) if found else node.text


def _json_number(node: Scalar, *, fraction: bool) -> int | float:
    try:
        return _fraction(node.text) if fraction else _whole(node.text)
    except Invalid as wrong:
        raise Invalid(wrong.what, f"{wrong.advice}, or quote it if it is text", node) from None


def _fraction(spelling: str) -> float:
    value = float(spelling)
    if not isfinite(value):
        raise _too_large(spelling)
    return value


def _whole(digits: str) -> int:
    if len(digits) > 20 or int(digits) not in _INTEGERS:
        raise _too_large(digits)
    return int(digits)


def _too_large(spelling: str) -> Invalid:
    return Invalid(f"has {shown(spelling, 40)}, which is too large for a number", "write a smaller one")


def _plain(node: Node, wanted: str, advise: Callable[[str], str]) -> str:
    if not isinstance(node, Scalar):
        raise Invalid(f"takes {wanted}, not {kind(node)}", _ALONE)
    if node.style is not _PLAIN:
        right = _DECIMAL.fullmatch(node.text) or node.text in ("true", "false")
        advice = "drop the quotes" if right else advise(node.text)
        raise Invalid(f"takes {wanted}, not the text {shown(node.text)}", advice)
    if node.text in ("", "~", "null"):
        raise Invalid(f"takes {wanted}, but has no value", "leave the key out for the default")
    return node.text


def kind(node: Node) -> str:
    """Return a description of ``node`` for a message, with its article."""
    if isinstance(node, Scalar):
        return shown(node.text) if node.text or node.style is not _PLAIN else "nothing"
    return "a list" if isinstance(node, Sequence) else "a mapping"


_UNITS: Final = "abcdefghijklmnopqrstuvwxyz "
_OTHER_SPELLINGS: Final[tuple[tuple[re.Pattern[str], Callable[[str], float]], ...]] = (
    (re.compile(r"0[xX][0-9a-fA-F]{1,12}"), lambda s: int(s, 16)),
    (re.compile(r"0[oO][0-7]{1,12}"), lambda s: int(s, 8)),
    (re.compile(r"[+-]?\d[\d_]{0,17}|[+-]?\d{1,3}(,\d{3}){1,5}"), lambda s: int(re.sub(r"[,_]", "", s))),
    (re.compile(r"[+-]?(\d{1,15}\.?\d{0,15}|\.\d{1,15})([eE][+-]?\d)?"), float),
    (re.compile(r"[+-]?\d{1,15}(\.\d{1,15})? ?[a-z]{1,7}"), lambda s: float(s.rstrip(_UNITS))),
)


def _as_whole(spelling: str) -> str:
    return _as_number(spelling, whole=True)


def _as_number(spelling: str, *, whole: bool = False) -> str:
    """Return ``write 12`` for another notation of a number that is valid here."""
    for pattern, convert in _OTHER_SPELLINGS:
        if pattern.fullmatch(spelling):
            value = convert(spelling)
            break
    else:
        return "write it in digits"
    if value == int(value):
        return f"write {int(value)}"
    return "write it without a fraction" if whole else f"write {value:g}"
