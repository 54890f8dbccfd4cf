"""JSON Schema of the jobs of a bundled model: its inputs, their types and ranges."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from runner.manifest.editor_schema.jobs import MAKES_SEVERAL, names_keys
from runner.manifest.editor_schema.patterns import NO_EXPRESSION, SIDE, WHOLE_TEMPLATE, between
from runner.manifest.editor_schema.values import SIZE_ADVICE, Schema, any_of, filled, has, size, text
from runner.manifest.jobs.inputs import KEYS
from runner.manifest.models.inputs import bundled_schema

_SIDES: Final = ("width", "height")
_SIZES: Final = (("size",), ("sizes",), ("matrix", "size"))


def definition(model: str) -> str:
    """Return the name of the schema of the jobs of ``model``. A slash would be a step of a JSON pointer."""
    return f"{model.replace('/', '.')}.job"


def rules(model: str) -> list[Schema]:
    """Return the rules for a whole manifest that follow from the jobs of ``model``."""
    return [
        *_each_job_of(model, {"$ref": f"#/definitions/{definition(model)}"}),
        *(rule for name in _inputs(model).required for rule in _required(model, name)),
        _typed_defaults(model),
        _known_defaults(model),
        *(_default_in_range(model, name) for name in _inputs(model).properties),
    ]


class _Inputs:
    """Input schema of a bundled model."""

    def __init__(self, model: str) -> None:
        schema = bundled_schema(model) or {}
        self.properties: dict[str, Schema] = schema.get("properties", {})
        self.required: list[str] = schema.get("required", [])

    def size(self, *sides: str, or_template: bool = False) -> Schema:
        """Return the schema of sizes whose given sides are in range."""
        numbers = [self._digits(side) if side in sides else SIDE for side in _SIDES]
        return size(*numbers, advice=SIZE_ADVICE + self._advice(), or_template=or_template)

    def _range(self, side: str) -> tuple[int, int] | None:
        found = self.properties.get(side, {})
        return (found["minimum"], found["maximum"]) if {"minimum", "maximum"} <= found.keys() else None

    def _digits(self, side: str) -> str:
        found = self._range(side)
        return between(*found) if found else SIDE

    def _advice(self) -> str:
        width, height = map(self._range, _SIDES)
        return f"; the model takes {width[0]}x{height[0]} to {width[1]}x{height[1]}" if width and height else ""

    def plain(self, *, ranged: bool = True) -> dict[str, Schema]:
        """Return the schemas of plain values."""
        return {name: _value(name, found, ranged=ranged) for name, found in self.properties.items()}

    def templated(self, *, ranged: bool = True) -> dict[str, Schema]:
        """Return the schemas of values or templates."""
        return {name: _or_template(value) for name, value in self.plain(ranged=ranged).items()}


@cache
def _inputs(model: str) -> _Inputs:
    return _Inputs(model)


def _value(name: str, found: Schema, *, ranged: bool) -> Schema:
    if found.get("type") == "string":
        return filled() if name == "prompt" else {"type": ["string", "number"]}
    return {key: value for key, value in found.items() if ranged or key not in ("minimum", "maximum")}


def _or_template(value: Schema) -> Schema:
    if "string" in value["type"]:
        return value
    advice = "a number, or one {{ … }} that makes the whole value"
    return {**value, "type": [value["type"], "string"], "pattern": WHOLE_TEMPLATE,
            "patternErrorMessage": advice}  # fmt: skip


def model_job(model: str) -> Schema:
    """Return the schema of one entry of ``model``: all of its inputs, and no other key."""
    inputs = _inputs(model)
    own = dict.fromkeys(KEYS, True)
    plain, templated = inputs.plain(), inputs.templated()
    return {
        "properties": {
            **own,
            **dict.fromkeys(inputs.properties, True),
            "sizes": {"items": inputs.size(*_SIDES)},
            "matrix": _matrix(inputs),
            "inputs": {"additionalProperties": False, "properties": dict.fromkeys(inputs.properties, True)},
        },
        "additionalProperties": False,
        "if": MAKES_SEVERAL,
        "then": _given(templated, inputs.size(*_SIDES, or_template=True)),
        "else": _given(plain, inputs.size(*_SIDES)),
        "allOf": [_told_apart(inputs)],
    }


def _given(inputs: dict[str, Schema], sizes: Schema) -> Schema:
    return {"properties": {**inputs, "size": sizes, "inputs": {"properties": inputs}}}


def _matrix(inputs: _Inputs) -> Schema:
    axes = {name: {"items": value} for name, value in inputs.templated().items()}
    own = text(NO_EXPRESSION, "a value that is not an input of the model is plain text")
    excluded = {"properties": {**inputs.templated(ranged=False), "size": True}, "additionalProperties": own}
    return {
        "properties": {**axes, "size": {"items": inputs.size(*_SIDES)}, "exclude": {"items": excluded}},
        "additionalProperties": {"items": own},
    }


def _told_apart(inputs: _Inputs) -> Schema:
    """Require that the id names the author's own keys of the matrix, even those with one value."""
    others: Schema = {
        "properties": dict.fromkeys((*inputs.properties, "size", "exclude"), True),
        "additionalProperties": False,
    }
    return {
        "if": {"required": ["matrix"], "properties": {"matrix": {"type": "object", "not": others}}},
        "then": {"properties": {"id": names_keys()}},
    }


