"""Problems of a manifest, collected and reported together."""

from __future__ import annotations

import re
from difflib import get_close_matches
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar

from runner.core.errors import ManifestError
from runner.core.models import Position, Problem
from runner.core.text import DRIVES
from runner.manifest.nodes import Mark, RowMark, Scalar, scalars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runner.manifest.nodes import Node

LIMIT: Final = 10_000
"""Problems that are kept. Further ones are only counted, which bounds the memory for a large broken manifest."""

_LISTED: Final = 20
_LONGEST: Final = 600
_UNSHOWN: Final = re.compile(rf"[\n{DRIVES}\ud800-\udfff]")
"""Characters that messages do not contain: terminal controls, and lone surrogates, which no encoding can write."""

T = TypeVar("T")


class Failure(Enum):
    """Placeholder for a value that could not be read and whose problem has been noted."""

    FAILED = "failed"


FAILED: Final = Failure.FAILED


class Invalid(Exception):
    """Error of a value that is not valid at its place.

    ``what`` is a predicate; the message puts the subject in front of it.
    """

    def __init__(self, what: str, advice: str = "", mark: Mark | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.mark = mark


class Problems:
    """Errors and warnings of one manifest. Each is kept once, even if it concerns several jobs."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.count = 0
        self._errors: dict[tuple[Position, str], Problem] = {}
        self._warnings: dict[tuple[Position, str], Problem] = {}
        self._spoiled: set[tuple[int, int]] = set()

    def place(self, mark: Mark) -> Position:
        source = mark.source if isinstance(mark, RowMark) else self.source
        return Position(source=source, line=mark.line, column=mark.column)

    def error(self, mark: Mark, what: str, advice: str = "") -> None:
        """Note an error at ``mark``, unless the same error is noted already or errors at ``mark`` are suppressed."""
        if isinstance(mark, RowMark) or (mark.line, mark.column) not in self._spoiled:
            self.count += self._add(self._errors, mark, what, advice)

    def warn(self, mark: Mark, what: str, advice: str = "") -> None:
        self._add(self._warnings, mark, what, advice)

    def suppress(self, mark: Mark, what: str, advice: str = "") -> None:
        """Note an error at ``mark``, and suppress further errors about the value there."""
        self.error(mark, what, advice)
        self._spoiled.add((mark.line, mark.column))

    def read(self, name: str, node: Node, convert: Callable[[Node], T]) -> T | Failure:
        """Return ``convert(node)``. If the value of ``name`` is invalid, note the error and return ``FAILED``."""
        try:
            value = convert(node)
        except Invalid as wrong:
            self.error(wrong.mark or node, f"`{name}` {wrong.what}", wrong.advice)
            return FAILED
        if not isinstance(node, Scalar) or (node.cut and type(value) is str):
            self.warn_of_comments(name, node)
        return value

    def warn_of_comments(self, name: str, node: Node) -> None:
        """Warn about each text in ``node`` that a comment cuts short."""
        for scalar in scalars(node):
            if scalar.cut:
                what = f"`{name}` ends before ` #`, which starts a comment in YAML: it is read as {shown(scalar.text)}"
                self.warn(scalar, what, "quote the text to keep the rest, or put two spaces before `# ` for a comment")

    def failure(self) -> ManifestError:
        """Return the exception to raise: all errors that were kept, ordered by position, and the total count."""
        return ManifestError(self._sorted(self._errors), count=self.count)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(self._sorted(self._warnings))

    def _add(self, known: dict[tuple[Position, str], Problem], mark: Mark, what: str, advice: str) -> bool:
        place = self.place(mark)
        what, advice = _line(what), _line(advice)
        if (place, what) in known:
            return False
        if len(known) < LIMIT:
            known[place, what] = Problem(place=place, what=what, advice=advice)
        return True

    def _sorted(self, problems: dict[tuple[Position, str], Problem]) -> list[Problem]:
        """Return ``problems`` ordered by position: those of the manifest first, then those of each feed."""

        def key(problem: Problem) -> tuple[bool, str, int, int]:
            place = problem.place
            return place.source != self.source, place.source, place.line, place.column

        return sorted(problems.values(), key=key)


def shown(text: str, limit: int = 60) -> str:
    """Return ``text`` as messages show it: in backquotes, on one line, cut when long; ``nothing`` if it is empty.

    Control characters are replaced, because they must not reach a terminal.
    """
    if not text:
        return "nothing"
    line = " ".join(text.split()) if "\n" in text else text
    line = _UNSHOWN.sub("\ufffd", line)
    return f"`{line if len(line) <= limit else line[: limit - 1] + '…'}`"


def _line(text: str) -> str:
    """Return ``text`` on one line of bounded length, whatever the file that it quotes contains."""
    line = _UNSHOWN.sub("\ufffd", text)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def listing(names: Sequence[str]) -> str:
    """Return ``names`` separated by commas. A long list is cut and ends with the number of the others."""
    more = f", … ({len(names) - _LISTED} more)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.65) -> str:
    """Return ``did you mean …?`` with the most similar name in ``known``; empty if none is similar."""
    found = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean `{found[0]}`?" if found else ""
