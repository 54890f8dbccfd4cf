"""How deep the JSON may nest that comes from elsewhere: as deep on every Python, and as deep in every call.

The parsers end where the interpreter does, at another depth in each: some 900 levels on Python 3.11, which counts the
calls around the parser, 1,500 on 3.12, 10,000 on 3.13, what the stack holds on 3.14. What one read, another refused.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

MAX_NESTING: Final = 500
"""Half of what Python 3.11 allows, calls included. What manifests and feeds can make stays below 150."""

_SHORTEST_DEEP: Final = 2 * MAX_NESTING
"""Bytes; JSON that nests deeper is longer, since each level is opened and closed."""
_TOGETHER: Final = 64
"""So many lines are looked at together: at some five brackets a line, all of them have fewer than one may have."""

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class TooDeep(ValueError):
    """JSON with more than ``MAX_NESTING`` levels of lists and objects."""


def nesting(text: bytes) -> int:
    """How many lists and objects are open at once in ``text``, brackets in its strings apart; it may be no JSON."""
    brackets = _STRING.sub(b"", text).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def check_nesting(text: bytes) -> None:
    """Raise ``TooDeep`` before a parser sees ``text``, if that is why one would refuse it. It may be no JSON."""
    if len(text) > MAX_NESTING and _openings(text) > MAX_NESTING and nesting(text) > MAX_NESTING:
        raise TooDeep(f"more than {MAX_NESTING} levels of lists and objects")


def any_too_deep(lines: list[bytes]) -> bool:
    """Tell whether any of ``lines``, each of them JSON if it ends well, nests too deep. For lines by the million."""
    long = [line for line in lines if len(line) > _SHORTEST_DEEP]
    for start in range(0, len(long), _TOGETHER):
        some = long[start : start + _TOGETHER]
        if _openings(b"".join(some)) > MAX_NESTING and any(map(_is_too_deep, some)):
            return True
    return False


def _is_too_deep(line: bytes) -> bool:
    return _openings(line) > MAX_NESTING and nesting(line) > MAX_NESTING


def _openings(text: bytes) -> int:
    """How many brackets open in ``text``, in strings, too. Deleting one character is faster than counting it."""
    return 2 * len(text) - len(text.replace(b"[", b"")) - len(text.replace(b"{", b""))
