"""Simple templates, which only fill in names, rendered without compilation.

Jinja2 takes a quarter of a millisecond for each template, and a list of ten thousand jobs may have ten thousand of
them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from jinja2.utils import missing

from runner.manifest.templates.sandbox import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jinja2.runtime import Context

    Root = Callable[[Context], Iterator[Any]]

_FIELD: Final = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}")
_SPECIAL: Final = re.compile(r"[{}\r]")
_RESERVED: Final = {
    "row", "job", "true", "false", "none", "True", "False", "None", "and", "else", "if", "in", "is", "not", "or",
    "self", "super", "caller", "loop", "varargs", "kwargs",
}  # fmt: skip
_MOST: Final = 100


def read_fields(text: str) -> tuple[list[str], list[str]] | None:
    """Return the texts around the names in ``text``, one more than there are names, and the names.

    None: ``text`` has other content, such as expressions, other braces, or words with a meaning in Jinja2.
    """
    pieces = _FIELD.split(text)
    around, names = pieces[::2], pieces[1::2]
    if not 0 < len(names) <= _MOST or not _RESERVED.isdisjoint(names) or any(map(_SPECIAL.search, around)):
        return None
    return around, names


def fill(around: list[str], names: list[str]) -> Root:
    """Return the function that Jinja2 would compile: it yields the values one by one, missing ones as ``Missing``."""
    first, pairs = around[0], list(zip(names, around[1:], strict=True))

    def root(context: Context) -> Iterator[Any]:
        if first:
            yield first
        for name, text in pairs:
            value = context.resolve_or_missing(name)
            yield Missing(name=name) if value is missing else value
            if text:
                yield text

    return root
