"""Records of tables in text files, split by the ``csv`` module, or at tabs, where quotes may be text."""

from __future__ import annotations

import csv
import re
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from runner.manifest.feeds.lines import FeedError
from runner.manifest.problems import Invalid

if TYPE_CHECKING:
    from runner.manifest.feeds.lines import FeedLines

_TWICE: Final = 'a quote inside a quoted cell is written twice: "5"" cup"'
_CLOSED: Final = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"(?=\t|\Z)')
"""Cell in quotes, up to the next tab or the end."""
_OPEN: Final = re.compile(r'"[^"]*+(?:""[^"]*+)*+\Z')
"""Beginning of a cell in quotes that does not end in this text."""
_CELL_LINES: Final = 1000
"""Most lines of one cell in quotes between tabs."""


class QuotedRecords:
    """Records whose cells are in quotes if they hold the separator, a quote or a line break."""

    def __init__(self, lines: FeedLines, separator: str, skipped: int = 0) -> None:
        self.separator = separator
        self.line = 0
        self._lines = lines
        texts = iter(lines)
        for _ in range(skipped):
            next(texts, None)
        self._reader = csv.reader(texts, delimiter=separator, strict=True)

    def read(self, width: int | None) -> list[str] | None:
        """Return the next record; None: the end. Raises ``FeedError`` and ``Invalid``."""
        self.line = self._lines.number + 1
        try:
            cells = next(self._reader, None)
        except csv.Error as error:
            wrong = _explain(str(error))
            # After an unclosed quote over several lines, the beginning of the next row is unknown.
            if width is None or self._lines.number > self.line or "unexpected end" in str(error):
                raise FeedError(self.line, wrong) from None
            raise wrong from None
        return cells

    def take_fault(self) -> Invalid | None:
        """Return the problem with the bytes of the latest record; None: there is none."""
        return self._lines.take_fault() if self._lines.fault is not None else None


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
        return _lone_return()
    return Invalid(f"this row cannot be read: {error}")


def _lone_return() -> Invalid:
    return Invalid("this line holds a lone carriage return", "save the feed with LF or CRLF at the end of each line")


class _Line(NamedTuple):
    """A line with its line end, its number and the problem with its bytes."""

    text: str
    number: int
    fault: Invalid | None


class TabRecords:
    """Records whose cells are separated by tabs. A quote that does not close is text.

    A quote at the beginning of a cell may close in a later line, as in exports of Excel. It does not if the cells of
    the record would be more or fewer than those of the header, or if each of these lines by itself has as many cells
    as the header.
    """

    separator = "\t"

    def __init__(self, lines: FeedLines, skipped: int = 0) -> None:
        self.line = 0
        self._fault: Invalid | None = None
        self._lines = lines
        self._texts = iter(lines)
        self._ahead: deque[_Line] = deque()
        for _ in range(skipped):
            self._next()

    def read(self, width: int | None) -> list[str] | None:
        """Return the next record; None: the end. Raises ``FeedError`` and ``Invalid``."""
        line = self._next()
        if line is None:
            return None
        self.line, self._fault = line.number, line.fault
        text = line.text.rstrip("\r\n")
        if '"' not in text:
            cells = text.split("\t")
        else:
            cells, opened = _split(text)
            if opened is not None and (longer := self._continue(line, opened, width)) is not None:
                return longer
        if "\r" in text:
            raise _lone_return()
        return cells

    def take_fault(self) -> Invalid | None:
        """Return the problem with the bytes of the latest record; None: there is none."""
        return self._fault

    def _next(self) -> _Line | None:
        return self._ahead.popleft() if self._ahead else self._read_line()

    def _read_line(self) -> _Line | None:
        text = next(self._texts, None)
        return None if text is None else _Line(text, self._lines.number, self._lines.take_fault())

    def _continue(self, first: _Line, opened: int, width: int | None) -> list[str] | None:
        """Return the record that begins in ``first`` and ends in a later line; None: the open quote is text.

        ``opened`` is the position of the quote.
        """
        taken = [first]
        for number in range(_CELL_LINES):
            if number == len(self._ahead):
                line = self._read_line()
                if line is None:
                    return None
                self._ahead.append(line)
            taken.append(self._ahead[number])
            if '"' not in taken[-1].text:
                continue
            text = "".join(line.text for line in taken).rstrip("\r\n")
            cells, still_open = _split(text)
            if still_open is not None and (still_open == opened or _CLOSED.match(text, opened)):
                continue
            if still_open is not None or not _CLOSED.match(text, opened) or not _is_record(cells, taken, width):
                return None
            for line in taken[1:]:
                self._fault = self._fault or line.fault
                self._ahead.popleft()
            return cells
        return None


def _split(text: str) -> tuple[list[str], int | None]:
    """Return the cells of ``text``, and the position of the first quote that may close in a later line; None: none."""
    cells: list[str] = []
    opened = None
    start = 0
    while True:
        closed = _CLOSED.match(text, start)
        if closed is not None:
            cells.append(closed[1].replace('""', '"'))
            end = closed.end()
        else:
            if opened is None and _OPEN.match(text, start):
                opened = start
            end = text.find("\t", start)
            end = len(text) if end < 0 else end
            cells.append(text[start:end])
        if end == len(text):
            return cells, opened
        start = end + 1


def _is_record(cells: list[str], lines: list[_Line], width: int | None) -> bool:
    """Tell whether ``lines`` are one record with these cells, and not one record each."""
    if width is None:
        return True
    alone = width > 1 and all(line.text.count("\t") == width - 1 for line in lines)
    return len(cells) == width and not alone
