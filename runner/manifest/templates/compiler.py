"""Compiler of templates: a text becomes a checked syntax tree, then a function of names.

This module imports jinja2 and is imported with the first template only.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec
from jinja2 import Template as Compiled
from jinja2 import TemplateSyntaxError, UndefinedError, nodes

from runner.manifest.problems import Invalid, nearest, shown
from runner.manifest.templates.sandbox import FILTERS, MAX_CHARACTERS, TESTS, Null, Sandbox, text_of
from runner.manifest.templates.simple import fill, read_fields

if TYPE_CHECKING:
    from collections.abc import Callable

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
_CACHED: Final = 1000
_TAGS: Final = {"assign": "set", "assignblock": "set", "callblock": "call", "filterblock": "filter"}
_SPACED: Final = 'a name has no spaces; any header can be reached by row["Any header"]'
_STATEMENTS: Final = "templates know {{ … }}, {% if … %} … {% endif %} and {% raw %}"


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
        try:
            return self._print(context)
        except Invalid:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an expression over a row does, it is the row's fault
            raise _failed(error) from None

    def _print(self, context: Context) -> str:
        parts, length = [], 0
        for value in self._root(context):
            part = value if type(value) is str else text_of(value)
            length += len(part)
            if length > MAX_CHARACTERS:
                raise Invalid(f"produces more than {MAX_CHARACTERS:,} characters", "shorten it")
            parts.append(part)
        return "".join(parts)

    def value(self, context: Context) -> Any:
        """Return the value of a whole template, with its own type. Raises ``Invalid``."""
        try:
            (value,) = self._root(context)
            if not isinstance(value, (str, int, float, list, dict)):
                text_of(value)
        except Invalid:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an expression over a row does, it is the row's fault
            raise _failed(error) from None
        return value


def _failed(error: Exception) -> Invalid:
    if isinstance(error, UndefinedError):
        return Invalid(f"cannot be filled in: {error.message}", "`|default(…)` stands in for what is not there")
    if isinstance(error, ZeroDivisionError):
        return Invalid("cannot be filled in: it divides by zero", "ask first: {{ 100 / n if n else 0 }}")
    if isinstance(error, TypeError) and "argument" in str(error):
        what = "a filter or test is given what it does not take"
        return Invalid(f"cannot be filled in: {what}", "compare what stands in its parentheses")
    if isinstance(error, TypeError):
        what = "it compares, counts or cuts what does not go together, like a text and a number"
        return Invalid(f"cannot be filled in: {what}", "`|int` or `|float` makes a number of a text, `|string` a text")
    return Invalid(f"cannot be filled in: {str(error) or type(error).__name__}", "write it in another way")


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
        fields = read_fields(text)
        if fields is None:
            return self._compile_any(text)
        around, names = fields
        return Expression(fill(around, names), TemplateNames(used=set(names)), whole=around == ["", ""])

    def _compile_any(self, text: str) -> Expression:
        try:
            parts = [(part, value) for _, part, value in self._sandbox.lex(text) if part != "whitespace"]
            if any(part == "comment_begin" for part, _ in parts):
                raise Invalid("holds a template comment, `{# … #}`", "delete it, or print it: {{ '{#' }}")
            if _levels(parts) > MAX_LEVELS:
                raise _too_deep()
            tree = self._sandbox.parse(text)
            names = TemplateNames()
            _Check(names).visit(tree)
            code = self._sandbox.compile(tree, filename="<template>")
        except TemplateSyntaxError as error:
            raise _explain(error) from None
        except (RecursionError, MemoryError, SyntaxError, ValueError):
            raise _too_deep() from None
        root = Compiled.from_code(self._sandbox, code, {}).root_render_func
        return Expression(root, names, whole=_is_whole(tree))


def _levels(parts: list[tuple[str, str]]) -> int:
    """Return the greatest depth of nested brackets, ``if`` and ``not``, by the lexer's tokens of a template."""
    level = most = nots = 0
    for (before, _), (part, value) in pairwise([("", ""), *parts]):
        if part == "operator":
            level += (value in ("(", "[", "{")) - (value in (")", "]", "}"))
        elif before == "block_begin":
            level += (value == "if") - (value == "endif")
        nots = nots + 1 if (part, value) == ("name", "not") else 0
        most = max(most, level + nots)
    return most


def _too_deep() -> Invalid:
    return Invalid("is a template that is too deep, or holds too large a number", "shorten it")


