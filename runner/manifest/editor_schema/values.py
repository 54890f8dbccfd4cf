"""JSON Schemas of single values, as editors read YAML."""

from __future__ import annotations

from typing import Any, Final

from runner.manifest.editor_schema import patterns

Schema = dict[str, Any]

SIZE_ADVICE: Final = "write width x height in pixels: 1024x768"


def text(pattern: str, advice: str, **more: Any) -> Schema:
    """Return the schema of a plain scalar that is read as text, such as ``42``, which is a number to the editor.

    ``advice`` is shown if the value does not match.
    """
    return {**more, "type": ["string", "number"], "pattern": pattern, "patternErrorMessage": advice}


def string(pattern: str, advice: str, **more: Any) -> Schema:
    """Return the schema of a text that cannot be a number."""
    return {**more, "type": "string", "pattern": pattern, "patternErrorMessage": advice}


def notation(pattern: str, advice: str, number: Schema | None = None, **more: Any) -> Schema:
    """Return the schema of a value with its own notation. ``number`` bounds a bare number, where one is valid."""
    if number is None:
        return string(pattern, advice, **more)
    whole = number.get("type") == "integer"
    bounds = {key: value for key, value in number.items() if key != "type"}
    return {
        **more,
        "type": ["string", "integer" if whole else "number"],
        **bounds,
        "pattern": pattern,
        "patternErrorMessage": advice,
    }


def size(
    widths: str = patterns.SIDE, heights: str = patterns.SIDE, *, advice: str = SIZE_ADVICE,
    or_template: bool = False, **more: Any,
) -> Schema:  # fmt: skip
    """Return the schema of ``1024x768``, with the given patterns for its numbers.

    ``or_template``: a template is valid, too.
    """
    pattern = patterns.size(widths, heights)
    return string(f"{patterns.TEMPLATE}|{pattern}" if or_template else pattern, advice, **more)


def filled(**more: Any) -> Schema:
    """Return the schema of a text that is not blank."""
    return text(patterns.FILLED, "write a text", **more)


def absent(*names: str) -> Schema:
    """Return the schema of mappings that have none of ``names``."""
    return {"properties": dict.fromkeys(names, False)}


def has(*path: str) -> Schema:
    """Return the schema of mappings that have the key at the end of ``path``."""
    first, *rest = path
    found: Schema = {"required": [first]}
    if rest:
        found["properties"] = {first: {"type": "object", **has(*rest)}}
    return found


def any_of(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}
