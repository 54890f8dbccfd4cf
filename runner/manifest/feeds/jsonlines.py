"""JSON feeds: objects whose values keep their type. In JSON Lines each line is one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runner.core.nesting import nesting
from runner.manifest.feeds.lines import Row
from runner.manifest.problems import Invalid, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.core.models import Json
    from runner.manifest.feeds.lines import FeedLines

_decode: Final = msgspec.json.Decoder().decode
BYTE: Final = re.compile(r"\(byte (\d+)\)")
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SPACED_KEY: Final = re.compile(r'"[ \t]+:')
_OBJECT: Final = 'one object a line: {"sku": "mug-01", "name": "Mug"}'
MAX_LEVELS: Final = 32


class JsonLines:
    """Objects of a feed, in order. Each may have columns of its own."""

    loose = False
    header_line = 0
    columns: tuple[str, ...] | None = None

    def __init__(self, lines: FeedLines) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[Row]:
        lines = self._lines
        for line in lines:
            if not line.strip():
                continue
            fault = lines.take_fault() if lines.fault else None
            cells: dict[str, Json] = {}
            try:
                cells = cells if fault else read_object(line, _OBJECT)
            except Invalid as wrong:
                fault = wrong
            if not is_empty(cells):
                yield Row(lines.number, cells, fault)


def is_empty(cells: dict[str, Json]) -> bool:
    """Tell whether a row has cells, and all of them are empty or null."""
    return bool(cells) and all(value is None or (type(value) is str and not value.strip()) for value in cells.values())


def read_object(line: str, advice: str) -> dict[str, Json]:
    """Return the object in ``line``. Raises ``Invalid``, with ``advice`` on what a row looks like."""
    try:
        value = _decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        _check_levels(line)
        raise _explain(line, str(error), advice) from None
    if not isinstance(value, dict):
        _check_levels(line)
        raise Invalid(f"this row is no object but {shown(line.strip())}", advice)
    _refuse_doubles(line, value)
    if "\\u0000" in line and "\0" in "".join(_texts(value)):
        raise Invalid("this row holds the character U+0000 (NUL)", "delete it")
    return value


def _check_levels(line: str) -> None:
    """Raise ``Invalid`` if the line nests too deep, whatever else may be wrong with it."""
    if nesting(line.encode()) > MAX_LEVELS + 1:
        raise too_deep()


def too_deep() -> Invalid:
    return Invalid(f"more than {MAX_LEVELS} levels of lists and objects", "no feed needs that")


def _explain(line: str, error: str, advice: str) -> Invalid:
    found = BYTE.search(error)
    if found is None and _SURROGATE.search(line):
        return Invalid("this line holds one half of a surrogate pair, and no character", "write the character itself")
    if found is None:
        return Invalid(f"this line is no JSON: {_said(error)}", advice)
    column = len(line.encode()[: int(found[1])].decode(errors="ignore")) + 1
    what = BYTE.sub("", error).strip().removeprefix("JSON is malformed: ")
    return Invalid(f"this line is no JSON: {what} at column {column}", advice)


def _said(error: str) -> str:
    if "truncated" in error:
        return "it ends too early"
    return "a number is too large" if "out of range" in error else error.partition(" - at")[0].lower()


def _refuse_doubles(line: str, value: dict[str, Json]) -> None:
    # The fast decoder keeps the last of two equal keys. Counting the keys shows whether there can be any.
    if line.count('":') == _keys(value) and not _SPACED_KEY.search(line):
        return
    json.loads(line, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, value in pairs:
        if name in found:
            raise Invalid(f"the key {shown(name)} is there twice", "keep one")
        found[name] = value
    return found


def _keys(value: Any, level: int = 0) -> int:
    """Return the number of keys in ``value``, including those of values inside it."""
    if level > MAX_LEVELS:
        raise too_deep()
    if type(value) is dict:
        inner = [item for item in value.values() if type(item) is dict or type(item) is list]
        return len(value) + sum(_keys(item, level + 1) for item in inner)
    return sum(_keys(item, level + 1) for item in value if type(item) is dict or type(item) is list)


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