def _is_whole(tree: nodes.Template) -> bool:
    body = tree.body
    return len(body) == 1 and isinstance(body[0], nodes.Output) and (
        len(body[0].nodes) == 1 and not isinstance(body[0].nodes[0], nodes.TemplateData)
    )  # fmt: skip


def _explain(error: TemplateSyntaxError) -> Invalid:
    message = str(error.message).partition(". ")[0]
    if "unknown tag" in message or "Unexpected end of template" in message:
        return Invalid(f"is no template: {message[0].lower()}{message[1:].rstrip('.')}", _STATEMENTS)
    advice = _SPACED if "got" in message else "write {{ name }}; a literal `{{` is {{ '{{' }}"
    return Invalid(f"is no template: {message.rstrip('.')}", advice)


class _Check:
    """Check of a syntax tree: it refuses everything that templates may not do, and collects the names."""

    def __init__(self, names: TemplateNames) -> None:
        self._names = names
        self._parts = 0

    def visit(self, node: nodes.Node) -> None:
        if not isinstance(node, _ALLOWED):
            raise _refusal(node)
        self._parts += not isinstance(node, (nodes.TemplateData, nodes.Output, nodes.Const))
        if self._parts > MAX_PARTS:
            raise Invalid(f"is a template of more than {MAX_PARTS:,} parts", "shorten it")
        special = getattr(self, f"_{type(node).__name__.lower()}", None)
        if special is None or special(node) is None:
            for child in node.iter_child_nodes():
                self.visit(child)

    def _name(self, node: nodes.Name) -> None:
        if node.name == "row":
            self._names.row = True
        elif node.name == "job":
            raise Invalid("holds `job` alone", "write what of it: job.id, job.model, job.size, job.copy")
        else:
            self._names.used.add(node.name)

    def _filter(self, node: nodes.Filter) -> None:
        if node.name not in FILTERS:
            advice = nearest(node.name, FILTERS) or f"there is {', '.join(sorted(FILTERS))}"
            raise Invalid(f"uses the filter {shown(node.name)}, which is not there", advice)
        if node.name in ("default", "d") and node.node is not None:
            self._ask(node.node)

    def _test(self, node: nodes.Test) -> None:
        if node.name not in TESTS:
            advice = nearest(node.name, TESTS) or f"there is {', '.join(sorted(TESTS))}"
            raise Invalid(f"uses the test {shown('is ' + node.name)}, which is not there", advice)
        if node.name in ("defined", "undefined", "none"):
            self._ask(node.node)

    def _ask(self, node: nodes.Node) -> None:
        """Record a name that the template tests: a tested name may be missing."""
        base, key = _item(node)
        if isinstance(node, nodes.Name):
            self._names.optional.add(node.name)
        elif base == "row" and key is not None:
            self._names.optional.add(key)

    def _concat(self, node: nodes.Concat) -> None:
        # `~` would print Python's `None` and `True`, so each operand passes the filter `text`.
        node.nodes = [nodes.Filter(part, "text", [], [], None, None, lineno=node.lineno) for part in node.nodes]

    def _getattr(self, node: nodes.Getattr) -> bool | None:
        return self._access(node)

    def _getitem(self, node: nodes.Getitem) -> bool | None:
        return self._access(node)

    def _access(self, node: nodes.Node) -> bool | None:
        base, key = _item(node)
        if base == "row" and key is not None:
            self._names.columns.add(key)
            self._names.row = True
            return True
        if base == "job" and key is not None:
            self._names.job.add(key)
            return True
        return None


def _item(node: nodes.Node) -> tuple[str | None, str | None]:
    """Return base and key of an access: ``row`` and ``x`` for ``row.x`` and ``row["x"]``."""
    if not isinstance(node, (nodes.Getattr, nodes.Getitem)) or not isinstance(node.node, nodes.Name):
        return None, None
    if isinstance(node, nodes.Getattr):
        return node.node.name, node.attr
    return node.node.name, node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(
        node.arg.value, str
    ) else None


def _refusal(node: nodes.Node) -> Invalid:
    if isinstance(node, nodes.Call):
        return Invalid(
            "calls a function, which templates cannot", "filters do the work: {{ name|upper }}, {{ name|slug }}"
        )
    if isinstance(node, nodes.Expr):
        called = "`**`" if isinstance(node, nodes.Pow) else type(node).__name__
        return Invalid(f"uses {called}, which templates cannot", "they know + - * / // % ~ and comparisons")
    name = type(node).__name__.lower()
    return Invalid(f"uses `{{% {_TAGS.get(name, name)} %}}`, which templates cannot", _STATEMENTS)
