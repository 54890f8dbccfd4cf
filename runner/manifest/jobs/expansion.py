"""Expansion of an entry and a row into jobs: values are filled in and checked, ids and files completed."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from runner.core.models import MAX_OUTPUTS, Job
from runner.manifest import units
from runner.manifest.jobs.empty_cells import EmptyCells
from runner.manifest.jobs.fingerprint import fingerprint
from runner.manifest.names import check_file_name, check_id, file_advice, id_advice, normal, slug, without_extension
from runner.manifest.problems import FAILED, Invalid, shown
from runner.manifest.templates.template import OUTPUT_MARK, SIZES, Template

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runner.core.copies import CopyRecipe
    from runner.core.models import Json
    from runner.manifest.jobs.entry import JobEntry, Stem, Suffixes
    from runner.manifest.jobs.inputs import KnownModel
    from runner.manifest.jobs.matrix import Combination
    from runner.manifest.models.local_files import LocalFiles
    from runner.manifest.nodes import Mark, RowMark
    from runner.manifest.problems import Problems
    from runner.manifest.templates.rendering import Rendered
    from runner.manifest.templates.template import Templates


_LEFT_OUT: Final = ("", "false", "0")
"""Output of ``where``, in any case, for rows of which no job is made."""


class JobProblem(NamedTuple):
    """Problem of a job, and the place in the manifest that it comes from."""

    mark: Mark
    what: str
    advice: str
    of_row: bool
    """True if the problem comes from the row, so that another row may not have it."""


class ExpandedJob(NamedTuple):
    """A job, and the id that was made from its inputs, without suffixes.

    The id is None if the job has an id of its own, or is not the first copy.
    """

    job: Job
    generated: str | None
    keys: dict[str, Json]
    """Values of the keys of ``matrix:``."""


class Cells(msgspec.Struct):
    """Values that a row sets by itself, if rows are jobs."""

    inputs: dict[str, Json] = msgspec.field(default_factory=dict)
    id: str | None = None
    file: str | None = None
    failed: set[str] = msgspec.field(default_factory=set)


NO_CELLS = Cells()


class _Draft(msgspec.Struct):
    """A job that is not complete yet."""

    own: dict[str, Json]
    marks: dict[str, Mark]
    failed: set[str]
    values: dict[str, Json] = msgspec.field(default_factory=dict)


class JobExpansion:
    """Expansion of one entry into its jobs. Problems are collected in ``faults`` until the caller takes them."""

    def __init__(self, job_entry: JobEntry, templates: Templates, files: LocalFiles, *, loose: bool) -> None:
        self.faults: list[JobProblem] = []
        self.count = job_entry.count_jobs()
        """Number of jobs per row."""
        self._job_entry = job_entry
        self._names = templates.names
        self._templates = templates
        self._files = files
        self._loose = loose
        self._of_row: dict[int, bool] = {}
        self._id_ending = job_entry.ending(job_entry.id)
        self._file_ending = job_entry.ending(job_entry.file)
        self._copy_endings = [job_entry.ending(copy.file) for copy in job_entry.copies]
        self._empty_cells = EmptyCells(job_entry, templates) if job_entry.feed is not None else None
        endings = (self._id_ending, self._file_ending, *self._copy_endings)
        self._uses_names = bool(job_entry.templates) or any(ending.size for ending in endings)
        """True if anything depends on the names and sizes of the jobs. Most entries have no such dependency."""
        if self._uses_names:
            self._prepare()

    def _prepare(self) -> None:
        job_entry, matrix = self._job_entry, self._job_entry.matrix.names
        self._of_row = {id(t): job_entry.feed is not None and t.depends_on_row(matrix) for t in job_entry.templates}
        self._first = [rendered for rendered in job_entry.rendered if rendered.name in SIZES]
        self._rest = [rendered for rendered in job_entry.rendered if rendered.name not in SIZES]

    def keeps(self, columns: dict[str, Json]) -> bool:
        """Tell whether ``where`` lets jobs be made of a row. Raises ``Invalid``."""
        if self._job_entry.where is None:
            return True
        self._set_row(columns)
        return self._job_entry.where.text(self._templates.context).strip().lower() not in _LEFT_OUT

    def tell(self, problems: Problems) -> None:
        """Warn of what was found in all rows together."""
        if self._empty_cells is not None:
            self._empty_cells.tell(problems)

    def jobs(self, columns: dict[str, Json], cells: Cells, row: RowMark | None = None) -> Iterator[ExpandedJob]:
        """Yield the jobs of one row, or of an entry without rows. ``columns`` are the names that the row defines."""
        watch = self._empty_cells
        empty = watch.empty_columns(columns) if watch is not None else []
        for combination in self._job_entry.matrix:
            for copy in range(1, self._job_entry.repeat + 1):
                if self._uses_names:
                    self._set_names(columns, combination, copy)
                made = self._make(combination, cells, copy)
                if watch is not None and empty and row is not None and not self.faults:
                    for template, wrong in watch.see(columns, empty, row):
                        self._note_template(template, wrong)
                if made is not None:
                    yield made

    def _set_row(self, columns: dict[str, Json]) -> None:
        names = self._names
        names.clear()
        names.update(columns)
        if None in columns.values():
            names.update({name: self._templates.null(name) for name, value in columns.items() if value is None})
        names["row"] = columns

    def _set_names(self, columns: dict[str, Json], combination: Combination, copy: int) -> None:
        self._set_row(columns)
        names = self._names
        names.update(combination.names)
        names["copy"] = copy
        names["job"] = {"model": self._job_entry.model.model, "copy": copy}

    def _make(self, combination: Combination, cells: Cells, copy: int) -> ExpandedJob | None:
        job_entry, model = self._job_entry, self._job_entry.model
        own = {**job_entry.inputs.values, **cells.inputs, **combination.inputs}
        draft = _Draft(own, combination.marks, job_entry.inputs.failed | cells.failed)
        if self._uses_names:
            self._fill_sizes(draft, combination)
        stem = self._stem(cells.id, job_entry.id)
        ending = self._ending(self._id_ending, copy)
        if self._uses_names:
            self._fill_others(draft, combination, stem, ending)
        draft.values = model.inputs.merged(draft.own, model.defaults.values)
        readable = self._check(draft)
        if stem is FAILED or (stem is None and not readable):
            return None
        values, local = self._take_files(draft)
        digest = fingerprint(model.model, values, local)
        generated = None if stem is not None else generated_id(model, values, digest, local)
        job_id = f"{generated if stem is None else stem}{ending}"
        file = self._file(cells.file, job_id, copy)
        if file is None or not self._has_good_names(job_id, file):
            return None
        copies = self._copies(job_id, copy) if job_entry.copies else ()
        file, numbered_at = _numbered(file)
        job = Job(id=job_id, model=model.model, inputs=values, fingerprint=digest, file=file,
                  numbered_at=numbered_at, line=job_entry.entry.line, column=job_entry.entry.column,
                  checked=model.inputs.live, local=local, copies=copies, sidecar=job_entry.sidecar)  # fmt: skip
        keys = {name: draft.values.get(name) if value is None else value for name, value in combination.names.items()}
        return ExpandedJob(job, generated if copy == 1 else None, keys)

    def _fill_sizes(self, draft: _Draft, combination: Combination) -> None:
        """Fill in width and height first: other templates may use them."""
        self._fill(draft, [*self._first, *(r for r in combination.rendered if r.name in SIZES)])
        self._fill_size(draft)
        model = self._job_entry.model
        self._name_size(model.inputs.merged(draft.own, model.defaults.values))

    def _fill_others(self, draft: _Draft, combination: Combination, stem: Stem, ending: str) -> None:
        if isinstance(stem, str):
            self._names["job"]["id"] = stem + ending
        self._fill(draft, [*self._rest, *(r for r in combination.rendered if r.name not in SIZES)])

    def _fill(self, draft: _Draft, fields: list[Rendered]) -> None:
        for rendered in fields:
            try:
                draft.own[rendered.name] = rendered.value(self._templates.context, loose=self._loose)
            except Invalid as wrong:
                draft.failed = draft.failed | {rendered.name}
                of_row = any(self._of_row[id(t)] for t in rendered.templates)
                self._note(rendered.mark, f"`{rendered.name}` {wrong.what}", wrong.advice, of_row=of_row)

    def _fill_size(self, draft: _Draft) -> None:
        template = self._job_entry.size
        if template is None:
            return
        try:
            draft.own["width"], draft.own["height"] = units.size(template.text(self._templates.context).strip())
        except Invalid as wrong:
            draft.failed = draft.failed | {"width", "height"}
            self._note_template(template, wrong)

    def _name_size(self, values: dict[str, Json]) -> None:
        width, height = values.get("width"), values.get("height")
        found: dict[str, Any] = {}
        if width is not None:
            found["width"] = width
        if height is not None:
            found["height"] = height
        if len(found) == 2:
            found["size"] = f"{width}x{height}"
        self._names["job"].update(found)
        for name, value in found.items():
            # If a column has this name, templates may not use the bare name, and the column keeps its value.
            self._names.setdefault(name, value)

    def _stem(self, cell: str | None, stem: Stem) -> Stem:
        """Return the id or file that the entry or the row gives, filled in; None: neither gives one."""
        if not isinstance(stem, Template):
            return cell if stem is None else stem
        try:
            return normal(stem.text(self._templates.context))
        except Invalid as wrong:
            self._note_template(stem, wrong)
            return FAILED

    def _file(self, cell: str | None, job_id: str, copy: int) -> str | None:
        if cell is None and self._job_entry.file is None:
            return job_id
        if self._uses_names:
            self._names["job"]["id"] = job_id
            self._names["job"]["output"] = self._names["output"] = OUTPUT_MARK
        stem = self._stem(cell, self._job_entry.file)
        if not isinstance(stem, str):
            return None
        return without_extension(stem) + self._ending(self._file_ending, copy)

    def _copies(self, job_id: str, copy: int) -> tuple[CopyRecipe, ...]:
        """Return the recipes of the copies, filled in, without those that have a problem."""
        if self._uses_names:
            self._names["job"]["id"] = job_id
            self._names["job"]["output"] = self._names["output"] = OUTPUT_MARK
        found = []
        for entry, ending in zip(self._job_entry.copies, self._copy_endings, strict=True):
            texts = [self._stem(None, text) for text in (entry.file, entry.title, entry.copyright)]
            if FAILED in texts:
                continue
            stem, title, copyright_ = map(str, texts)
            stem += self._ending(ending, copy)
            for number in (1, MAX_OUTPUTS):
                reason = check_file_name(stem.replace(OUTPUT_MARK, str(number)))
                if reason:
                    of_row = isinstance(entry.file, Template) and self._of_row[id(entry.file)]
                    what = f"the copy {shown(stem + entry.extension)} {reason}"
                    self._note(entry.mark, what, file_advice(reason), of_row=of_row)
                    break
            else:
                file, numbered_at = _numbered(stem + entry.extension)
                recipe = msgspec.structs.replace(
                    entry.recipe, file=file, numbered_at=numbered_at, title=title, copyright=copyright_
                )
                found.append(recipe)
        return tuple(found)

    def _ending(self, ending: Suffixes, copy: int) -> str:
        size = f"-{self._names['job'].get('size', '')}" if ending.size else ""
        return f"{size}-{copy}" if ending.copy and copy > 1 else size

    def _take_files(self, draft: _Draft) -> tuple[dict[str, Json], dict[str, tuple[str, ...]]]:
        """Return the inputs with references to files of this machine, and the media types in each of these inputs.

        The problems of the files are noted.
        """
        if not self._files.accepted or not self._job_entry.model.inputs.file_kinds:
            return draft.values, {}
        values, local, wrongs = self._files.take(self._job_entry.model.inputs, draft.values)
        for name, wrong in wrongs:
            mark, of_row = self._source(draft, name)
            self._note(mark, f"`{name}` {wrong.what}", wrong.advice, of_row=of_row)
        return (draft.values, {}) if wrongs else (values, local)

    def _check(self, draft: _Draft) -> bool:
        """Note the values that the schema rejects. Return whether every value could be read."""
        model = self._job_entry.model
        faults = model.inputs.faults(draft.values, paths=self._files.accepted)
        if not faults and not draft.failed and not model.defaults.failed:
            return True
        failed = draft.failed | (model.defaults.failed - draft.values.keys())
        for name, what, advice in faults:
            if name not in failed:
                mark, of_row = self._source(draft, name)
                self._note(mark, what, advice, of_row=of_row)
        return not failed

    def _source(self, draft: _Draft, name: str) -> tuple[Mark, bool]:
        """Return the place that the value of ``name`` comes from, and whether it comes from the row."""
        job_entry = self._job_entry
        if name in draft.marks:
            return draft.marks[name], False
        for rendered in job_entry.rendered:
            if rendered.name == name:
                return rendered.mark, any(self._of_row[id(t)] for t in rendered.templates)
        if job_entry.size is not None and name in SIZES:
            return job_entry.size.mark, self._of_row[id(job_entry.size)]
        if name in job_entry.inputs.marks:
            return job_entry.inputs.marks[name], False
        if name in draft.own or (name not in draft.values and job_entry.rows_as_jobs):
            return job_entry.mark("from"), True
        return job_entry.model.defaults.marks.get(name) or job_entry.entry, False

    def _has_good_names(self, job_id: str, file: str) -> bool:
        """Return whether the id and the file are valid for any output, after both are filled in and completed.

        A problem is noted.
        """
        job_entry = self._job_entry
        # An id or file that the entry gives as plain text was checked when the entry was read.
        if job_id != job_entry.id and (reason := check_id(job_id)):
            what = f"the id {shown(job_id)} {reason}" if job_id else "the id is empty"
            self._note_name(job_entry.id, "id", what, id_advice(reason))
            return False
        for number in (1, MAX_OUTPUTS) if OUTPUT_MARK in file else (1,):
            name = file.replace(OUTPUT_MARK, str(number))
            if name not in (job_id, job_entry.file) and (reason := check_file_name(name)):
                self._note_name(job_entry.file, "file", f"the file {shown(name)} {reason}", file_advice(reason))
                return False
        return True

    def _note_name(self, stem: Stem, key: str, what: str, advice: str) -> None:
        of_row = self._job_entry.feed is not None and stem is None
        if isinstance(stem, Template):
            of_row = self._of_row[id(stem)]
        self._note(self._job_entry.mark(key), what, advice, of_row=of_row)

    def _note_template(self, template: Template, wrong: Invalid) -> None:
        what = f"`{template.field}` {wrong.what}"
        self._note(template.mark, what, wrong.advice, of_row=self._of_row[id(template)])

    def _note(self, mark: Mark, what: str, advice: str, *, of_row: bool) -> None:
        self.faults.append(JobProblem(mark, what, advice, of_row))


def _numbered(file: str) -> tuple[str, tuple[int, ...]]:
    """Return ``file`` with the number of the first output, and the positions of the numbers in it."""
    if OUTPUT_MARK not in file:
        return file, ()
    *parts, _ = file.split(OUTPUT_MARK)
    lengths = [len(part) + 1 for part in parts]
    return file.replace(OUTPUT_MARK, "1"), tuple(end - 1 for end in accumulate(lengths))


def generated_id(model: KnownModel, inputs: dict[str, Json], digest: str, local: Collection[str] = ()) -> str:
    """Return an id made of a readable slug of the inputs, and a hash of model and inputs.

    The paths of ``local`` inputs are no part of the id: the same bytes at another path are the same input.
    """
    name = next((name for name in model.inputs.text_names(inputs) if name not in local), None)
    source = inputs[name] if name is not None else "-".join(model.model.split("/")[-2:])
    return f"{slug(source) or 'job'}-{digest.removeprefix('sha256:')[:10]}"
