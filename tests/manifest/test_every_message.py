"""No message of the loader without a case in ``broken`` that shows it.

Two nets, as each has holes that the other has not: every sentence in the sources shows in some expected text, and
every call that makes a message is made by some case, whose text then holds the message.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import pytest
from support.broken_manifests import CASES, golden, printed_of

import runner.manifest
from runner.core.models import Problem
from runner.manifest.jobs.expansion import JobProblem
from runner.manifest.problems import Invalid, Problems

PACKAGE = Path(runner.manifest.__file__).parent
SOURCES = {path: path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))}
"""Path in the package by path on the disk."""
OF_EDITORS = "editor_schema/"
"""What an editor says of a manifest while it is written, and the loader never."""
NO_MESSAGE = {
    "the jobs do not fit into the temporary folder: …": "an `OutputError`: a full disk is no fault of a manifest",
    "it … (…)": "the command line's own way of refusing `--budget`",
    "this row cannot be read: …": "whatever a later `csv` module may find wrong",
    "could not find expected ':'": "libyaml's words, which are replaced",
    "found unexpected": "libyaml's words, too",
}
"""Sentences that no broken manifest can show, and why."""

_MATCHING = ("compile", "fullmatch", "search", "match", "sub", "startswith", "removeprefix", "partition", "rstrip")
"""Functions whose arguments are patterns, and are told to nobody."""


class Sentence(NamedTuple):
    """A text in the source: ``…`` stands for what is filled in."""

    place: str
    text: str

    def shows_in(self, printed: str) -> bool:
        parts = map(re.escape, self.text.split("…"))
        return re.search("[^\n]*?".join(parts), printed) is not None


@cache
def sentences() -> list[Sentence]:
    """All of ``spoken``, found once."""
    return list(spoken())


def spoken() -> Iterator[Sentence]:
    """Every text of two words and more that the loader may say: no docstring, no pattern, nothing for editors."""
    for path in (path for path, name in SOURCES.items() if not name.startswith(OF_EDITORS)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        silent = set(unspoken(tree))
        for node in ast.walk(tree):
            if node not in silent and (text := spelled(node)) and re.search(r"[a-z]{2}", text) and " " in text.strip():
                yield Sentence(f"{SOURCES[path]}:{node.lineno}", text)  # type: ignore[attr-defined]


def unspoken(tree: ast.Module) -> Iterator[ast.AST]:
    """Docstrings, patterns, keys of tables, and the pieces of texts that are told as a whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield node.value
        elif isinstance(node, ast.Dict):
            yield from filter(None, node.keys)
        elif isinstance(node, ast.JoinedStr):
            yield from (part for part in node.values if isinstance(part, ast.Constant))
            yield from (part.format_spec for part in node.values if isinstance(part, ast.FormattedValue))
        elif isinstance(node, ast.Compare):
            yield from (node.left, *node.comparators)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MATCHING:
            yield from node.args


def spelled(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.mark.slow
def test_every_sentence_of_the_loader_is_shown_by_a_case() -> None:
    """Whatever way a message takes, it is written somewhere; each is seen by a test as a person would see it."""
    printed = "\n".join(golden(case).read_text(encoding="utf-8") for case in CASES)
    missing = [s for s in sentences() if s.text not in NO_MESSAGE and not s.shows_in(printed)]
    assert [f"{place}: {text}" for place, text in missing] == []


def test_what_is_excused_is_there_and_is_shown_by_no_case() -> None:
    """An excuse that is not needed any more goes."""
    printed = "\n".join(golden(case).read_text(encoding="utf-8") for case in CASES)
    excused = {s for s in sentences() if s.text in NO_MESSAGE}
    assert {s.text for s in excused} == NO_MESSAGE.keys()
    assert [s for s in excused if s.shows_in(printed) and s.text != "it … (…)"] == []


MAKERS = {
    made.__code__: made.__qualname__
    for made in (
        Invalid.__init__,
        JobProblem.__new__,
        Problems.error,
        Problems.warn,
        Problems.suppress,
        Problem.__init__,
    )
}
_NAMES = ("Invalid", "Undecodable", "JobProblem", "Problem")
_METHODS = ("error", "warn", "suppress")
UNMADE = {"feeds/records.py: Invalid(f'this row cannot be read: {error}')"}

Site = tuple[str, int, int]
"""A file, a line and a column: where a call begins."""


def sites() -> dict[Site, str]:
    """Every place in the sources that makes a message, with what is written there."""
    found = {}
    for path, name in SOURCES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and makes(node.func):
                found[name, node.lineno, node.col_offset] = f"{name}: {ast.unparse(node)}"
    return found


def makes(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in _METHODS
    return isinstance(function, ast.Name) and function.id in _NAMES


class Watch:
    """Notes where messages are made while the cases run, and whether what was made is what was printed."""

    def __init__(self) -> None:
        self.made: dict[Site, set[str]] = {}
        self.shown: set[Site] = set()

    # An error raised in here, as by a stack that is full already, would end the watch: see `templates-too-deep`.
    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        caller = frame.f_back
        if event != "call" or frame.f_code not in MAKERS or caller is None:
            return
        path = Path(caller.f_code.co_filename)
        if path in SOURCES:
            line, _end, column, _ = list(caller.f_code.co_positions())[caller.f_lasti // 2]
            self.made.setdefault((SOURCES[path], line or 0, column or 0), set()).add(str(frame.f_locals["what"]))

    def see(self, printed: str) -> None:
        """Take note of which of the messages just made were printed."""
        self.shown |= {site for site, texts in self.made.items() if any(text in printed for text in texts)}
        for texts in self.made.values():
            texts.clear()


@cache
def watched() -> Watch:
    watch = Watch()
    for case in CASES:
        sys.setprofile(watch)
        try:
            printed, _ = printed_of(case)
        finally:
            sys.setprofile(None)
        watch.see(printed)
    return watch


@pytest.mark.slow
def test_every_place_that_makes_a_message_is_reached_by_a_case() -> None:
    """Two places that say the same are both seen; and what was made is what was printed."""
    missing = {text for site, text in sites().items() if site not in watched().shown}
    assert missing == UNMADE


def test_what_is_for_editors_makes_no_message() -> None:
    """No sentence of the loader hides among those of the schema."""
    assert [text for (name, _, _), text in sites().items() if name.startswith(OF_EDITORS)] == []
    assert any(name.startswith(OF_EDITORS) for name in SOURCES.values())


@pytest.mark.slow
def test_every_place_that_makes_a_message_is_known() -> None:
    """A message made in a way that the list above does not know of is a fault of the list."""
    assert watched().made.keys() - sites().keys() == set()
