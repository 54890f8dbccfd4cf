"""Nodes of a document: scalars, lists and mappings, each with its position."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Style(Enum):
    """Notation of a scalar. Only a plain scalar can be anything but text."""

    PLAIN = "plain"
    QUOTED = "quoted"
    BLOCK = "block"


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Position in a file: line and column from 1, in characters. Line 0 means the file as a whole."""

    line: int
    column: int


class RowMark(Mark, frozen=True, gc=False):
    """Position of a row of a feed; ``source`` is the name of the feed in messages."""

    source: str


# gc=False is safe: a document is a tree or, with aliases, a graph without cycles.
class Scalar(Mark, frozen=True, gc=False):
    text: str
    style: Style
    cut: bool = False
    """True if a comment ends this plain scalar and was probably meant as part of the text."""


class Sequence(Mark, frozen=True, gc=False):
    items: list[Node]


class Mapping(Mark, frozen=True, gc=False):
    items: dict[str, Pair]


Node = Scalar | Sequence | Mapping
Pair = tuple[Scalar, Node]

WHOLE_FILE = Mark(0, 0)


def scalars(node: Node) -> Iterator[Scalar]:
    """Yield every scalar in ``node`` except keys, in document order."""
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, Scalar):
            yield top
        elif isinstance(top, Sequence):
            stack.extend(reversed(top.items))
        else:
            stack.extend(value for _, value in reversed(top.items.values()))
