"""CSV lines that are safe to open in a spreadsheet, whoever wrote the text in them.

The format is RFC 4180 in UTF-8. A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula,
also after blanks and in full width: such text gets an apostrophe before it, as does one that begins with a tab or a
line break. Inside a text the sign itself gets one after a tab, a line break or a semicolon: a spreadsheet that takes
these for separators, as Excel does in much of Europe, begins a cell there. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from decimal import Decimal

Cell = str | int | float | Decimal | None

_BLANK = r"""[\s;"\ufeff\u200b-\u200f\u2060]"""
_FORMULA = re.compile(rf"(?<!{_BLANK}){_BLANK}*+(?=[=+\-@＝＋－＠])")
"""What stands before a sign that would begin a formula; looked for once a run of blanks, however long that is."""
_SEPARATOR = re.compile(r"[\t\r\n;]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
BYTE_ORDER_MARK = "\ufeff".encode()
"""Excel reads UTF-8 as such only after one; most other programs take it for a part of the first name."""


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


_writer = csv.writer(_Echo())


def line(cells: Iterable[Cell]) -> bytes:
    """One line of CSV, its CRLF included. Empty for None; ``true`` and ``false``; text made harmless."""
    text: str = _writer.writerow(map(_cell, cells))
    return text.encode("utf-8", "replace")


def harmless(text: str) -> str:
    """``text`` with an apostrophe wherever it could be run as a formula, and without control characters."""
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
