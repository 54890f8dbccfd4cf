"""An entry with ``from:`` → its jobs, row by row; a bad row is noted or skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.manifest.feeds.lines import Broken
from runner.manifest.jobs.columns import Columns
from runner.manifest.jobs.expansion import NO_CELLS, Series
from runner.manifest.nodes import RowMark
from runner.manifest.problems import Wrong, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runner.manifest.feeds.feed import Feed, Rows
    from runner.manifest.feeds.lines import Row
    from runner.manifest.jobs.collector import Intake
    from runner.manifest.jobs.entry import Recipe
    from runner.manifest.problems import Findings
    from runner.manifest.templates.template import Template, Templates


class FeedReader:
    """Makes the jobs of one entry from the rows of its feed."""

    def __init__(self, feed: Feed, recipe: Recipe, templates: Templates, intake: Intake, findings: Findings) -> None:
        self._feed = feed
        self._recipe = recipe
        self._templates = templates
        self._intake = intake
        self._findings = findings
        self._vocabulary = recipe.vocabulary
        self._columns = Columns(recipe) if recipe.rows_as_jobs else None

    def read(self) -> None:
        """Take every row in, or note where the feed ends being one."""
        try:
            with self._feed.open() as rows:
                if rows.columns is None or self._check_header(rows.columns, rows.header_line):
                    self._read(rows)
        except Broken as broken:
            self._findings.error(self._row(broken.line), broken.wrong.what, broken.wrong.advice)

    def _row(self, line: int) -> RowMark:
        return RowMark(line, 1, self._feed.source)

    def _check_header(self, columns: Collection[str], line: int) -> bool:
        """Whether the columns are those that the entry needs; told once, and not again at each row."""
        faults = list(self._template_faults(columns))
        for template, wrong in faults:
            what = f"`{template.field}` {wrong.what}"
            self._findings.error(template.mark, what, wrong.advice)
        others = list(self._column_faults(columns))
        for wrong in others:
            self._findings.error(self._row(line), wrong.what, wrong.advice)
        return not faults and not others

    def _template_faults(self, columns: Collection[str]) -> Iterator[tuple[Template, Wrong]]:
        for template in self._recipe.templates:
            for wrong in self._vocabulary.faults(template, columns):
                yield template, wrong

    def _column_faults(self, columns: Collection[str]) -> Iterator[Wrong]:
        for name in self._recipe.matrix.keys:
            if name in columns:
                yield Wrong(f"the column {shown(name)} is a key of the matrix, too", "rename one of them")
        if self._columns is not None:
            yield from self._columns.faults(columns)

    def _row_faults(self, columns: Collection[str]) -> list[Wrong]:
        faults = list(self._column_faults(columns))
        for template, wrong in self._template_faults(columns):
            place = self._findings.place(template.mark)
            faults.append(Wrong(f"`{template.field}` {wrong.what}, in the template at {place}", wrong.advice))
        return faults

    def _read(self, rows: Rows) -> None:
        series = Series(self._recipe, self._templates, loose=rows.loose)
        empty, known, wrongs = True, None, list[Wrong]()
        for row in rows:
            empty = False
            if rows.columns is None and row.fault is None and row.cells.keys() != known:
                known, wrongs = row.cells.keys(), self._row_faults(row.cells.keys())
            self._take(row, wrongs if row.fault is None else [row.fault], series, loose=rows.loose)
        if empty:
            advice = "no job comes of it"
            self._findings.warn(self._recipe.mark("from"), f"the feed {self._feed.source} has no rows", advice)

    def _take(self, row: Row, wrongs: list[Wrong], series: Series, *, loose: bool) -> None:
        place = self._row(row.line)
        if wrongs:
            self._intake.refuse(place, wrongs)
            return
        cells = NO_CELLS
        if self._columns is not None:
            cells, faults = self._columns.read(row.cells, loose=loose)
            series.faults += faults
        self._intake.take(self._recipe, series, place, row.cells, cells)
