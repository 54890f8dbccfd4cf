"""Templates ``{{ … }}``: recognition, the names that they may use, and their output.

jinja2 is imported with the first template of a manifest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from runner.manifest.problems import Invalid, listing, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from jinja2.runtime import Context

    from runner.manifest.nodes import Mark
    from runner.manifest.templates.compiler import Compiler, Expression

SHORT: Final = ("width", "height", "size", "copy", "ext", "output")
"""Attributes of ``job`` that are also available as bare names."""
OF_JOBS: Final = ("id", "model", "width", "height", "size", "copy")
OF_FILES: Final = (*OF_JOBS, "ext", "output")
SIZES: Final = frozenset({"size", "width", "height"})

OUTPUT_MARK: Final = "\0output\0"
"""Text that ``{{ output }}`` prints when a job is made. The number itself is known for each file only."""

_OUTPUT: Final = re.compile(r"\{\{-? *(?:job\.)?output *-?\}\}")
_EXT: Final = re.compile(r"\.\{\{-? *(?:job\.)?ext *-?\}\}\Z")


def is_template(text: str) -> bool:
    return "{{" in text or "{%" in text


class Template:
    """One template of an entry; ``field`` is the key that it belongs to, ``mark`` its position."""

    __slots__ = ("_expression", "field", "mark", "names", "whole")

    def __init__(self, field: str, mark: Mark, expression: Expression) -> None:
        self.field = field
        self.mark = mark
        self.names = expression.names
        self.whole = expression.whole
        self._expression = expression

    def text(self, context: Context) -> str:
        return self._expression.text(context)

    def value(self, context: Context) -> Any:
        return self._expression.value(context)

    @property
    def jobs_own(self) -> frozenset[str]:
        """Return the attributes of ``job`` that the template names, in short or in full.

        It is an error if a column has the name of a short one.
        """
        return frozenset(self.names.job | (self.names.used & set(SHORT)))

    @property
    def is_of_files(self) -> bool:
        """Return whether the template is filled in for a file, when everything else of the job is known."""
        return self.field == "file" or self.field.startswith("copies.")

    @property
    def data(self) -> set[str]:
        """Return the bare names and columns that the template takes from its row or its matrix."""
        return (self.names.used - set(SHORT)) | self.names.columns

    def depends_on_row(self, matrix: Collection[str]) -> bool:
        """Tell whether the output depends on the row. If it does, a problem of the template is a problem of the row."""
        names = self.names
        return names.row or bool(names.columns) or bool(names.used - set(matrix) - set(SHORT)) or "id" in names.job


class Templates:
    """Compiler of the templates of a manifest, and the names that are visible to them."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self._compiler: Compiler | None = None
        self._context: Context | None = None

    def compile(self, field: str, mark: Mark, text: str) -> Template:
        """Return the compiled template. Raises ``Invalid``."""
        if self._compiler is None:
            from runner.manifest.templates.compiler import Compiler  # noqa: PLC0415 - half of the time of a small `plan`

            self._compiler = Compiler()
            self._context = self._compiler.context(self.names)
        return Template(field, mark, self._compiler.compile(text))

    def null(self, name: str) -> Any:
        """Return the value that templates see for a ``null`` in a feed."""
        return None if self._compiler is None else self._compiler.null(name)

    @property
    def context(self) -> Any:
        return self._context


def without_ext(file: str) -> str:
    """Return ``file`` without ``.{{ ext }}`` at its end: the downloaded data decides the extension."""
    return _EXT.sub("", file)


def require_printed_output(templates: Templates, template: Template, text: str) -> None:
    """Raise ``Invalid`` unless ``output`` is only printed in ``text``: its number is known for each file only."""
    if "output" not in template.jobs_own:
        return
    rest = _OUTPUT.sub("", text)
    if is_template(rest) and "output" in templates.compile("file", template.mark, rest).jobs_own:
        raise Invalid("uses `output` inside an expression", "it can only be printed: {{ output }}")


class Vocabulary:
    """Names that the templates of one entry may use."""

    def __init__(self, *, matrix: Collection[str], has_rows: bool, own_id: bool) -> None:
        self._matrix = matrix
        self._has_rows = has_rows
        self._own_id = own_id

    def faults(self, template: Template, columns: Collection[str]) -> Iterator[Invalid]:
        """Yield the problems with the names of ``template`` for a row with ``columns``."""
        names = template.names
        for name in sorted(names.used):
            if wrong := self._bare(template, name, columns):
                yield wrong
        for name in sorted(names.columns - names.optional):
            if name not in columns and self._has_rows:
                yield self._unknown(name, columns, f'row["{name}"]')
        if names.row and not self._has_rows:
            yield Invalid("uses `row`, and there is none", "`row` is a row of the feed that `from:` names")
        for name in sorted(names.job):
            if wrong := self._of_job(template, name):
                yield wrong

    def _bare(self, template: Template, name: str, columns: Collection[str]) -> Invalid | None:
        if name in SHORT:
            if name in columns:
                what = f"uses `{name}`, which is a column of the feed and a name of the job"
                return Invalid(what, f'write row["{name}"] or job.{name}')
            return self._of_job(template, name)
        if name == "self" and name in columns:
            return Invalid("uses `self`, a reserved word of templates", 'write row["self"]')
        if name in columns or name in self._matrix or name in template.names.optional:
            return None
        return self._unknown(name, columns, name)

    def _unknown(self, name: str, columns: Collection[str], spelling: str) -> Invalid:
        known = [*columns, *self._matrix]
        bare = [n if n.isidentifier() else f'row["{n}"]' for n in columns]
        advice = nearest(name, known)
        if not columns and not self._matrix and self._has_rows:
            return Invalid(f"uses {shown(spelling)}, and the row has no columns", "fill the row or delete it")
        if not known:
            advice = f"known: {listing([f'job.{n}' for n in OF_JOBS])}"
        return Invalid(
            f"uses {shown(spelling)}, a name that is not known here",
            advice or f"known: {listing([*bare, *self._matrix])}",
        )

    def _of_job(self, template: Template, name: str) -> Invalid | None:
        in_file = template.field in ("file", "copies.file")
        if name in ("ext", "output") and not in_file:
            return Invalid(f"uses `{name}`, which is known in `file` only", "remove it")
        if name == "ext":
            return Invalid("uses `ext` before its end", "`ext` can only be the ending: …{{ name }}.{{ ext }}")
        if name not in OF_FILES:
            advice = nearest(name, OF_JOBS) or f"known: {', '.join(f'job.{n}' for n in OF_JOBS)}"
            return Invalid(f"uses `job.{name}`, which does not exist", advice)
        if name == "id" and (template.field == "id" or not (template.is_of_files or self._own_id)):
            what = "which depends on it" if template.field == "id" else "and the entry has no `id`"
            return Invalid(
                f"uses `job.id`, {what}", "remove it" if template.field == "id" else "give the entry an `id`"
            )
        if name in SIZES and template.field in ("width", "height", "size"):
            return Invalid(f"uses `{name}`, which depends on it", "remove it")
        return None
