"""CSV lines that are safe to open in a spreadsheet, even with untrusted text in them.

The format is RFC 4180 in UTF-8. A spreadsheet runs a cell as a formula if the cell begins with ``=``, ``+``, ``-`` or
``@``, also after blanks and in full width. Such text gets an apostrophe before it. Text that begins with a tab or a
line break gets an apostrophe too.

Some spreadsheets take a tab, a line break or a semicolon inside a text for a separator, as Excel does in much of
Europe, and begin a new cell there. A formula sign after such a separator gets an apostrophe before the sign. Numbers
stay numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from decimal import Decimal

Cell = str | int | float | Decimal | None

_BLANK = r"""[\s;"\ufeff\u200b-\u200f\u2060]"""
_FORMULA = re.compile(rf"(?<!{_BLANK}){_BLANK}*+(?=[=+\-@＝＋－＠])")
"""Run of blanks, perhaps empty, before a sign that can begin a formula.

The possessive quantifier and the lookbehind try each run of blanks once, whatever its length.
"""
_SEPARATOR = re.compile(r"[\t\r\n;]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
BYTE_ORDER_MARK = "\ufeff".encode()
"""Mark that Excel needs to recognise UTF-8. Most other programs read the mark as a part of the first column's name."""


class _Echo:
    """File-like object whose ``write`` returns the text."""

    def write(self, text: str) -> str:
        return text


_writer = csv.writer(_Echo())


def line(cells: Iterable[Cell]) -> bytes:
    """Return one line of CSV with its CRLF.

    None becomes an empty cell, a bool ``true`` or ``false``, and text goes through ``harmless``.
    """
    text: str = _writer.writerow(map(_cell, cells))
    return text.encode("utf-8", "replace")


def harmless(text: str) -> str:
    """Return ``text`` with an apostrophe wherever a formula could begin, and with U+FFFD for control characters."""
    safe = _FORMULA.sub(_mark, _CONTROL.sub("\ufffd", text))
    return f"'{safe}" if safe.startswith(("\t", "\r", "\n")) else safe


def _mark(blanks: re.Match[str]) -> str:
    before = "'" if blanks.start() == 0 else ""
    behind = "'" if _SEPARATOR.search(blanks[0]) else ""
    return f"{before}{blanks[0]}{behind}"


def _cell(value: Cell) -> str | int:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal):
        return f"{Decimal(str(value)):f}"
    return harmless(value) if isinstance(value, str) else "" if value is None else value
