"""Tables: rows of text cells below a header. The checks of rows are strict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from runner.manifest.feeds.lines import FeedError, Row
from runner.manifest.feeds.options import SEPARATORS
from runner.manifest.problems import Invalid, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNS: Final = {",": "comma", "\t": "tab", ";": "semicolon"}


class Records(Protocol):
    """Rows of cells, in order, the header among them."""

    separator: str
    line: int
    """Line on which the latest record begins."""

    def read(self, width: int | None) -> list[str] | None:
        """Return the next record; None: the end. Raises ``FeedError``, and ``Invalid`` if only this record is bad.

        ``width`` is the number of cells of the header; None: the header has not been read.
        """

    def take_fault(self) -> Invalid | None:
        """Return the problem with the bytes of the latest record; None: there is none."""


class Table:
    """Rows below a header, in order; ``columns`` are the header's names without empty ones.

    Records whose cells are all empty are no rows.
    """

    loose = True
    """Cells are texts; the place of a value decides its type."""

    def __init__(self, records: Records) -> None:
        """Read the header. Raises ``FeedError``."""
        self._records = records
        self._header = self._read_header()
        self.header_line = records.line
        self.columns: tuple[str, ...] | None = tuple(filter(str.strip, self._header))

    def _read_header(self) -> list[str]:
        records = self._records
        try:
            while (header := records.read(None)) is not None:
                fault = records.take_fault()
                if not any(map(str.strip, header)):
                    continue
                if wrong := fault or self._doubt_header(header):
                    raise FeedError(records.line, wrong)
                return header
        except Invalid as wrong:
            raise FeedError(records.line, wrong) from None
        raise FeedError(0, Invalid("this feed is empty", "its first line names the columns"))

    def _doubt_header(self, header: list[str]) -> Invalid | None:
        separator = self._records.separator
        for other, name in SEPARATORS.items():
            if len(header) == 1 and other != separator and other in header[0]:
                what = f"the columns are separated by {name}, not by {_plural(separator)}"
                return Invalid(what, f"write `delimiter: {'tab' if other == chr(9) else chr(34) + other + chr(34)}`")
        for number, name in enumerate(header):
            if name.strip() and (first := header.index(name)) != number:
                what = f"the column {shown(name)} is there twice, as number {first + 1} and {number + 1}"
                return Invalid(what, "rename one or delete it")
        return None

    def __iter__(self) -> Iterator[Row]:
        records, header, width = self._records, self._header, len(self._header)
        read, plain = records.read, all(map(str.strip, header))
        while True:
            try:
                cells = read(width)
            except Invalid as wrong:
                records.take_fault()
                yield Row(records.line, {}, wrong)
                continue
            if cells is None:
                return
            fault = records.take_fault()
            if not cells or not (cells[0].strip() or any(map(str.strip, cells))):
                continue
            if len(cells) != width or not plain:
                fault = fault or self._measure(cells)
            yield Row(records.line, dict(zip(header, cells, strict=False)), fault)

    def _measure(self, cells: list[str]) -> Invalid | None:
        if len(cells) != len(self._header):
            few = len(cells) < len(self._header)
            what = f"this row has {_counted(len(cells))}, the header {_counted(len(self._header))}"
            sign = _SIGNS.get(self._records.separator, f"`{self._records.separator}`")
            return Invalid(what, f"an empty cell has its {sign}, too" if few else f"quote a cell that holds a {sign}")
        for number, (name, cell) in enumerate(zip(self._header, cells, strict=True)):
            if cell and not name.strip():
                what = f"the cell {shown(cell)} stands in column {number + 1}, which has no name"
                return Invalid(what, "name the column in the first line, or empty the cell")
        return None


def _plural(separator: str) -> str:
    return SEPARATORS.get(separator, f"`{separator}`")


def _counted(cells: int) -> str:
    return f"{cells} cell" if cells == 1 else f"{cells} cells"
