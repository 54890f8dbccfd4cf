"""Compiler of templates: a text becomes a checked syntax tree, then a function of names.

This module imports jinja2 and is imported with the first template only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec
from jinja2 import Template as Compiled
from jinja2 import TemplateSyntaxError, UndefinedError, nodes

from runner.manifest.problems import Invalid, nearest, shown
from runner.manifest.templates.filters import FILTERS
from runner.manifest.templates.sandbox import TESTS, Sandbox
from runner.manifest.templates.values import MAX_CHARACTERS, Null, check_length, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jinja2.runtime import Context

MAX_PARTS: Final = 1000
"""Most names, operators and filters in one template."""
MAX_LEVELS: Final = 30
"""Most nested brackets, ``if`` and ``not``.

Jinja's parser uses up to a dozen of the thousand stack frames for each. Without the limit, a deep template would fill
the stack, and other code that runs there, such as an audit hook, would report an error as well.
"""

_ALLOWED: Final = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.Name, nodes.Const, nodes.Filter, nodes.Test,
    nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add,
    nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Concat, nodes.Getitem, nodes.Getattr,
    nodes.Slice, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword,
)  # fmt: skip
_UNCOUNTED: Final = (nodes.TemplateData, nodes.Output, nodes.Const)
_CACHED: Final = 1000
_TAGS: Final = {"assign": "set", "assignblock": "set", "callblock": "call", "filterblock": "filter"}
_SPACED: Final = 'a name has no spaces; any header can be reached by row["Any header"]'
_STATEMENTS: Final = "supported: {{ … }}, {% if … %} … {% endif %} and {% raw %}"


class TemplateNames(msgspec.Struct):
    """Names that a template refers to."""

    used: set[str] = msgspec.field(default_factory=set)
    """Bare names, except ``row`` and ``job``."""
    optional: set[str] = msgspec.field(default_factory=set)
    """Bare names and columns that may be missing, because the template uses ``default`` or ``is defined`` on them."""
    columns: set[str] = msgspec.field(default_factory=set)
    """Columns, as in ``row["…"]``."""
    job: set[str] = msgspec.field(default_factory=set)
    """Attributes of ``job``, as in ``job.…``."""
    row: bool = False
    """True if ``row`` is used in any way."""


class Expression:
    """One compiled template.

    ``whole``: the template is a single ``{{ … }}`` and nothing else, so that its value can have any type.
    """

    __slots__ = ("_root", "names", "whole")

    def __init__(self, root: Callable[[Context], Iterator[Any]], names: TemplateNames, *, whole: bool) -> None:
        self._root = root
        self.names = names
        self.whole = whole

    def text(self, context: Context) -> str:
        """Return the text that the template prints. Raises ``Invalid``."""
        parts, length = [], 0
        with _errors_as_invalid():
            for value in self._root(context):
                part = text_of(value)
                length += len(part)
                check_length(length)
                parts.append(part)
        return "".join(parts)

    def value(self, context: Context) -> Any:
        """Return the value of a whole template, with its own type. Raises ``Invalid``."""
        with _errors_as_invalid():
            (value,) = self._root(context)
            if not isinstance(value, (list, dict)):
                text_of(value)
        return value


@contextmanager
def _errors_as_invalid() -> Iterator[None]:
    """Raise ``Invalid`` for whatever goes wrong in an expression over a row."""
    try:
        yield
    except Invalid:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the fault of the template or the row
        raise _failed(error) from None


def _failed(error: Exception) -> Invalid:
    if isinstance(error, UndefinedError):
        return Invalid(f"cannot be filled in: {error.message}", "use `|default(…)` for missing values")
    if isinstance(error, ZeroDivisionError):
        return Invalid("cannot be filled in: it divides by zero", "test first: {{ 100 / n if n else 0 }}")
    if isinstance(error, TypeError) and "argument" in str(error):
        what = "a filter or test gets an argument that it does not accept"
        return Invalid(f"cannot be filled in: {what}", "check what is in its parentheses")
    if isinstance(error, TypeError):
        what = "it compares, counts or cuts values of the wrong type, such as a text and a number"
        return Invalid(
            f"cannot be filled in: {what}",
            "`|int` or `|float` converts a text to a number, `|string` a number to a text",
        )
    return Invalid(f"cannot be filled in: {str(error) or type(error).__name__}", "write it differently")


class Compiler:
    """Compiler of the templates of one manifest. It caches the latest ones, because other entries may have the same."""

    def __init__(self) -> None:
        self._sandbox = Sandbox()
        self._known: dict[str, Expression] = {}

    def context(self, names: dict[str, Any]) -> Context:
        """Return the context that expressions are evaluated in. Later changes of ``names`` are visible in it."""
        return self._sandbox.context_class(self._sandbox, names, None, {})

    def null(self, name: str) -> Any:
        return Null(name=name)

    def compile(self, text: str) -> Expression:
        """Return the compiled ``text``. Raises ``Invalid`` if it is no template, or does more than a template may."""
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            found = self._known[text] = self._compile(text)
        return found

    def _compile(self, text: str) -> Expression:
        if len(text) > MAX_CHARACTERS:
            raise Invalid(f"is a template of more than {MAX_CHARACTERS:,} characters", "shorten it")
        try:
            self._check_tokens(text)
            tree = self._sandbox.parse(text)
            _check(tree)
            names = _names_of(tree)
            _print_operands(tree)
            code = self._sandbox.compile(tree, filename="<template>")
        except TemplateSyntaxError as error:
            raise _explain(error) from None
        except (RecursionError, MemoryError, SyntaxError, ValueError):
            raise _too_deep() from None
        root = Compiled.from_code(self._sandbox, code, {}).root_render_func
        return Expression(root, names, whole=_is_whole(tree))

    def _check_tokens(self, text: str) -> None:
        """Raise ``Invalid`` for comments, which the parser drops, and for levels that would fill its stack."""
        parts = [(part, value) for _, part, value in self._sandbox.lex(text) if part != "whitespace"]
        if any(part == "comment_begin" for part, _ in parts):
            raise Invalid("contains a template comment, `{# … #}`", "delete it, or print it: {{ '{#' }}")
        level = nots = 0
        for (before, _), (part, value) in pairwise([("", ""), *parts]):
            if part == "operator":
                level += (value in ("(", "[", "{")) - (value in (")", "]", "}"))
            elif before == "block_begin":
                level += (value == "if") - (value == "endif")
            nots = nots + 1 if (part, value) == ("name", "not") else 0
            if level + nots > MAX_LEVELS:
                raise _too_deep()


def _too_deep() -> Invalid:
    return Invalid("is a template with too many levels, or too large a number", "shorten it")


def _is_whole(tree: nodes.Template) -> bool:
    body = tree.body
    return len(body) == 1 and isinstance(body[0], nodes.Output) and (
        len(body[0].nodes) == 1 and not isinstance(body[0].nodes[0], nodes.TemplateData)
    )  # fmt: skip


def _explain(error: TemplateSyntaxError) -> Invalid:
    message = str(error.message).partition(". ")[0]
    if "unknown tag" in message or "Unexpected end of template" in message:
        return Invalid(f"is not a valid template: {message[0].lower()}{message[1:].rstrip('.')}", _STATEMENTS)
    advice = _SPACED if "got" in message else "write {{ name }}; a literal `{{` is {{ '{{' }}"
    return Invalid(f"is not a valid template: {message.rstrip('.')}", advice)


def _check(tree: nodes.Template) -> None:
    """Raise ``Invalid`` for everything that templates may not do."""
    parts = 0
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED):
            raise _refusal(node)
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise _unknown("filter", node.name, node.name, FILTERS)
        if isinstance(node, nodes.Test) and node.name not in TESTS:
            raise _unknown("test", f"is {node.name}", node.name, TESTS)
        parts += not isinstance(node, _UNCOUNTED)
        if parts > MAX_PARTS:
            raise Invalid(f"is a template of more than {MAX_PARTS:,} parts", "shorten it")


def _unknown(kind: str, spelling: str, name: str, known: Iterable[str]) -> Invalid:
    advice = f"{nearest(name, known)} known: {', '.join(sorted(known))}"
    return Invalid(f"uses the unknown {kind} {shown(spelling)}", advice.strip())


def _names_of(tree: nodes.Template) -> TemplateNames:
    """Return the names that a checked template refers to. Raises ``Invalid`` for ``job`` without an attribute."""
    names, bases = TemplateNames(), set[int]()
    for node in tree.find_all((nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test)):
        base, key = _item(node)
        if base in ("row", "job") and key is not None:
            (names.columns if base == "row" else names.job).add(key)
            bases.add(id(node.node))  # type: ignore[attr-defined]  # what has a base has this
        elif isinstance(node, (nodes.Filter, nodes.Test)):
            if node.name in ("default", "d", "defined", "undefined", "none"):
                names.optional |= _tested(node.node)
        elif isinstance(node, nodes.Name) and node.name == "row":
            names.row = True
        elif isinstance(node, nodes.Name) and node.name != "job":
            names.used.add(node.name)
        elif isinstance(node, nodes.Name) and id(node) not in bases:
            raise Invalid(
                "uses `job` without an attribute",
                "write job.id, job.model, job.width, job.height, job.size or job.copy",
            )
    return names


def _tested(node: nodes.Node | None) -> set[str]:
    """Return the name or column that ``default`` or a test is applied to, which may then be missing."""
    if isinstance(node, nodes.Name):
        return {node.name}
    base, key = _item(node)
    return {key} if base == "row" and key is not None else set()


def _item(node: nodes.Node | None) -> tuple[str | None, str | None]:
    """Return base and key of an access: ``row`` and ``x`` for ``row.x`` and ``row["x"]``."""
    if not isinstance(node, (nodes.Getattr, nodes.Getitem)) or not isinstance(node.node, nodes.Name):
        return None, None
    if isinstance(node, nodes.Getattr):
        return node.node.name, node.attr
    key = node.arg.value if isinstance(node.arg, nodes.Const) else None
    return node.node.name, key if isinstance(key, str) else None


def _print_operands(tree: nodes.Template) -> None:
    """Pass each operand of ``~`` through the filter ``text``: Jinja would print Python's ``None`` and ``True``."""
    for concat in tree.find_all(nodes.Concat):
        concat.nodes = [nodes.Filter(part, "text", [], [], None, None, lineno=concat.lineno) for part in concat.nodes]


def _refusal(node: nodes.Node) -> Invalid:
    if isinstance(node, nodes.Call):
        return Invalid(
            "calls a function, which templates do not support", "use a filter: {{ name|upper }}, {{ name|slug }}"
        )
    if isinstance(node, nodes.Expr):
        called = "`**`" if isinstance(node, nodes.Pow) else type(node).__name__
        return Invalid(f"uses {called}, which templates do not support", "supported: + - * / // % ~ and comparisons")
    name = type(node).__name__.lower()
    return Invalid(f"uses `{{% {_TAGS.get(name, name)} %}}`, which templates do not support", _STATEMENTS)
