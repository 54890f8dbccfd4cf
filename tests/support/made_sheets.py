"""Spreadsheets, written by hand: the parts of an ``.xlsx`` file that readers need."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Final
from xml.sax.saxutils import escape, quoteattr
from zipfile import ZIP_DEFLATED, ZipFile

_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

Cell = str | int | float | bool | None


def sheet_xml(rows: Sequence[Sequence[Cell]], *, first: int = 1, dimension: str = "") -> str:
    """Return a sheet with ``rows``, of which the first is row ``first``."""
    lines = "".join(_row(number, cells) for number, cells in enumerate(rows, first))
    stated = f'<dimension ref="{dimension}"/>' if dimension else ""
    return f'{_XML}<worksheet xmlns="{_MAIN}">{stated}<sheetData>{lines}</sheetData></worksheet>'


def _row(number: int, cells: Sequence[Cell]) -> str:
    written = "".join(_cell(f"{chr(ord('A') + column)}{number}", cell) for column, cell in enumerate(cells))
    return f'<row r="{number}">{written}</row>'


def _cell(place: str, cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{int(cell)}</v></c>'
    if isinstance(cell, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
    return f'<c r="{place}"><v>{cell!r}</v></c>'


def workbook(sheets: dict[str, str]) -> bytes:
    """Return an ``.xlsx`` file with these sheets, by name."""
    names = list(sheets)
    listed = "".join(f'<sheet name={quoteattr(n)} sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(names, 1))
    targets = "".join(
        f'<Relationship Id="r{i}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(names) + 1)
    )
    document = f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{document}</Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{targets}</Relationships>',
    }
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as book:
        for name, text in parts.items():
            book.writestr(name, _XML + text)
        for number, sheet in enumerate(sheets.values(), 1):
            book.writestr(f"xl/worksheets/sheet{number}.xml", sheet)
    return file.getvalue()
