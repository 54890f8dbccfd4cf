"""CSV and TSV feeds: rows of text cells by column. The ``csv`` module splits the rows, and the checks are strict."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final

from runner.manifest.feeds.lines import FeedError, Row
from runner.manifest.problems import Invalid, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.manifest.feeds.lines import FeedLines

_SEPARATORS: Final = {",": "commas", "\t": "tabs", ";": "`;`", "|": "`|`"}
_SIGNS: Final = {",": "comma", "\t": "tab"}
_TWICE: Final = 'a quote inside a quoted cell is written twice: "5"" cup"'


class Table:
    """Rows below a header, in order; ``columns`` are the header's names without empty ones."""

    loose = True
    """Cells are texts; the place of a value decides its type."""

    def __init__(self, lines: FeedLines, separator: str) -> None:
        """Read the header. Raises ``FeedError``."""
        self._lines = lines
        self._separator = separator
        self._reader = csv.reader(iter(lines), delimiter=separator, strict=True)
        self.header_line = 0
        self._header: list[str] = []
        self._header = self._read_header()
        self.columns: tuple[str, ...] | None = tuple(filter(str.strip, self._header))

    def _read_header(self) -> list[str]:
        while (header := self._next()) is not None:
            if self._is_blank(header):
                continue
            self.header_line = self._lines.number
            if wrong := self._lines.take_fault() or self._doubt_header(header):
                raise FeedError(self.header_line, wrong)
            return header
        raise FeedError(0, Invalid("this feed is empty", "its first line names the columns"))

    def _doubt_header(self, header: list[str]) -> Invalid | None:
        for other, name in _SEPARATORS.items():
            if other != self._separator and any(other in cell for cell in header) and len(header) == 1:
                right = _SEPARATORS[self._separator]
                return Invalid(f"the columns are separated by {name}, not by {right}", f"save the feed with {right}")
        for number, name in enumerate(header):
            if name.strip() and (first := header.index(name)) != number:
                what = f"the column {shown(name)} is there twice, as number {first + 1} and {number + 1}"
                return Invalid(what, "rename one or delete it")
        if not any(map(str.strip, header)):
            return Invalid("the first line names no column", "the first line names the columns")
        return None

    def _is_blank(self, cells: list[str]) -> bool:
        # `""` alone on a line is an empty cell, not a blank line.
        return len(cells) <= 1 and not self._lines.last.strip()

    def _next(self) -> list[str] | None:
        """Return the next row, even a blank one; None: the end. Raises ``FeedError`` and ``Invalid``."""
        start = self._lines.number + 1
        try:
            return next(self._reader, None)
        except csv.Error as error:
            wrong = _explain(str(error))
            # After an unclosed quote over several lines, the beginning of the next row is unknown.
            if not self._header or self._lines.number > start or "unexpected end" in str(error):
                raise FeedError(start, wrong) from None
            raise wrong from None

    def __iter__(self) -> Iterator[Row]:
        lines, header, width = self._lines, self._header, len(self._header)
        plain = all(map(str.strip, header))
        while True:
            start = lines.number + 1
            try:
                cells = self._next()
            except Invalid as wrong:
                lines.take_fault()
                yield Row(start, {}, wrong)
                continue
            if cells is None:
                return
            if len(cells) <= 1 and self._is_blank(cells):
                continue
            fault = lines.take_fault() if lines.fault else None
            if len(cells) != width or not plain:
                fault = fault or self._measure(cells)
            yield Row(start, dict(zip(header, cells, strict=False)), fault)

    def _measure(self, cells: list[str]) -> Invalid | None:
        if len(cells) != len(self._header):
            few = len(cells) < len(self._header)
            what = f"this row has {_counted(len(cells))}, the header {_counted(len(self._header))}"
            sign = _SIGNS[self._separator]
            return Invalid(what, f"an empty cell has its {sign}, too" if few else f"quote a cell that holds a {sign}")
        for number, (name, cell) in enumerate(zip(self._header, cells, strict=True)):
            if cell and not name.strip():
                what = f"the cell {shown(cell)} stands in column {number + 1}, which has no name"
                return Invalid(what, "name the column in the first line, or empty the cell")
        return None


def _counted(cells: int) -> str:
    return f"{cells} cell" if cells == 1 else f"{cells} cells"


def _explain(error: str) -> Invalid:
    """Return the problem that a message of the ``csv`` module means."""
    if "expected after" in error:
        return Invalid("text follows a closing quote", _TWICE)
    if "field limit" in error:
        return Invalid(
            f"a cell is longer than {csv.field_size_limit():,} characters: a quote is opened and not closed", _TWICE
        )
    if "unexpected end" in error:
        return Invalid("a quoted cell that begins in this row is never closed", _TWICE)
    if "new-line" in error:
        return Invalid(
            "this line holds a lone carriage return", "save the feed with LF or CRLF at the end of each line"
        )
    return Invalid(f"this row cannot be read: {error}")
