"""JSON Schemas of single values, as an editor reads YAML."""

from __future__ import annotations

from typing import Any, Final

from runner.manifest.editor_schema import patterns

Schema = dict[str, Any]

SIZE_ADVICE: Final = "write width x height in pixels: 1024x768"


def text(pattern: str, advice: str, **more: Any) -> Schema:
    """A plain scalar taken as text: ``42`` is a number to the editor. ``advice`` is shown where it does not fit."""
    return {**more, "type": ["string", "number"], "pattern": pattern, "patternErrorMessage": advice}


def string(pattern: str, advice: str, **more: Any) -> Schema:
    """A text that no number can be."""
    return {**more, "type": "string", "pattern": pattern, "patternErrorMessage": advice}


def notation(pattern: str, advice: str, number: Schema | None = None, **more: Any) -> Schema:
    """What has a notation of its own; ``number`` bounds a bare number, where one may stand there."""
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
    """``1024x768``, its numbers by the given patterns; ``or_template``: or what makes one."""
    pattern = patterns.size(widths, heights)
    return string(f"{patterns.TEMPLATE}|{pattern}" if or_template else pattern, advice, **more)


def filled(**more: Any) -> Schema:
    """A text that is more than blanks."""
    return text(patterns.FILLED, "write a text", **more)


def absent(*names: str) -> Schema:
    """Mappings in which none of ``names`` may stand."""
    return {"properties": dict.fromkeys(names, False)}


def has(*path: str) -> Schema:
    """Mappings that hold the key at the end of ``path``."""
    first, *rest = path
    found: Schema = {"required": [first]}
    if rest:
        found["properties"] = {first: {"type": "object", **has(*rest)}}
    return found


def any_of(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}
