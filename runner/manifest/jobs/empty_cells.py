"""Empty cells that templates print: a job of such a row costs as much as any other, and nobody meant it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from runner.manifest.nodes import Scalar
from runner.manifest.problems import Invalid, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.core.models import Json
    from runner.manifest.jobs.entry import JobEntry
    from runner.manifest.nodes import RowMark
    from runner.manifest.problems import Problems
    from runner.manifest.templates.template import Template, Templates

_MARK: Final = "\ua840"
"""Letter without case that stands for the value of a cell. It passes through `upper`, `slug` and slices."""
_CONDITION: Final = re.compile(r"\{%[-+]?\s*(?:el)?if\b(.*?)%\}", re.DOTALL)


class EmptyCells:
    """Finder of the empty cells that the templates of one entry print, and of prompts that consist of nothing else.

    A name does not count if the template provides for its absence, by ``default`` or a condition.
    """

    def __init__(self, job_entry: JobEntry, templates: Templates) -> None:
        self._templates = templates
        matrix = set(job_entry.matrix.names)
        self._watched = [(t, names) for t in job_entry.templates if (names := _unguarded(t) - matrix)]
        self._columns = sorted({name for _, names in self._watched for name in names})
        self._found: dict[tuple[int, str], tuple[int, RowMark]] = {}
        """Number of rows, and the first of them, by position of the template and column."""
        self._last: dict[tuple[int, str], RowMark] = {}

    def empty_columns(self, columns: dict[str, Json]) -> list[str]:
        """Return the columns that are empty in a row and that templates may print, in the order of the row."""
        found = [name for name in self._columns if _is_blank(columns.get(name))]
        return found if len(found) < 2 else [name for name in columns if name in found]

    def see(self, columns: dict[str, Json], empty: list[str], row: RowMark) -> Iterator[tuple[Template, Invalid]]:
        """Count the columns in ``empty`` that the templates print with the names that they see now.

        Yield each prompt that is left without any of its names, and its problem.
        """
        for number, (template, names) in enumerate(self._watched):
            doubted = [name for name in empty if name in names]
            printed = list(self._printed(template, columns, doubted)) if doubted else []
            for name in printed:
                self._count(number, name, row)
            if printed and template.field == "prompt" and template.data.issubset(printed):
                text = template.text(self._templates.context)
                what = f"is nothing but the template's own words, {shown(text)}: {' and '.join(map(shown, printed))}"
                yield template, Invalid(f"{what} {'is' if len(printed) == 1 else 'are'} empty", _advice(printed[0]))

    def _count(self, number: int, name: str, row: RowMark) -> None:
        key = number, name
        if self._last.get(key) != row:
            self._last[key] = row
            count, first = self._found.get(key, (0, row))
            self._found[key] = count + 1, first

    def _printed(self, template: Template, columns: dict[str, Json], doubted: list[str]) -> Iterator[str]:
        """Yield the columns whose values the template prints, and whose absence changes nothing else in its text."""
        for name in doubted:
            # An empty text in place of the blanks of the cell, so that only the mark tells the two texts apart.
            with_mark = self._text_with(_MARK, template, columns, name)
            if _MARK in with_mark and with_mark.replace(_MARK, "") == self._text_with("", template, columns, name):
                yield name

    def _text_with(self, text: str, template: Template, columns: dict[str, Json], name: str) -> str:
        """Return what the template prints with ``text`` in place of the cell; empty: it cannot be filled in."""
        names = self._templates.names
        value, row = names[name], names["row"]
        names[name], names["row"] = text, {**columns, name: text}
        try:
            return template.text(self._templates.context)
        except Invalid:
            return ""
        finally:
            names[name], names["row"] = value, row

    def tell(self, problems: Problems) -> None:
        """Warn of each template that prints empty cells."""
        for number, (template, _) in enumerate(self._watched):
            found = {name: seen for (of, name), seen in self._found.items() if of == number}
            if found:
                told = "; ".join(_told(name, count, str(problems.place(row))) for name, (count, row) in found.items())
                problems.warn(template.mark, f"`{template.field}` prints {told}", _advice(next(iter(found))))


def _is_blank(value: Json) -> bool:
    """Tell whether a cell is a text without any character that shows."""
    return isinstance(value, str) and not value.strip()


def _unguarded(template: Template) -> set[str]:
    """Return the names that ``template`` may print without providing for their absence."""
    text = template.mark.text if isinstance(template.mark, Scalar) else ""
    conditions = " ".join(_CONDITION.findall(text))
    asked = {name for name in template.data if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", conditions)}
    return template.data - template.names.optional - asked


def _told(name: str, count: int, place: str) -> str:
    where = f"the row at {place}" if count == 1 else f"{count:,} rows, the first at {place}"
    return f"{shown(name)}, which is empty in {where}"


def _advice(name: str) -> str:
    written = name if name.isidentifier() else f"row['{name}']"
    other = f"{{{{ {written}|default('…', true) }}}}"
    return f'`where: "{{{{ {written} }}}}"` leaves such rows out; {other} or {{% if … %}} says what else to print'
