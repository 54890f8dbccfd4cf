"""Expansion of the rows of a feed into jobs. A bad row is a problem of the manifest, or is skipped.

If the entry itself does not set what its model requires, columns are read as keys of a job (``JobColumns``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.manifest import units
from runner.manifest.feeds.lines import FeedError, Undecodable
from runner.manifest.jobs.entry import JOB_COLUMNS, read_file, read_id
from runner.manifest.jobs.expansion import NO_CELLS, Cells, JobExpansion, JobProblem
from runner.manifest.jobs.inputs import TAKEN
from runner.manifest.jobs.matrix import SIZE_KEYS
from runner.manifest.names import normal
from runner.manifest.nodes import RowMark
from runner.manifest.problems import Invalid, listing, nearest, shown
from runner.manifest.templates.rendering import as_node, cell_value
from runner.manifest.templates.template import SHORT, Vocabulary
from runner.manifest.yaml.scalars import text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from runner.core.models import Json
    from runner.manifest.feeds.feed import Feed, Rows
    from runner.manifest.feeds.lines import Row
    from runner.manifest.jobs.collector import JobCollector
    from runner.manifest.jobs.entry import JobEntry
    from runner.manifest.models.local_files import LocalFiles
    from runner.manifest.problems import Problems
    from runner.manifest.templates.template import Template, Templates

_SIZES: Final = ("width", "height")
_KINDS: Final = 1000
"""Most different problems of rows that are counted. Further ones are noted for each row."""


class FeedReader:
    """Reader of the feed of one entry; it makes the jobs of each row."""

    def __init__(
        self,
        feed: Feed,
        job_entry: JobEntry,
        templates: Templates,
        files: LocalFiles,
        collector: JobCollector,
        problems: Problems,
    ) -> None:
        self._feed = feed
        self._job_entry = job_entry
        self._templates = templates
        self._files = files
        self._collector = collector
        self._problems = problems
        self._vocabulary = job_entry.vocabulary
        self._columns = JobColumns(job_entry) if job_entry.rows_as_jobs else None
        self._repeated: dict[str, tuple[RowMark, Invalid, int]] = {}
        """Problems of rows by their texts: the first row, the problem, and the number of rows."""

    def read(self) -> None:
        """Pass the jobs of every row to the collector. Note an error where the feed cannot be read any further."""
        try:
            with self._feed.open() as rows:
                if rows.columns is None or self._check_header(rows.columns, rows.header_line):
                    self._read(rows)
        except FeedError as broken:
            self._problems.error(self._mark(broken.line), broken.wrong.what, broken.wrong.advice)
        self._tell_repeated()

    def _mark(self, line: int, source: str = "") -> RowMark:
        return RowMark(line, 1, source or self._feed.source)

    def _check_header(self, columns: Collection[str], line: int) -> bool:
        """Tell whether the feed has the columns that the entry needs. Problems are noted once, not for each row."""
        faults = [*self._where_faults(columns), *self._template_faults(columns)]
        for template, wrong in faults:
            what = f"`{template.field}` {wrong.what}"
            self._problems.error(template.mark, what, wrong.advice)
        others = list(self._column_faults(columns))
        for wrong in others:
            self._problems.error(self._mark(line), wrong.what, wrong.advice)
        return not faults and not others

    def _where_faults(self, columns: Collection[str]) -> list[tuple[Template, Invalid]]:
        where = self._job_entry.where
        if where is None:
            return []
        names = Vocabulary(matrix=(), has_rows=True, own_id=True)
        return [(where, wrong) for wrong in [*_job_names(where)] or names.faults(where, columns)]

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

    def _of_row(self, faults: Iterable[tuple[Template, Invalid]]) -> list[Invalid]:
        """Return the problems of templates as problems of a row."""
        return [
            Invalid(f"`{t.field}` {wrong.what}, in the template at {self._problems.place(t.mark)}", wrong.advice)
            for t, wrong in faults
        ]

    def _read(self, rows: Rows) -> None:
        series = JobExpansion(self._job_entry, self._templates, self._files, loose=rows.loose)
        empty, known = True, None
        of_where, of_others = list[Invalid](), list[Invalid]()
        for row in rows:
            empty = False
            if rows.columns is None and row.fault is None and row.cells.keys() != known:
                known = row.cells.keys()
                of_where = self._of_row(self._where_faults(known))
                of_others = [*self._column_faults(known), *self._of_row(self._template_faults(known))]
            place = self._mark(row.line, row.source)
            if isinstance(row.fault, Undecodable):
                self._refuse(place, [row.fault])
            elif row.fault is not None:
                self._collector.refuse(place, [row.fault])
            elif of_where or not self._is_left_out(row, place, series):
                self._take(row, place, [*of_where, *of_others], series, loose=rows.loose)
        series.tell(self._problems)
        if empty:
            self._warn_of_none()

    def _warn_of_none(self) -> None:
        if self._feed.suffix:
            what, advice = f"the feed {self._feed.source} has no rows", "no job comes of it"
        else:
            what, advice = f"no picture matches {self._feed.source}", "no job comes of it"
        self._problems.warn(self._job_entry.mark("from"), what, advice)

    def _is_left_out(self, row: Row, place: RowMark, series: JobExpansion) -> bool:
        """Tell whether no job is to be made of the row, because of `where` or because `where` cannot be filled in."""
        where = self._job_entry.where
        if where is None:
            return False
        try:
            if series.keeps(row.cells):
                return False
        except Invalid as wrong:
            what = f"`where` {wrong.what}, from the template at {self._problems.place(where.mark)}"
            self._collector.refuse(place, [Invalid(what, wrong.advice)])
            return True
        self._collector.leave_out()
        return True

    def _take(self, row: Row, place: RowMark, wrongs: list[Invalid], series: JobExpansion, *, loose: bool) -> None:
        if wrongs:
            self._refuse(place, wrongs)
            return
        cells = NO_CELLS
        if self._columns is not None:
            cells, faults = self._columns.read(row.cells, loose=loose)
            series.faults += faults
        self._collector.take(self._job_entry, series, place, row.cells, cells)

    def _refuse(self, place: RowMark, wrongs: list[Invalid]) -> None:
        """Skip a row, or note its problems. Many rows may have them for one reason: each is noted at the first row."""
        if self._collector.skips:
            self._collector.refuse(place, wrongs)
            return
        for wrong in wrongs:
            # The text of an undecodable byte names its line.
            key = "" if isinstance(wrong, Undecodable) else wrong.what
            if key in self._repeated or len(self._repeated) < _KINDS:
                first, same, count = self._repeated.get(key, (place, wrong, 0))
                self._repeated[key] = first, same, count + 1
            else:
                self._collector.refuse(place, [wrong])

    def _tell_repeated(self) -> None:
        for place, wrong, count in self._repeated.values():
            more = "" if count == 1 else f"; so in {count:,} rows, this the first"
            self._collector.refuse(place, [Invalid(f"{wrong.what}{more}", wrong.advice)])


def _job_names(where: Template) -> Iterator[Invalid]:
    """Yield a problem for each name of a job in ``where``, which is filled in before there are jobs."""
    for name in sorted(where.jobs_own):
        advice = f'columns decide; one of this name is row["{name}"]'
        yield Invalid(f"uses `{name}`, a name of the job, and there is no job yet", advice)


class JobColumns:
    """Meaning of the columns of a feed for an entry that leaves the values of its jobs to the rows."""

    def __init__(self, job_entry: JobEntry) -> None:
        self._job_entry = job_entry
        templates = [*job_entry.templates, *filter(None, [job_entry.where])]
        self._named = {name for t in templates for name in t.data | (t.names.used & set(SHORT))}
        self._required = job_entry.model.inputs.required

    def faults(self, columns: Collection[str]) -> Iterator[Invalid]:
        """Yield the problems of these columns."""
        unknown = [name for name in columns if self._is_unknown(name)]
        defaults = self._job_entry.model.defaults.values
        missing = [name for name in self._required if name not in columns and name not in defaults]
        # If a column is misspelt, the intended column is not reported as missing, too.
        missing = [name for name in missing if not nearest(name, unknown)]
        if missing:
            # The columns are meant as data for a text that the entry lacks: they are not doubted one by one.
            for name in missing:
                advice = f"write `{name}:` in the entry, with the columns as {{{{ names }}}}, or name a column `{name}`"
                yield Invalid(f"there is no column `{name}`, and the entry sets none", advice)
            return
        if unknown:
            yield self._refuse_unknown(unknown)
        yield from filter(None, map(self._doubt, columns))
        beside = [name for name in _SIZES if name in columns or self._gives(name)]
        if self._is_key("size", columns):
            for name in beside:
                yield Invalid(f"the column `size` stands beside `{name}`; that sets it too", "keep one of them")
        elif any(self._is_key(name, columns) for name in _SIZES) and self._sizes_given():
            yield Invalid("the columns set a size, and the entry does so too", "keep one of them")
        if self._is_key("id", columns):
            yield from self._leaves_out()

    def _is_unknown(self, name: str) -> bool:
        return not (self._gives(name) or self.means_key(name) or name in self._named or name in TAKEN)

    def _refuse_unknown(self, unknown: list[str]) -> Invalid:
        model = self._job_entry.model
        known = [*(model.inputs.known or ()), *JOB_COLUMNS]
        advice = next(filter(None, (nearest(name, known) for name in unknown)), "")
        advice = advice or "give the entry a `prompt:` of its own, and columns are data"
        if len(unknown) == 1:
            what = f"the column {shown(unknown[0])} is neither a key of a job nor an input of {model.model}"
        else:
            names = listing([shown(name) for name in unknown])
            what = f"the columns {names} are neither keys of a job nor inputs of {model.model}"
        return Invalid(what, advice)

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
        if name in TAKEN:
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
        if name in TAKEN:
            return Invalid(f"the column {shown(name)} cannot set what belongs to the entry", "rename the column")
        return None

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
