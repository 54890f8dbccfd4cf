"""Combinations of ``matrix:`` and ``sizes:`` of one entry, in manifest order."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from runner.manifest.jobs.inputs import TAKEN, read_size
from runner.manifest.nodes import Mapping, Mark, Node, Pair, Scalar, Sequence
from runner.manifest.problems import FAILED, Invalid, nearest, shown
from runner.manifest.templates.rendering import Rendered, render
from runner.manifest.yaml.scalars import json_value, kind, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.core.models import Json
    from runner.manifest.jobs.inputs import KnownModel
    from runner.manifest.problems import Failure, Problems
    from runner.manifest.templates.template import Templates

SIZE_KEYS: Final = ("size", "width", "height")
RESERVED: Final = ("job", "row", "copy", "ext", "output", "self")
_MULTIPLYING: Final = frozenset(("from", "sizes", "matrix", "repeat"))
_KEPT: Final = 10_000
"""Most combinations that are kept in memory. A larger number is generated again for each row."""


class Option(NamedTuple):
    """One value of an axis."""

    value: Json
    """Value in templates; None: the option is a template itself."""
    inputs: dict[str, Json]
    rendered: Rendered | None
    mark: Mark
    written: Json = None
    """Template as written; None: the option is not a template."""

    @property
    def identity(self) -> tuple[Json, Json]:
        """Return the value that ``exclude`` is compared with, and that tells the option from the others."""
        return self.value, self.written


class Axis(msgspec.Struct):
    """A key of the matrix and its values."""

    name: str
    key: Mark
    own: bool
    """True if the key is the author's own; False if it sets inputs of the model, or is ``size``."""
    options: list[Option]


class Combination(NamedTuple):
    """One option of every axis."""

    names: dict[str, Json]
    inputs: dict[str, Json]
    marks: dict[str, Mark]
    rendered: tuple[Rendered, ...]


class Matrix(msgspec.Struct):
    """Axes of one entry. Without axes there is one empty combination."""

    axes: list[Axis] = msgspec.field(default_factory=list)
    exclude: list[tuple[Mark, dict[str, Json]]] = msgspec.field(default_factory=list)
    from_sizes: bool = False
    """True if ``size`` is an axis because of ``sizes:``."""
    _kept: list[Combination] | None = None

    @property
    def names(self) -> list[str]:
        """Return the keys that templates can use besides the names of the job."""
        return [axis.name for axis in self.axes if axis.name not in SIZE_KEYS]

    @property
    def keys(self) -> list[str]:
        """Return all keys except those of ``sizes:``."""
        return [axis.name for axis in self.axes if not (axis.name == "size" and self.from_sizes)]

    @property
    def inputs(self) -> set[str]:
        """Return the inputs that the matrix sets."""
        return {name for axis in self.axes for option in axis.options for name in _inputs_of(option)}

    def __len__(self) -> int:
        """Return the number of combinations before any is excluded."""
        return prod(len(axis.options) for axis in self.axes)

    def __iter__(self) -> Iterator[Combination]:
        if self._kept is None and len(self) <= _KEPT:
            self._kept = list(self._combinations())
        return iter(self._kept) if self._kept is not None else self._combinations()

    def _combinations(self) -> Iterator[Combination]:
        for choice in product(*(axis.options for axis in self.axes)):
            known = {axis.name: option.identity for axis, option in zip(self.axes, choice, strict=True)}
            if not any(_matches(known, excluded) for _, excluded in self.exclude):
                yield _combine(choice, self.axes)

    def sizes(self) -> set[tuple[str, str]] | None:
        """Return width and height of each combination, for comparison; None: the matrix sets no sizes."""
        axes = [axis for axis in self.axes if axis.name in SIZE_KEYS]
        if not axes:
            return None
        choices = [[option.inputs for option in axis.options] for axis in axes]
        merged = [{k: v for part in choice for k, v in part.items()} for choice in product(*choices)]
        # A model without a schema may take a list as width, and a set cannot contain lists: ``repr`` makes a text.
        return {(repr(inputs.get("width")), repr(inputs.get("height"))) for inputs in merged}


NO_MATRIX: Final = Matrix()
"""Matrix of every entry without axes. Its single combination is made once."""


def _inputs_of(option: Option) -> set[str]:
    return set(option.inputs) | ({option.rendered.name} if option.rendered else set())


