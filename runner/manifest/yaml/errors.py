"""Messages and advice for syntax errors that libyaml reports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from runner.manifest.nodes import WHOLE_FILE, Mark
from runner.manifest.problems import Invalid

if TYPE_CHECKING:
    from yaml import YAMLError

_QUOTE: Final = 'put the whole text in quotes: "…"'
_COLUMN: Final = "keys of one mapping, and dashes of one list, start in the same column"

_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")
_BLAME_THE_BEGINNING: Final = ("could not find expected ':'", "found unexpected")
"""Problems that libyaml detects far behind the wrong place."""

_DIRECTIVE: Final = (
    "a line that begins with `%` is an instruction to YAML; manifests have none",
    "delete it; a text that begins so needs quotes",
)
_TAB: Final = ("a tab in the indent", "indent with spaces; YAML does not allow tabs there")
_NOT_CLOSED: Final = (
    "a list in brackets or a mapping in braces is not closed",
    "write [a, b] or {a: 1}; quote texts that hold brackets, braces or commas",
)

# Beginning of libyaml's message → problem and advice.
_MEANINGS: Final = {
    "block sequence entries are not allowed": (
        "a list cannot begin on this line",
        "start it on a line of its own",
    ),
    "did not find expected '-' indicator": (
        "this line is not indented like the list above it",
        _COLUMN,
    ),
    "did not find expected key": (
        "this does not fit what stands before it: a wrong indent, or quotes inside a text",
        f"{_COLUMN}; a text that begins with a quote or brace needs quotes around it all",
    ),
    "could not find expected ':'": (
        "a key without `:`, or a text that goes on with too little indent",
        "write `key: value`; indent the lines of a long text deeper than its key",
    ),
    "did not find expected ',' or ']'": (
        "a list in brackets is not closed, or a comma is missing",
        "write [a, b]; quote texts that hold brackets, braces or commas",
    ),
    "did not find expected ',' or '}'": (
        "a mapping in braces is not closed, or a comma is missing",
        "write {a: 1, b: 2}; quote texts that hold brackets, braces or commas",
    ),
    "did not find expected node content": (
        "a value is missing, or a comma or bracket is too many",
        "write [a, b] or {a: 1}; quote texts that hold brackets, braces or commas",
    ),
    "found unexpected end of stream": (
        "a quoted text is never closed",
        "close it with the quote it began with",
    ),
    "found unexpected document indicator": (
        "a quoted text is never closed",
        "close it with the quote it began with",
    ),
    "found unknown escape character": (
        "this backslash begins no escape that YAML knows",
        "double the backslash, or put the text in single quotes",
    ),
    "found invalid Unicode character escape code": (
        "this escape is one half of a surrogate pair, and no character",
        "write the character itself",
    ),
    "did not find expected hexdecimal number": (
        "this escape lacks hexadecimal digits",
        "write the character itself",
    ),
    "did not find expected alphabetic or numeric": (
        "`*` and `&` begin an alias or an anchor",
        _QUOTE,
    ),
    "did not find expected <document start>": (
        "something follows the end of the manifest",
        "one file is one mapping, in one document",
    ),
    "found undefined tag handle": (
        "tags (`!…`) are not used in manifests",
        _QUOTE,
    ),
    "did not find expected comment or line break": (
        "a text cannot begin on the line of `|` or `>`",
        "begin it on the next line, indented",
    ),
    "found a tab character": _TAB,
}


def explain(error: YAMLError, text: str) -> Invalid:
    """Return ``error`` in terms of a manifest, with its position."""
    problem = getattr(error, "problem", None) or str(error)
    mark, begun = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    ends = mark is not None and mark.index >= len(text)
    if "directive" in (getattr(error, "context", None) or problem):
        what, advice = _DIRECTIVE
        mark = begun or mark
    elif ends and problem.startswith("did not find expected node content"):
        what, advice = _NOT_CLOSED
    else:
        what, advice = _meaning(problem, _line(text, mark.line), mark.column) if mark else _unknown(problem)
        mark = begun if begun and (ends or problem.startswith(_BLAME_THE_BEGINNING)) else mark
    return Invalid(what, advice, _place(mark, text))


def _unknown(problem: str) -> tuple[str, str]:
    return f"YAML cannot read this: {problem}", "look at the quotes, brackets and indents here"


def _place(mark: Any, text: str) -> Mark:
    if mark is None:
        return WHOLE_FILE
    if mark.index < len(text):
        return Mark(mark.line + 1, mark.column + 1)
    # libyaml reports the end on a line of its own; the message points behind the last character.
    lines = _LINE_BREAK.split(text.rstrip())
    return Mark(len(lines), len(lines[-1]) + 1)


def _meaning(problem: str, line: str, column: int) -> tuple[str, str]:
    if problem.startswith("found character that cannot start any token"):
        return _no_token(line[column : column + 1])
    if problem.startswith("mapping values are not allowed"):
        return _second_colon(line[:column])
    for start, meaning in _MEANINGS.items():
        if problem.startswith(start):
            return meaning
    return _unknown(problem)


def _no_token(character: str) -> tuple[str, str]:
    if character == "\t":
        return _TAB
    return f"a text cannot begin with {'a backquote' if character == '`' else f'`{character}`'}", _QUOTE


def _second_colon(before: str) -> tuple[str, str]:
    if re.search(r":\s", before):
        return "a second `: ` in one line", _QUOTE
    return "a key is not allowed here: the line above is not finished, or the indent is wrong", _COLUMN


def _line(text: str, number: int) -> str:
    lines = _LINE_BREAK.split(text, maxsplit=number + 1)
    return lines[number] if number < len(lines) else ""
