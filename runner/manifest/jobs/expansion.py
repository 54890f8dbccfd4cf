"""A recipe and a row → jobs: values filled in and checked, ids and files made and completed."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from runner.core.models import MAX_OUTPUTS, Job
from runner.manifest import units
from runner.manifest.jobs.fingerprint import fingerprint
from runner.manifest.names import check_file_name, check_id, file_advice, id_advice, normal, slug, without_extension
from runner.manifest.problems import FAILED, Wrong, shown
from runner.manifest.templates.template import OUTPUT_MARK, SIZES, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.core.models import Json
    from runner.manifest.jobs.entry import Ending, Recipe, Stem
    from runner.manifest.jobs.inputs import KnownModel
    from runner.manifest.jobs.matrix import Combination
    from runner.manifest.nodes import Mark
    from runner.manifest.templates.rendering import Rendered
    from runner.manifest.templates.template import Templates


class Fault(NamedTuple):
    """What is wrong with a job, and the place in the manifest that it comes from."""

    mark: Mark
    what: str
    advice: str
    of_row: bool
    """Whether another row of the feed would not have it."""


class Made(NamedTuple):
    """A job, and the id that its inputs gave it before anything was put behind it; ``None`` if it has its own."""

    job: Job
    generated: str | None


class Cells(msgspec.Struct):
    """What a row sets by itself, where rows are jobs."""

    inputs: dict[str, Json] = msgspec.field(default_factory=dict)
    id: str | None = None
    file: str | None = None
    failed: set[str] = msgspec.field(default_factory=set)


NO_CELLS = Cells()


class _Draft(msgspec.Struct):
    """One job in the making."""

    own: dict[str, Json]
    marks: dict[str, Mark]
    failed: set[str]
    values: dict[str, Json] = msgspec.field(default_factory=dict)


class Series:
    """Makes the jobs of one entry; faults gather in ``faults`` until somebody takes them."""

    def __init__(self, recipe: Recipe, templates: Templates, *, loose: bool) -> None:
        self.faults: list[Fault] = []
        self.count = recipe.count_jobs()
        """How many jobs each row makes."""
        self._recipe = recipe
        self._names = templates.names
        self._templates = templates
        self._loose = loose
        self._of_row: dict[int, bool] = {}
        self._id_ending = recipe.ending(recipe.id)
        self._file_ending = recipe.ending(recipe.file)
        self._uses_names = bool(recipe.templates) or self._id_ending.size or self._file_ending.size
        """Whether anything is made of what a job is called and how large it is; most jobs are known without."""
        if self._uses_names:
            self._prepare()

    def _prepare(self) -> None:
        recipe, matrix = self._recipe, self._recipe.matrix.names
        self._of_row = {id(t): recipe.feed is not None and t.depends_on_row(matrix) for t in recipe.templates}
        self._first = [rendered for rendered in recipe.rendered if rendered.name in SIZES]
        self._rest = [rendered for rendered in recipe.rendered if rendered.name not in SIZES]

    def jobs(self, columns: dict[str, Json], cells: Cells) -> Iterator[Made]:
        """The jobs of one row, or of an entry without rows. ``columns`` are the names that the row gives."""
        for combination in self._recipe.matrix:
            for copy in range(1, self._recipe.repeat + 1):
                if self._uses_names:
                    self._set_names(columns, combination, copy)
                made = self._make(combination, cells, copy)
                if made is not None:
                    yield made

    def _set_names(self, columns: dict[str, Json], combination: Combination, copy: int) -> None:
        names = self._names
        names.clear()
        names.update(columns)
        if None in columns.values():
            names.update({name: self._templates.null(name) for name, value in columns.items() if value is None})
        names.update(combination.names)
        names["row"] = columns
        names["copy"] = copy
        names["job"] = {"model": self._recipe.model.model, "copy": copy}

    def _make(self, combination: Combination, cells: Cells, copy: int) -> Made | None:
        recipe, model = self._recipe, self._recipe.model
        own = {**recipe.inputs.values, **cells.inputs, **combination.inputs}
        draft = _Draft(own, combination.marks, recipe.inputs.failed | cells.failed)
        if self._uses_names:
            self._fill_sizes(draft, combination)
        stem = self._stem(cells.id, recipe.id)
        ending = self._ending(self._id_ending, copy)
        if self._uses_names:
            self._fill_others(draft, combination, stem, ending)
        draft.values = values = model.inputs.merged(draft.own, model.defaults.values)
        readable = self._check(draft)
        if stem is FAILED or (stem is None and not readable):
            return None
        digest = fingerprint(model.model, values)
        generated = None if stem is not None else generated_id(model, values, digest)
        job_id = f"{generated if stem is None else stem}{ending}"
        file = self._file(cells.file, job_id, copy)
        if file is None or not self._has_good_names(job_id, file):
            return None
        file, numbered_at = _numbered(file)
        job = Job(id=job_id, model=model.model, inputs=values, fingerprint=digest, file=file,
                  numbered_at=numbered_at, line=recipe.entry.line, column=recipe.entry.column,
                  checked=model.inputs.live)  # fmt: skip
        return Made(job, generated if copy == 1 else None)

    def _fill_sizes(self, draft: _Draft, combination: Combination) -> None:
        """Width and height, which the other templates may name."""
        self._fill(draft, [*self._first, *(r for r in combination.rendered if r.name in SIZES)])
        self._fill_size(draft)
        model = self._recipe.model
        self._name_size(model.inputs.merged(draft.own, model.defaults.values))

    def _fill_others(self, draft: _Draft, combination: Combination, stem: Stem, ending: str) -> None:
        if isinstance(stem, str):
            self._names["job"]["id"] = stem + ending
        self._fill(draft, [*self._rest, *(r for r in combination.rendered if r.name not in SIZES)])

    def _fill(self, draft: _Draft, fields: list[Rendered]) -> None:
        for rendered in fields:
            try:
                draft.own[rendered.name] = rendered.value(self._templates.context, loose=self._loose)
            except Wrong as wrong:
                draft.failed = draft.failed | {rendered.name}
                of_row = any(self._of_row[id(t)] for t in rendered.templates)
                self._note(rendered.mark, f"`{rendered.name}` {wrong.what}", wrong.advice, of_row=of_row)

    def _fill_size(self, draft: _Draft) -> None:
        template = self._recipe.size
        if template is None:
            return
        try:
            draft.own["width"], draft.own["height"] = units.size(template.text(self._templates.context).strip())
        except Wrong as wrong:
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
            # Where a column bears the name, the bare name is refused, and the column must stay what it is.
            self._names.setdefault(name, value)

    def _stem(self, cell: str | None, stem: Stem) -> Stem:
        """What the entry or the row calls the job, filled in; ``None`` if neither does."""
        if not isinstance(stem, Template):
            return cell if stem is None else stem
        try:
            return normal(stem.text(self._templates.context))
        except Wrong as wrong:
            self._note_template(stem, wrong)
            return FAILED

    def _file(self, cell: str | None, job_id: str, copy: int) -> str | None:
        if cell is None and self._recipe.file is None:
            return job_id
        if self._uses_names:
            self._names["job"]["id"] = job_id
            self._names["job"]["output"] = self._names["output"] = OUTPUT_MARK
        stem = self._stem(cell, self._recipe.file)
        if not isinstance(stem, str):
            return None
        return without_extension(stem) + self._ending(self._file_ending, copy)

    def _ending(self, ending: Ending, copy: int) -> str:
        size = f"-{self._names['job'].get('size', '')}" if ending.size else ""
        return f"{size}-{copy}" if ending.copy and copy > 1 else size

    def _check(self, draft: _Draft) -> bool:
        """Note what the schema has against the values; whether every one of them could be read at all."""
        model = self._recipe.model
        faults = model.inputs.faults(draft.values)
        if not faults and not draft.failed and not model.defaults.failed:
            return True
        failed = draft.failed | (model.defaults.failed - draft.values.keys())
        for name, what, advice in faults:
            if name not in failed:
                mark, of_row = self._source(draft, name)
                self._note(mark, what, advice, of_row=of_row)
        return not failed

    def _source(self, draft: _Draft, name: str) -> tuple[Mark, bool]:
        """Where the value of ``name`` comes from, and whether from the row."""
        recipe = self._recipe
        if name in draft.marks:
            return draft.marks[name], False
        for rendered in recipe.rendered:
            if rendered.name == name:
                return rendered.mark, any(self._of_row[id(t)] for t in rendered.templates)
        if recipe.size is not None and name in SIZES:
            return recipe.size.mark, self._of_row[id(recipe.size)]
        if name in recipe.inputs.marks:
            return recipe.inputs.marks[name], False
        if name in draft.own or (name not in draft.values and recipe.rows_as_jobs):
            return recipe.mark("from"), True
        return recipe.model.defaults.marks.get(name) or recipe.entry, False

    def _has_good_names(self, job_id: str, file: str) -> bool:
        """Note an id or file that may not be used, now that it is filled in and completed, whatever the output."""
        recipe = self._recipe
        # What the entry itself says was checked when it was read.
        if job_id != recipe.id and (reason := check_id(job_id)):
            what = f"the id {shown(job_id)} {reason}" if job_id else "the id is empty"
            self._note_name(recipe.id, "id", what, id_advice(reason))
            return False
        for number in (1, MAX_OUTPUTS) if OUTPUT_MARK in file else (1,):
            name = file.replace(OUTPUT_MARK, str(number))
            if name not in (job_id, recipe.file) and (reason := check_file_name(name)):
                self._note_name(recipe.file, "file", f"the file {shown(name)} {reason}", file_advice(reason))
                return False
        return True

    def _note_name(self, stem: Stem, key: str, what: str, advice: str) -> None:
        of_row = self._recipe.feed is not None and stem is None
        if isinstance(stem, Template):
            of_row = self._of_row[id(stem)]
        self._note(self._recipe.mark(key), what, advice, of_row=of_row)

    def _note_template(self, template: Template, wrong: Wrong) -> None:
        what = f"`{template.field}` {wrong.what}"
        self._note(template.mark, what, wrong.advice, of_row=self._of_row[id(template)])

    def _note(self, mark: Mark, what: str, advice: str, *, of_row: bool) -> None:
        self.faults.append(Fault(mark, what, advice, of_row))


def _numbered(file: str) -> tuple[str, tuple[int, ...]]:
    """``file`` as its first output has it, and where the numbers stand."""
    if OUTPUT_MARK not in file:
        return file, ()
    *parts, _ = file.split(OUTPUT_MARK)
    lengths = [len(part) + 1 for part in parts]
    return file.replace(OUTPUT_MARK, "1"), tuple(end - 1 for end in accumulate(lengths))


def generated_id(model: KnownModel, inputs: dict[str, Json], digest: str) -> str:
    """A readable slug of the inputs, and a hash of model and inputs."""
    name = next(model.inputs.text_names(inputs), None)
    source = inputs[name] if name is not None else "-".join(model.model.split("/")[-2:])
    return f"{slug(source) or 'job'}-{digest.removeprefix('sha256:')[:10]}"
