"""Sandbox of templates: Jinja2 reduced to expressions over plain values.

There are no calls, no loops, no attributes of Python objects and nothing random. A template is a bounded function of
a row. This module imports jinja2 and is imported with the first template only.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from jinja2 import Undefined, nodes
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.manifest.problems import Invalid
from runner.manifest.templates.filters import FILTERS
from runner.manifest.templates.values import Missing, Null, bounded, text_of

TESTS: Final = ("defined", "undefined", "none", "string", "number", "boolean", "true", "false", "odd", "even",
                "divisibleby", "in", "eq", "ne", "lt", "le", "gt", "ge", "equalto", "mapping", "sequence")  # fmt: skip


class _Values(NativeCodeGenerator):
    """Code generator that yields values unchanged, constants too. ``text_of`` prints them."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Any, finalize: Any) -> Any:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


class Sandbox(ImmutableSandboxedEnvironment):
    """Environment with only our filters and the tests above, without globals. Attributes are items of plain values."""

    code_generator_class = _Values
    intercepted_binops: ClassVar[frozenset[str]] = frozenset({"+", "*", "%"})  # type: ignore[misc]  # Jinja's stub has it per object

    def __init__(self) -> None:
        super().__init__(undefined=Missing, autoescape=False, keep_trailing_newline=True, optimized=False)
        self.globals = {}
        self.filters = dict(FILTERS)
        self.tests = {name: self.tests[name] for name in TESTS}
        self.tests["none"] = lambda value: value is None or isinstance(value, Null)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item of a plain value: ``row["a header"]``, ``sizes[0]``, ``name[:10]``."""
        try:
            if type(obj) is dict or (isinstance(obj, (str, list, tuple)) and isinstance(argument, (int, slice))):
                value = obj[argument]
            else:
                return self.undefined(obj=obj, name=argument)
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)
        return Null(name=argument) if value is None else value

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the item of a mapping with this name, as in ``job.width``; never an attribute of an object."""
        return self.getitem(obj, attribute) if type(obj) is dict else self.undefined(obj=obj, name=attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - Jinja's signature
        """Return the result of arithmetic on numbers, or of ``+`` on two texts.

        A text times a number is refused, because it could fill the memory.
        """
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if numbers or (operator == "+" and isinstance(left, str) and isinstance(right, str)):
            return bounded(self.binop_table[operator](left, right))
        for value in (left, right):
            if isinstance(value, Undefined):
                text_of(value)
        raise Invalid(
            f"uses `{operator}` on a value that is not a number", "`|int` or `|float` converts a text to a number"
        )