def _is(model: str) -> Schema:
    return {"required": ["model"], "properties": {"model": {"const": model}}}


def _each_job_of(model: str, rule: Schema) -> list[Schema]:
    """Return ``rule`` for every job that names ``model``, or that names none while the top names ``model``."""
    unnamed = {"if": {"not": has("model")}, "then": rule}
    return [
        {"properties": {"jobs": {"items": {"if": _is(model), "then": rule}}}},
        {"if": _is(model), "then": {"properties": {"jobs": {"items": unnamed}}}},
    ]


def _where_a_job_of(model: str, also: Schema, then: Schema) -> Schema:
    """Return ``then`` for manifests in which some job of ``model`` matches ``also``."""

    def some(*schemas: Schema) -> Schema:
        return {"properties": {"jobs": {"contains": {"allOf": [*schemas, also]}}}}

    by_top = {"allOf": [_is(model), some({"not": has("model")})]}
    return {"if": any_of(some(_is(model)), by_top), "then": then}


def _required(model: str, name: str) -> list[Schema]:
    """Require that a job without a feed has a value for ``name``, of its own or by default."""
    given = any_of(*(has(*path) for path in ((name,), ("inputs", name), ("matrix", name), ("from",))))
    by_default = any_of(has("defaults", name), has("defaults", "inputs", name))
    return [{"if": {"not": by_default}, "then": rule} for rule in _each_job_of(model, given)]


def _of_defaults(properties: dict[str, Schema], **more: Any) -> Schema:
    inputs = {"properties": properties, **more}
    return {"properties": {"defaults": {"properties": {**properties, "inputs": inputs}}}}


def _typed_defaults(model: str) -> Schema:
    """Return the types of the defaults, which apply as soon as the model is named."""
    typed = _of_defaults(_inputs(model).plain(ranged=False))
    named = {"properties": {"jobs": {"contains": _is(model)}}}
    return {"if": any_of(_is(model), named), "then": typed}


def _known_defaults(model: str) -> Schema:
    known = dict.fromkeys(_inputs(model).properties, True)
    inputs = {"properties": known, "additionalProperties": False}
    closed = {"properties": {**known, **dict.fromkeys(KEYS, True), "inputs": inputs}, "additionalProperties": False}
    return _where_a_job_of(model, {}, {"properties": {"defaults": closed}})


def _default_in_range(model: str, name: str) -> Schema:
    """Return the range of a default, which applies if a job uses the default."""
    inputs = _inputs(model)
    paths = [(name,), ("inputs", name), ("matrix", name), *(_SIZES if name in _SIDES else ())]
    ranged = {name: inputs.plain()[name]}
    then = _of_defaults(ranged)
    if name in _SIDES:
        then["properties"]["defaults"]["properties"]["size"] = inputs.size(name)
    return _where_a_job_of(model, {"not": any_of(*(has(*path) for path in paths))}, then)
