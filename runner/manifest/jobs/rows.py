"""Expansion of the rows of a feed into jobs. A bad row is a problem of the manifest, or is skipped.

If the entry itself does not set what its model requires, columns are read as keys of a job (``JobColumns``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.manifest import units
from runner.manifest.feeds.lines import FeedError
from runner.manifest.jobs.entry import JOB_COLUMNS, read_file, read_id
from runner.manifest.jobs.expansion import NO_CELLS, Cells, JobExpansion, JobProblem
from runner.manifest.jobs.inputs import KEYS
from runner.manifest.jobs.matrix import SIZE_KEYS
from runner.manifest.names import normal
from runner.manifest.nodes import RowMark
from runner.manifest.problems import Invalid, nearest, shown
from runner.manifest.templates.rendering import as_node, cell_value
from runner.manifest.templates.template import SHORT
from runner.manifest.yaml.scalars import text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runner.core.models import Json
    from runner.manifest.feeds.feed import Feed, Rows
    from runner.manifest.feeds.lines import Row
    from runner.manifest.jobs.collector import JobCollector
    from runner.manifest.jobs.entry import JobEntry
    from runner.manifest.problems import Problems
    from runner.manifest.templates.template import Template, Templates

_SIZES: Final = ("width", "height")


class FeedReader:
    """Reader of the feed of one entry; it makes the jobs of each row."""

    def __init__(
        self, feed: Feed, job_entry: JobEntry, templates: Templates, collector: JobCollector, problems: Problems
    ) -> None:
        self._feed = feed
        self._job_entry = job_entry
        self._templates = templates
        self._collector = collector
        self._problems = problems
        self._vocabulary = job_entry.vocabulary
        self._columns = JobColumns(job_entry) if job_entry.rows_as_jobs else None

    def read(self) -> None:
        """Pass the jobs of every row to the collector. Note an error where the feed cannot be read any further."""
        try:
            with self._feed.open() as rows:
                if rows.columns is None or self._check_header(rows.columns, rows.header_line):
                    self._read(rows)
        except FeedError as broken:
            self._problems.error(self._row(broken.line), broken.wrong.what, broken.wrong.advice)

    def _row(self, line: int) -> RowMark:
        return RowMark(line, 1, self._feed.source)

    def _check_header(self, columns: Collection[str], line: int) -> bool:
        """Tell whether the feed has the columns that the entry needs. Problems are noted once, not for each row."""
        faults = list(self._template_faults(columns))
        for template, wrong in faults:
            what = f"`{template.field}` {wrong.what}"
            self._problems.error(template.mark, what, wrong.advice)
        others = list(self._column_faults(columns))
        for wrong in others:
            self._problems.error(self._row(line), wrong.what, wrong.advice)
        return not faults and not others

    def _template_faults(self, columns: Collection[str]) -> Iterator[tuple[Template, Invalid]]:
        for template in self._job_entry.templates:
            for wrong in self._vocabulary.faults(template, columns):
                yield template, wrong

    def _column_faults(self, columns: Collection[str]) -> Iterator[Invalid]:
        for name in self._job_entry.matrix.keys:
            if name in columns:
                yield Invalid(f"the column {shown(name)} is a key of the matrix, too", "rename one of them")
        if self._columns is not None:
            yield from self._columns.faults(columns)

    def _row_faults(self, columns: Collection[str]) -> list[Invalid]:
        faults = list(self._column_faults(columns))
        for template, wrong in self._template_faults(columns):
            place = self._problems.place(template.mark)
            faults.append(Invalid(f"`{template.field}` {wrong.what}, in the template at {place}", wrong.advice))
        return faults

    def _read(self, rows: Rows) -> None:
        series = JobExpansion(self._job_entry, self._templates, loose=rows.loose)
        empty, known, wrongs = True, None, list[Invalid]()
        for row in rows:
            empty = False
            if rows.columns is None and row.fault is None and row.cells.keys() != known:
                known, wrongs = row.cells.keys(), self._row_faults(row.cells.keys())
            self._take(row, wrongs if row.fault is None else [row.fault], series, loose=rows.loose)
        if empty:
            advice = "no job comes of it"
            self._problems.warn(self._job_entry.mark("from"), f"the feed {self._feed.source} has no rows", advice)

    def _take(self, row: Row, wrongs: list[Invalid], series: JobExpansion, *, loose: bool) -> None:
        place = self._row(row.line)
        if wrongs:
            self._collector.refuse(place, wrongs)
            return
        cells = NO_CELLS
        if self._columns is not None:
            cells, faults = self._columns.read(row.cells, loose=loose)
            series.faults += faults
        self._collector.take(self._job_entry, series, place, row.cells, cells)


class JobColumns:
    """Meaning of the columns of a feed for an entry that leaves the values of its jobs to the rows."""

    def __init__(self, job_entry: JobEntry) -> None:
        self._job_entry = job_entry
        self._named = {name for t in job_entry.templates for name in t.data | (t.names.used & set(SHORT))}
        self._required = job_entry.model.inputs.required

    def faults(self, columns: Collection[str]) -> Iterator[Invalid]:
        """Yield the problems of these columns."""
        doubted = []
        for name in columns:
            if wrong := self._doubt(name):
                doubted.append(name)
                yield wrong
        beside = [name for name in _SIZES if name in columns or self._gives(name)]
        if self._is_key("size", columns):
            for name in beside:
                yield Invalid(f"the column `size` stands beside `{name}`; that sets it too", "keep one of them")
        elif any(self._is_key(name, columns) for name in _SIZES) and self._sizes_given():
            yield Invalid("the columns set a size, and the entry does so too", "keep one of them")
        if self._is_key("id", columns):
            yield from self._leaves_out()
        for name in self._required:
            # If a column is misspelt, the intended column is not reported as missing, too.
            if name not in columns and name not in self._job_entry.model.defaults.values and not nearest(name, doubted):
                advice = f"write `{name}:` in the entry, with the columns as {{{{ names }}}}, or name a column `{name}`"
                yield Invalid(f"there is no column `{name}`, and the entry sets none", advice)

    def _leaves_out(self) -> Iterator[Invalid]:
        """Yield a problem for each key of the matrix, sizes excepted, with several values.

        An id from a row is the same for the row's whole matrix.
        """
        for axis in self._job_entry.matrix.axes:
            if axis.name not in SIZE_KEYS and len(axis.options) > 1:
                what = f"the column `id` leaves out `{axis.name}`, a key of the matrix: its jobs would share one"
                yield Invalid(what, f"write an id in the entry: \"{{{{ row['id'] }}}}-{{{{ {axis.name} }}}}\"")

    def _is_key(self, name: str, columns: Collection[str]) -> bool:
        return name in columns and self.means_key(name)

    def means_key(self, name: str) -> bool:
        """Tell whether a column with this name sets a key of the job."""
        if self._gives(name):
            return False
        if name in JOB_COLUMNS:
            return True
        known = self._job_entry.model.inputs.known
        if name in KEYS:
            return False
        return name in known if known is not None else name == "prompt" or name not in self._named

    def _gives(self, name: str) -> bool:
        """Tell whether the entry itself sets ``name``."""
        job_entry = self._job_entry
        if name in job_entry.entry.items or name in job_entry.matrix.inputs:
            return True
        return name in job_entry.inputs.values or any(rendered.name == name for rendered in job_entry.rendered)

    def _sizes_given(self) -> bool:
        job_entry = self._job_entry
        return job_entry.matrix.sizes() is not None or "size" in job_entry.entry.items

    def _doubt(self, name: str) -> Invalid | None:
        if self._gives(name):
            if name in self._named:
                return None
            what = f"the column {shown(name)} sets what the entry sets too"
            return Invalid(what, "rename the column, or take the key out of the entry")
        if self.means_key(name) or name in self._named:
            return None
        if name in KEYS:
            return Invalid(f"the column {shown(name)} cannot set what belongs to the entry", "rename the column")
        model = self._job_entry.model
        known = list(model.inputs.known or ())
        what = f"the column {shown(name)} is neither a key of a job nor an input of {model.model}"
        advice = "give the entry a `prompt:` of its own, and columns are data"
        return Invalid(what, nearest(name, [*known, *JOB_COLUMNS]) or advice)

    def read(self, row: dict[str, Json], *, loose: bool) -> tuple[Cells, list[JobProblem]]:
        """Return the values that a row sets, and the problems in them."""
        cells, faults = Cells(), []
        for name, value in row.items():
            if not self.means_key(name):
                continue
            try:
                self._read(cells, name, value, loose=loose)
            except Invalid as wrong:
                cells.failed |= set(_SIZES) if name == "size" else {name}
                faults.append(
                    JobProblem(self._job_entry.mark("from"), f"`{name}` {wrong.what}", wrong.advice, of_row=True)
                )
        return cells, faults

    def _read(self, cells: Cells, name: str, value: Json, *, loose: bool) -> None:
        if loose and value == "":
            # An empty cell has the meaning of a missing key.
            if name in self._required:
                raise Invalid("is empty", "fill the cell")
        elif name == "id":
            cells.id = read_id(normal(_text(value)))
        elif name == "file":
            cells.file = read_file(normal(_text(value)))
        elif name == "size":
            cells.inputs["width"], cells.inputs["height"] = units.size(_text(value).strip())
        else:
            cells.inputs[name] = cell_value(value, self._job_entry.model.inputs.converter(name), loose=loose)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else text(as_node(value))
