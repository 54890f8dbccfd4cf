"""Spreadsheets: rows of one sheet of an ``.xlsx`` file, as texts. Needs the extra ``xlsx``."""

from __future__ import annotations

import re
import zlib
from datetime import date, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile, ZipFile

from runner.manifest.feeds.lines import FeedError
from runner.manifest.problems import Invalid, listing, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from python_calamine import CalamineSheet, CalamineWorkbook

MAX_ROWS: Final = 1_048_576
"""Rows of a sheet of Excel. A sheet is held in memory."""
MAX_CELLS: Final = 1 << 25
"""Most cells between the first and the last cell of a sheet: 32 bytes each, whether or not a value is there."""
MAX_UNPACKED_BYTES: Final = 1 << 30
_SHEETS: Final = "xl/worksheets/"
_HEAD_BYTES: Final = 4096
_DIMENSION: Final = re.compile(rb'<dimension ref="[A-Z]+[0-9]+:([A-Z]{1,3})([0-9]{1,7})"')
_LOCKED: Final = b"\xd0\xcf\x11\xe0"
"""Beginning of the container that spreadsheets with a password are in."""
_AS_CSV: Final = "save the sheet as CSV UTF-8 and name that file"
_DIGITS: Final = 15
"""Significant digits that Excel shows of a number."""


class SheetRecords:
    """Rows of a sheet as texts, as a table in a text file has them."""

    separator = ","

    def __init__(self, path: Path, name: str | None) -> None:
        """Load the sheet ``name``, or the first one. Raises ``FeedError``."""
        self.line = 0
        self._rows = _rows(path, name)

    def read(self, width: int | None) -> list[str] | None:  # noqa: ARG002 - all rows of a sheet are equally long
        """Return the next row; None: the end. Raises ``FeedError``."""
        row = next(self._rows, None)
        if row is None:
            return None
        self.line += 1
        if self.line > MAX_ROWS:
            raise FeedError(self.line, Invalid(f"this sheet has more than {MAX_ROWS:,} rows", _AS_CSV))
        return [value if type(value) is str else _text(value) for value in row]

    def take_fault(self) -> Invalid | None:
        """Return None: a spreadsheet has no bytes that are no text."""
        return None


def _rows(path: Path, name: str | None) -> Iterator[list[Any]]:
    if find_spec("python_calamine") is None:
        what = "spreadsheets are read with python-calamine, which is not installed here"
        raise FeedError(0, Invalid(what, f"pip install 'runcomfy-runner[xlsx]', or {_AS_CSV}"))
    from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415 - needs an extra

    _check_size(path)
    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            sheet = _sheet(book, name)
            # Versions before 0.9 panic on an empty sheet.
            return sheet.iter_rows() if sheet.start is not None else iter(())
    except CalamineError as error:
        raise FeedError(0, Invalid(f"this spreadsheet cannot be read: {error}", _AS_CSV)) from None


def _sheet(book: CalamineWorkbook, name: str | None) -> CalamineSheet:
    names = book.sheet_names
    if not names:
        raise FeedError(0, Invalid("this spreadsheet has no sheet", _AS_CSV))
    if name is not None and name not in names:
        advice = nearest(name, names) or f"there is {listing(names)}"
        raise FeedError(0, Invalid(f"this spreadsheet has no sheet {shown(name)}", advice))
    return book.get_sheet_by_name(name or names[0])


def _check_size(path: Path) -> None:
    """Raise ``FeedError`` if the file is no spreadsheet, or would fill the memory."""
    try:
        with ZipFile(path) as book:
            parts = book.infolist()
            unpacked = sum(part.file_size for part in parts)
            sheets = [part for part in parts if part.filename.startswith(_SHEETS) and part.filename.endswith(".xml")]
            cells = 0 if unpacked > MAX_UNPACKED_BYTES else max((_cells(book, part) for part in sheets), default=0)
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error, OSError):
        with path.open("rb") as file:
            is_locked = file.read(len(_LOCKED)) == _LOCKED
        what = "this spreadsheet has a password, or is an old .xls" if is_locked else "this file is no spreadsheet"
        raise FeedError(0, Invalid(what, _AS_CSV)) from None
    if unpacked > MAX_UNPACKED_BYTES:
        what = f"this spreadsheet has more than {MAX_UNPACKED_BYTES:,} bytes, unpacked"
        raise FeedError(0, Invalid(what, _AS_CSV))
    if cells > MAX_CELLS:
        what = f"a sheet of this file reaches over {cells:,} cells, the empty ones included"
        advice = f"delete what stands far below or beside the table, or {_AS_CSV}"
        raise FeedError(0, Invalid(what, advice))


def _cells(book: ZipFile, part: Any) -> int:
    """Return the number of cells of a sheet, as its beginning states it."""
    with book.open(part) as sheet:
        found = _DIMENSION.search(sheet.read(_HEAD_BYTES))
    if found is None:
        return 0
    column = 0
    for letter in found[1]:
        column = column * 26 + letter - ord("A") + 1
    return column * int(found[2])


def _text(value: Any) -> str:
    """Return what the sheet shows of a value that is no text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 10**_DIGITS
        return str(int(value)) if whole else format(value, f".{_DIGITS}g")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date) else str(value)
