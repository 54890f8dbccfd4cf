"""Rows as jobs: which columns are keys of a job, and what a row's cells are worth there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.manifest import units
from runner.manifest.jobs.entry import JOB_COLUMNS, read_file, read_id
from runner.manifest.jobs.expansion import Cells, Fault
from runner.manifest.jobs.inputs import KEYS
from runner.manifest.jobs.matrix import SIZE_KEYS
from runner.manifest.names import normal
from runner.manifest.problems import Wrong, nearest, shown
from runner.manifest.templates.rendering import as_node, cell_value
from runner.manifest.templates.template import SHORT
from runner.manifest.yaml.scalars import text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runner.core.models import Json
    from runner.manifest.jobs.entry import Recipe

_SIZES: Final = ("width", "height")


class Columns:
    """What the columns of a feed mean to an entry that leaves its jobs to the rows."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._named = {name for t in recipe.templates for name in t.data | (t.names.used & set(SHORT))}
        self._required = recipe.model.inputs.required

    def faults(self, columns: Collection[str]) -> Iterator[Wrong]:
        """What is wrong with these columns."""
        doubted = []
        for name in columns:
            if wrong := self._doubt(name):
                doubted.append(name)
                yield wrong
        beside = [name for name in _SIZES if name in columns or self._gives(name)]
        if self._is_key("size", columns):
            for name in beside:
                yield Wrong(f"the column `size` stands beside `{name}`; that sets it too", "keep one of them")
        elif any(self._is_key(name, columns) for name in _SIZES) and self._sizes_given():
            yield Wrong("the columns set a size, and the entry does so too", "keep one of them")
        if self._is_key("id", columns):
            yield from self._leaves_out()
        for name in self._required:
            # A misspelt column is not missing as well.
            if name not in columns and name not in self._recipe.model.defaults.values and not nearest(name, doubted):
                advice = f"write `{name}:` in the entry, with the columns as {{{{ names }}}}, or name a column `{name}`"
                yield Wrong(f"there is no column `{name}`, and the entry sets none", advice)

    def _leaves_out(self) -> Iterator[Wrong]:
        """An id that comes from a row is the same for the row's whole matrix, sizes apart."""
        for axis in self._recipe.matrix.axes:
            if axis.name not in SIZE_KEYS and len(axis.options) > 1:
                what = f"the column `id` leaves out `{axis.name}`, a key of the matrix: its jobs would share one"
                yield Wrong(what, f"write an id in the entry: \"{{{{ row['id'] }}}}-{{{{ {axis.name} }}}}\"")

    def _is_key(self, name: str, columns: Collection[str]) -> bool:
        return name in columns and self.means_key(name)

    def means_key(self, name: str) -> bool:
        """Whether a column of that name sets a key of the job."""
        if self._gives(name):
            return False
        if name in JOB_COLUMNS:
            return True
        known = self._recipe.model.inputs.known
        if name in KEYS:
            return False
        return name in known if known is not None else name == "prompt" or name not in self._named

    def _gives(self, name: str) -> bool:
        """Whether the entry sets it already."""
        recipe = self._recipe
        if name in recipe.entry.items or name in recipe.matrix.inputs:
            return True
        return name in recipe.inputs.values or any(rendered.name == name for rendered in recipe.rendered)

    def _sizes_given(self) -> bool:
        recipe = self._recipe
        return recipe.matrix.sizes() is not None or "size" in recipe.entry.items

    def _doubt(self, name: str) -> Wrong | None:
        if self._gives(name):
            if name in self._named:
                return None
            what = f"the column {shown(name)} sets what the entry sets too"
            return Wrong(what, "rename the column, or take the key out of the entry")
        if self.means_key(name) or name in self._named:
            return None
        if name in KEYS:
            return Wrong(f"the column {shown(name)} cannot set what belongs to the entry", "rename the column")
        model = self._recipe.model
        known = list(model.inputs.known or ())
        what = f"the column {shown(name)} is neither a key of a job nor an input of {model.model}"
        advice = "give the entry a `prompt:` of its own, and columns are data"
        return Wrong(what, nearest(name, [*known, *JOB_COLUMNS]) or advice)

    def read(self, row: dict[str, Json], *, loose: bool) -> tuple[Cells, list[Fault]]:
        """What a row sets, and what is wrong with it."""
        cells, faults = Cells(), []
        for name, value in row.items():
            if not self.means_key(name):
                continue
            try:
                self._read(cells, name, value, loose=loose)
            except Wrong as wrong:
                cells.failed |= set(_SIZES) if name == "size" else {name}
                faults.append(Fault(self._recipe.mark("from"), f"`{name}` {wrong.what}", wrong.advice, of_row=True))
        return cells, faults

    def _read(self, cells: Cells, name: str, value: Json, *, loose: bool) -> None:
        if loose and value == "":
            # An empty cell is a key that is left out.
            if name in self._required:
                raise Wrong("is empty", "fill the cell")
        elif name == "id":
            cells.id = read_id(normal(_text(value)))
        elif name == "file":
            cells.file = read_file(normal(_text(value)))
        elif name == "size":
            cells.inputs["width"], cells.inputs["height"] = units.size(_text(value).strip())
        else:
            cells.inputs[name] = cell_value(value, self._recipe.model.inputs.converter(name), loose=loose)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else text(as_node(value))
