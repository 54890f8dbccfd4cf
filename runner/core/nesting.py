"""Depth limit for JSON from outside: the same on every Python version and in every call.

Without this limit the parsers stop at the limit of the interpreter: some 900 levels on Python 3.11, which counts the
calls around the parser, 1,500 on 3.12, 10,000 on 3.13, and the size of the stack on 3.14. One version would then reject
what another has read.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

MAX_NESTING: Final = 500
"""Half of the limit of Python 3.11, calls included. JSON made from manifests and feeds stays below 150 levels."""

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class TooDeep(ValueError):
    """JSON with more than ``MAX_NESTING`` levels of lists and objects."""


def nesting(text: bytes) -> int:
    """Count the levels of lists and objects in ``text``, which need not be valid JSON; ignore brackets in strings."""
    brackets = _STRING.sub(b"", text).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def check_nesting(text: bytes) -> None:
    """Raise ``TooDeep`` if ``text`` nests too deep for a parser. ``text`` need not be valid JSON."""
    if text.count(b"[") + text.count(b"{") > MAX_NESTING and nesting(text) > MAX_NESTING:
        raise TooDeep(f"more than {MAX_NESTING} levels of lists and objects")
