"""Keys beside ``from:`` that say how a feed is read, and the formats that each of them is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from runner.manifest.problems import FAILED, Invalid, shown
from runner.manifest.yaml.scalars import filled_text, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.manifest.nodes import Mapping, Node
    from runner.manifest.problems import Failure, Problems

SEPARATORS: Final = {",": "commas", ";": "`;`", "\t": "tabs", "|": "`|`"}
"""Separators of tables, and what messages call them."""
DELIMITERS: Final = {**{sign: sign for sign in SEPARATORS}, "tab": "\t"}
"""Values of ``delimiter``."""
ENCODINGS: Final = {
    "utf-8": "utf-8", "utf8": "utf-8",
    "utf-16": "utf-16", "utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be",
    "cp1252": "cp1252", "windows-1252": "cp1252", "latin-1": "iso8859-1", "latin1": "iso8859-1",
    "iso-8859-1": "iso8859-1", "iso-8859-15": "iso8859-15",
    "cp1250": "cp1250", "windows-1250": "cp1250", "iso-8859-2": "iso8859-2",
    "cp1251": "cp1251", "windows-1251": "cp1251",
    "cp437": "cp437", "cp850": "cp850", "mac-roman": "mac-roman",
    "shift-jis": "cp932", "cp932": "cp932", "gbk": "gb18030", "gb18030": "gb18030", "big5": "big5", "euc-kr": "cp949",
}  # fmt: skip
"""Values of ``encoding`` in lower case, and their names in Python. No other character of these encodings, UTF-16 aside,
holds the byte of a line feed."""
_COMMON: Final = "utf-8, utf-16, cp1252, iso-8859-1, iso-8859-15, cp1250, cp1251, mac-roman, shift-jis, gb18030"

TABLES: Final = (".csv", ".tsv")
LINES: Final = (*TABLES, ".jsonl", ".txt")
FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "delimiter": TABLES,
    "encoding": (*LINES, ".json"),
    "at": (".json",),
    "sheet": (".xlsx",),
}
"""Formats that each key is for."""


class FeedOptions(NamedTuple):
    """Values of the keys; None: not given."""

    delimiter: str | None = None
    encoding: str | None = None
    at: str | None = None
    sheet: str | None = None


def read_options(entry: Mapping, suffix: str | None, problems: Problems) -> FeedOptions | Failure:
    """Return the options of the feed of ``entry``. Invalid ones are noted as errors.

    ``suffix`` is the format of the feed; empty: pictures; None: not known, because ``from`` is invalid.
    """
    found: dict[str, str] = {}
    good = True
    for key, convert in _READERS.items():
        if key not in entry.items:
            continue
        mark, node = entry.items[key]
        value = problems.read(key, node, convert)
        if value is FAILED:
            good = False
        elif suffix is not None and suffix not in FORMATS[key]:
            feed = f"this one is a {suffix}" if suffix else "these are pictures"
            problems.error(mark, f"`{key}` is for {' and '.join(FORMATS[key])} feeds, and {feed}", "leave it out")
            good = False
        else:
            found[key] = value
    return FeedOptions(**found) if good else FAILED


def _delimiter(node: Node) -> str:
    value = text(node)
    if value not in DELIMITERS:
        raise Invalid(f"takes a separator, not {shown(value)}", 'write ",", ";", "|" or tab')
    return DELIMITERS[value]


def _encoding(node: Node) -> str:
    value = text(node)
    name = value.lower().replace("_", "-")
    if name not in ENCODINGS:
        raise Invalid(f"takes the name of an encoding, not {shown(value)}", f"such as {_COMMON}")
    return ENCODINGS[name]


_READERS: Final[dict[str, Callable[[Node], str]]] = {
    "delimiter": _delimiter,
    "encoding": _encoding,
    "at": filled_text,
    "sheet": filled_text,
}
