"""Checks of input schemas from the catalogue, and their compilation into validators.

A schema comes from another machine and must not crash this program, make it fetch anything, or keep it busy. A schema
is bounded in bytes, in depth and in its size with all references written out. It refers to nothing outside itself,
and its patterns run in linear time.
"""

from __future__ import annotations

from typing import Any, Final

import jsonschema_rs
import msgspec

from runner.manifest.problems import Invalid, shown

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 40
MAX_PARTS: Final = 20_000
"""Most values in a schema with every reference written out."""

MAX_NAME: Final = 200

_ONE: Final = frozenset({
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
_MANY: Final = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
_NAMED: Final = frozenset({
    "$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties",
})  # fmt: skip
_ELSEWHERE: Final = ("$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveRef", "id")
"""Keywords that change the meaning of a reference, which must be a path from the top."""

_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 20)


def usable(schema: object) -> dict[str, Any]:
    """Return ``schema`` with JSON Schema's own types. Raises ``Invalid`` if inputs cannot be checked by it."""
    if not isinstance(schema, dict):
        raise Invalid("is not a JSON object")
    _check_bounds(schema)
    _check_shape(schema)
    translated: dict[str, Any] = with_json_types(schema)
    compiled(translated)
    return translated


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """Return a validator for ``schema``; it fetches nothing. Raises ``Invalid`` if ``schema`` is no JSON Schema."""
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=_PATTERNS)
    except (ValueError, TypeError, OverflowError, RecursionError, jsonschema_rs.ReferencingError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise Invalid(f"is not a JSON Schema: {shown(reason, 120)}") from None


def with_json_types(schema: Any) -> Any:
    """Return ``schema`` with ``number`` for the catalogue's own type ``float``, only where a type is expected."""
    if not isinstance(schema, dict):
        return schema
    return {key: _translated(key, value) for key, value in schema.items()}


def _translated(key: str, value: Any) -> Any:
    if key == "type":
        return _json_type(value)
    if key in _NAMED and isinstance(value, dict):
        return {name: with_json_types(inner) for name, inner in value.items()}
    if key in _MANY and isinstance(value, list):
        return [with_json_types(inner) for inner in value]
    return with_json_types(value) if key in _ONE else value


def _json_type(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return list(dict.fromkeys(map(_json_type, value)))
    return "number" if value == "float" else value


def _check_bounds(schema: dict[str, Any]) -> None:
    """Raise ``Invalid`` if ``schema`` is too large, too deep, or refers to anything but a part of itself."""
    parts = 0
    stack: list[tuple[Any, int, frozenset[str]]] = [(schema, 0, frozenset())]
    while stack:
        value, depth, within = stack.pop()
        parts += 1
        if depth > MAX_DEPTH or parts > MAX_PARTS:
            raise Invalid("is too large, or too deep")
        if isinstance(value, dict):
            stack += [(inner, depth + 1, within) for inner in value.values()]
            if isinstance(value.get("$ref"), str):
                stack.append((_referred(schema, value["$ref"], within), depth + 1, within | {value["$ref"]}))
            if value is not schema and any(isinstance(value.get(word), str) for word in _ELSEWHERE):
                raise Invalid("refers to other documents")
        elif isinstance(value, list):
            stack += [(inner, depth + 1, within) for inner in value]
    try:
        size = len(msgspec.json.encode(schema))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise Invalid("is not JSON") from None
    if size > MAX_BYTES:
        raise Invalid("is too large")


def _referred(schema: dict[str, Any], ref: str, within: frozenset[str]) -> Any:
    """Return the part of ``schema`` that ``ref`` points to."""
    if ref in within or ref == "#":
        raise Invalid("refers to itself")
    if not ref.startswith("#/"):
        raise Invalid(f"refers to {shown(ref)}, outside itself")
    found: Any = schema
    for step in ref[2:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    if found is None:
        raise Invalid(f"refers to {shown(ref)}, which it does not hold")
    return found


def _check_shape(schema: dict[str, Any]) -> None:
    """Raise ``Invalid`` unless ``schema`` names the inputs of a model."""
    properties, required = schema.get("properties"), schema.get("required", [])
    if schema.get("type", "object") != "object" or not isinstance(properties, dict) or not properties:
        raise Invalid("names no inputs")
    if not all(isinstance(name, str) and isinstance(rule, dict) for name, rule in properties.items()):
        raise Invalid("describes no inputs")
    if not all(name.isprintable() and len(name) <= MAX_NAME for name in properties):
        raise Invalid("has names that cannot be shown")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise Invalid("is malformed: `required` is not a list of names")
    unknown = [name for name in required if name not in properties]
    if unknown:
        raise Invalid(f"requires {shown(unknown[0])}, and does not say what that is")