def _combine(choice: tuple[Option, ...], axes: list[Axis]) -> Combination:
    inputs: dict[str, Json] = {}
    marks: dict[str, Mark] = {}
    for option in choice:
        inputs |= option.inputs
        marks |= dict.fromkeys(option.inputs, option.mark)
    names = {a.name: o.value for a, o in zip(axes, choice, strict=True) if a.name not in SIZE_KEYS}
    return Combination(names, inputs, marks, tuple(o.rendered for o in choice if o.rendered))


def _matches(known: dict[str, Json], excluded: dict[str, Json]) -> bool:
    return all(name in known and known[name] == value for name, value in excluded.items())


class MatrixReader:
    """Reader of the axes of one entry. Errors in them are noted."""

    def __init__(self, model: KnownModel, templates: Templates, problems: Problems, named: set[str]) -> None:
        """Prepare to read axes. ``named`` are the names that the entry's templates use."""
        self._model = model
        self._templates = templates
        self._problems = problems
        self._named = named

    def read(self, entry: Mapping) -> Matrix | Failure:
        """Return the axes of ``sizes:`` and ``matrix:``."""
        matrix = Matrix()
        good = True
        if "sizes" in entry.items:
            node = entry.items["sizes"][1]
            matrix.from_sizes = True
            good = self._add(matrix, "size", (entry.items["sizes"][0], node), "sizes")
        if "matrix" in entry.items:
            good = self._read_matrix(entry.items["matrix"], matrix) and good
        return matrix if good else FAILED

    def _read_matrix(self, pair: Pair, matrix: Matrix) -> bool:
        node = pair[1]
        if not isinstance(node, Mapping) or not node.items.keys() - {"exclude"}:
            found = "an empty one" if isinstance(node, Mapping) else kind(node)
            what = f"`matrix` takes a mapping of lists, not {found}"
            self._problems.error(node, what, "write {view: [front, side]}")
            return False
        good = [self._read_key(matrix, name, axis) for name, axis in node.items.items() if name != "exclude"]
        if not all(good):
            return False
        if "exclude" in node.items:
            return self._read_exclude(node.items["exclude"][1], matrix)
        return True

    def _read_key(self, matrix: Matrix, name: str, pair: Pair) -> bool:
        if wrong := self._doubt_key(name):
            self._problems.error(pair[0], f"{shown(name)} {wrong.what}", wrong.advice)
            return False
        if any(axis.name == name for axis in matrix.axes):
            self._problems.error(pair[0], "`matrix.size` conflicts with `sizes`", "keep one of them")
            return False
        return self._add(matrix, name, pair, name)

    def _doubt_key(self, name: str) -> Invalid | None:
        if name in TAKEN:
            advice = "write `size`" if name == "sizes" else "write it next to `matrix`, not inside it"
            return Invalid("is not a key of a matrix", advice)
        if name in RESERVED:
            return Invalid("is a reserved name in templates", "rename the key of the matrix")
        if not name.isidentifier():
            return Invalid("cannot be a name in templates", "use letters, digits and _")
        return None

    def _add(self, matrix: Matrix, name: str, pair: Pair, called: str) -> bool:
        key, node = pair
        if not isinstance(node, Sequence) or not node.items:
            self._problems.error(node, *_no_list(called, node))
            return False
        options: list[Option] = []
        good = True
        for item in node.items:
            option = self._problems.read(called, item, lambda node: self._option(name, node))
            if option is FAILED:
                good = False
            elif not self._is_double(called, options, option):
                options.append(option)
        matrix.axes.append(Axis(name, key, not self._sets_input(name), options))
        return good

    def _is_double(self, called: str, options: list[Option], option: Option) -> bool:
        for other in options:
            if other.identity == option.identity and type(other.value) is type(option.value):
                said, first = _said(called, option.written or option.value), self._problems.place(other.mark)
                self._problems.error(option.mark, f"{said} is given twice; the first is at {first}", "keep one")
                return True
        return False

    def _sets_input(self, name: str) -> bool:
        if name == "size":
            return True
        if self._model.inputs.known is None:
            # Without a schema, a name that a template uses is a name for templates, not an input.
            return name == "prompt" or name in ("width", "height") or name not in self._named
        return self._model.inputs.names(name)

    def _option(self, name: str, node: Node) -> Option:
        if name == "size":
            width, height = size = read_size(node)
            return Option(size, {"width": width, "height": height}, None, node)
        if not self._sets_input(name):
            value = text(node)
            if "{{" in value:
                raise Invalid(
                    f"contains a template: {shown(value)}", "a value that is not an input of the model is plain text"
                )
            return Option(value, {}, None, node)
        convert = self._model.inputs.converter(name)
        if rendered := render(name, node, convert, self._templates):
            return Option(None, {}, rendered, node, json_value(node))
        value = convert(node)
        return Option(value, {name: value}, None, node)

    def _read_exclude(self, node: Node, matrix: Matrix) -> bool:
        if not isinstance(node, Sequence) or not node.items:
            found = "an empty one" if isinstance(node, Sequence) else kind(node)
            what = f"`exclude` takes a list of mappings, not {found}"
            self._problems.error(node, what, "write [{view: front, size: 512x512}]")
            return False
        read = [self._read_excluded(item, matrix) for item in node.items]
        good = all(read)
        if good and len(matrix) <= _KEPT:
            self._check_exclude(node, matrix)
        return good

    def _read_excluded(self, node: Node, matrix: Matrix) -> bool:
        if not isinstance(node, Mapping) or not node.items:
            what = f"`exclude` takes mappings, not {'an empty one' if isinstance(node, Mapping) else kind(node)}"
            self._problems.error(node, what, "write {view: front, size: 512x512}")
            return False
        axes = {axis.name: axis for axis in matrix.axes}
        found: dict[str, Json] = {}
        for name, (key, value) in node.items.items():
            if name not in axes:
                advice = nearest(name, axes) or f"the keys are {', '.join(axes)}"
                self._problems.error(key, f"{shown(name)} is not a key of the matrix", advice)
                continue
            option = self._problems.read(name, value, lambda node, name=name: self._option(name, node))  # type: ignore[misc]  # mypy cannot infer a default
            if option is not FAILED:
                found[name] = option.identity
        matrix.exclude.append((node, found))
        return len(found) == len(node.items)

    def _check_exclude(self, node: Node, matrix: Matrix) -> None:
        if next(iter(matrix), None) is None:
            self._problems.error(node, "`exclude` leaves nothing of the matrix", "exclude less, or delete the entry")
        everything = [{a.name: o.identity for a, o in zip(matrix.axes, choice, strict=True)}
                      for choice in product(*(axis.options for axis in matrix.axes))]  # fmt: skip
        for mark, excluded in matrix.exclude:
            if not any(_matches(known, excluded) for known in everything):
                self._problems.warn(mark, "this excludes nothing: the matrix has no such combination",
                                    "correct it or delete it")  # fmt: skip


def _said(called: str, value: Any) -> str:
    if isinstance(value, tuple):
        return f"the size {value[0]}x{value[1]}"
    return f"{shown(str(value))} in `{called}`"


def _no_list(called: str, node: Node) -> tuple[str, str]:
    found = "an empty one" if isinstance(node, Sequence) else kind(node)
    if called in ("sizes", "size"):
        return f"`{called}` takes a list of sizes, not {found}", "write [1024x1024, 768x1024]"
    return f"`{called}` takes a list of values, not {found}", "write [front, side]"


def least_jobs(entry: Node) -> int:
    """Return the least number of jobs that an entry makes, without making any.

    An entry with a feed counts as 0, because the feed may be empty. A matrix with `exclude` is not counted.
    """
    if not isinstance(entry, Mapping) or "from" in entry.items:
        return 0
    if _MULTIPLYING.isdisjoint(entry.items):
        return 1
    sizes = entry.items.get("sizes")
    count = len(sizes[1].items) if sizes is not None and isinstance(sizes[1], Sequence) else 1
    matrix = entry.items.get("matrix")
    if matrix is not None and isinstance(matrix[1], Mapping) and "exclude" not in matrix[1].items:
        count *= prod(len(axis.items) for _, axis in matrix[1].items.values() if isinstance(axis, Sequence))
    repeat = entry.items.get("repeat")
    if repeat is not None and isinstance(repeat[1], Scalar) and repeat[1].text.isdecimal() and len(repeat[1].text) < 9:
        count *= int(repeat[1].text)
    return count
