"""JSON Schema of an entry of ``jobs:`` and of ``defaults:``, for any model."""

from __future__ import annotations

from typing import Any, Final

from runner.manifest.editor_schema import patterns
from runner.manifest.editor_schema.copies import published
from runner.manifest.editor_schema.values import Schema, absent, any_of, filled, has, size, string, text
from runner.manifest.jobs.entry import MAX_REPEAT, SEVERAL
from runner.manifest.jobs.inputs import KEYS, TAKEN
from runner.manifest.jobs.matrix import RESERVED

MAKES_SEVERAL: Final = any_of(*map(has, SEVERAL))
"""Entries in which inputs and ids may be templates."""

_SIDES: Final = ("width", "height")
_NO_AXIS: Final = (*RESERVED, *TAKEN)
_AXIS: Final = rf"^(?!(?:{'|'.join(_NO_AXIS)})$)(?:[A-Za-z_]|[^\u0000-\u007f])(?:[A-Za-z0-9_]|[^\u0000-\u007f])*$"


def job(model: Schema) -> Schema:
    """Return the schema of one entry; ``model`` is the schema of its key ``model``."""
    return {
        "title": "Job",
        "description": "One picture, or one for each row, combination, size and repetition. A key that is "
        "not one of these is an input of the model.",
        "type": "object",
        "properties": {**_own_keys(model), **_inputs()},
        "dependencies": {
            "size": _without_other_sizes("sizes"),
            "sizes": _without_other_sizes("size"),
            "width": _given_once("width"),
            "height": _given_once("height"),
            "prompt": _given_once("prompt"),
            "where": ["from"],
            **{key: _of_feeds(pattern) for key, pattern in patterns.FEEDS_WITH.items()},
        },
        "allOf": [
            {"if": has("inputs", "prompt"), "then": {"properties": {"matrix": absent("prompt")}}},
            *({"if": has("inputs", side), "then": {"properties": {"matrix": absent("size", side)}}} for side in _SIDES),
            _tells_apart(),
        ],
        "if": MAKES_SEVERAL,
        "then": {"properties": {"size": size(or_template=True)}},
        "else": {"properties": {"id": _no_template(), "size": size()}},
    }


def _own_keys(model: Schema) -> dict[str, Schema]:
    return {
        "id": text(
            f"{patterns.TEMPLATE}|{patterns.ID}",
            "no slash (folders go into `file`), no dot or space at its end, no name that Windows or runner keeps",
            title="Id",
            description="Id of the job, the same in every run and unique in the manifest. Default: readable "
            "text made of the prompt, with a hash. A template if the entry has `from`, `matrix`, "
            "`repeat` or `sizes`.",
            examples=["mug-hero", "{{ sku }}-{{ view }}"],
        ),
        "model": model,
        "inputs": {
            "title": "Inputs",
            "description": "Inputs of the model by name, also those with the name of a key of a job.",
            "type": "object",
            "properties": {"prompt": filled()},
        },
        "size": {
            "title": "Size",
            "description": "Width x height in pixels; the same as `width` and `height`.",
            "examples": ["1024x768"],
        },
        "sizes": _list(
            size(), title="Sizes", description="One job for each size.", examples=[["1024x1024", "768x1024"]]
        ),
        **_feed_keys(),
        "matrix": _matrix(),
        "repeat": {
            "title": "Repeat",
            "description": "Number of variations of the same inputs. Raising it from 2 to 3 later buys one more. "
            "Default: 1.",
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_REPEAT,
            "default": 1,
        },
        "file": text(
            patterns.FILE,
            "a path in the output folder: no ..; no part that ends in a dot or space, or that Windows or runner keeps",
            title="File",
            description="Path of the picture in the output folder, without its ending, which follows from the "
            "downloaded file. A template. Default: the id.",
            examples=["{{ sku }}/{{ view }}-{{ size }}.{{ ext }}"],
        ),
        **published(),
    }


def _feed_keys() -> dict[str, Schema]:
    """Return the schemas of ``from`` and of the keys that stand beside it."""
    return {
        "from": string(
            patterns.FEED,
            "write the path of a .csv, .tsv, .jsonl, .json, .txt or .xlsx file, or a pattern like photos/*.jpg",
            title="From",
            description="A feed: one job for each row of a .csv, .tsv, .jsonl, .json (a list of objects), .txt (a "
            "prompt a line) or .xlsx file, or for each picture of a pattern (columns path, name, stem); the path "
            "starts at the manifest. Its columns are names for templates, or, where the entry sets no prompt, the keys "
            "of its jobs.",
            examples=["products.csv", "photos/*.jpg"],
        ),
        "where": string(
            patterns.TEMPLATE,
            'write a template: "{{ name }}"',
            title="Where",
            description="A template. Rows of the feed for which it is empty, `false` or `0` make no job.",
            examples=["{{ title }}", "{{ published == 'true' }}"],
        ),
        "delimiter": string(
            patterns.DELIMITER,
            'write ",", ";", "|" or tab',
            title="Delimiter",
            description="Separator of the cells of a .csv or .tsv feed. Default: recognised from the header.",
            examples=[";", "tab"],
        ),
        "encoding": string(
            patterns.ENCODING,
            "such as utf-8, utf-16, cp1252, iso-8859-1",
            title="Encoding",
            description="Encoding of the feed's text. Default: UTF-8, or UTF-16 where the feed begins with its mark.",
            examples=["cp1252", "iso-8859-15"],
        ),
        "at": filled(
            title="At",
            description="Key of a .json feed whose value is the list of rows. Default: the whole file is the list.",
            examples=["products"],
        ),
        "sheet": filled(
            title="Sheet",
            description="Sheet of an .xlsx feed. Default: the first one.",
            examples=["Products"],
        ),
    }


def _inputs() -> dict[str, Schema]:
    """Return the schemas of the inputs that have the same meaning for every model."""
    return {
        "prompt": filled(
            title="Prompt",
            description="Description of the picture. A template if the entry has `from`, `matrix`, `repeat` "
            "or `sizes`.",
            examples=["A matte ceramic mug on reclaimed wood, soft window light", "{{ name }}, {{ view }} view"],
        ),
        "width": {"title": "Width", "description": "In pixels.", "examples": [1024]},
        "height": {"title": "Height", "description": "In pixels.", "examples": [1024]},
    }


def _list(items: Schema, **more: Any) -> Schema:
    return {**more, "type": "array", "minItems": 1, "uniqueItems": True, "items": items}


def _matrix() -> Schema:
    exclude = {
        "title": "Exclude",
        "description": "Combinations to leave out: each names some keys of the matrix and their values.",
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "minProperties": 1,
            "properties": {"size": size(), "exclude": False},
            "propertyNames": {"pattern": _AXIS},
        },
        "examples": [[{"view": "front", "size": "512x512"}]],
    }
    return {
        "title": "Matrix",
        "description": "One job for each combination of the values. A key that is an input of the model sets it; "
        "`size` sets width and height; any other is a name for templates.",
        "type": "object",
        "properties": {"size": _list(size()), "prompt": _list(filled()), "exclude": exclude},
        "propertyNames": {"pattern": _AXIS},
        "additionalProperties": _list({}),
        "dependencies": {"size": absent(*_SIDES)},
        "not": {"propertyNames": {"const": "exclude"}},
        "examples": [{"view": ["front", "side"], "size": ["1024x1024", "512x512"]}],
    }


def _without_other_sizes(other: str) -> Schema:
    """Forbid every other key that sets width or height beside ``size`` or ``sizes``."""
    return {
        "properties": {
            **dict.fromkeys((*_SIDES, other), False),
            "inputs": absent(*_SIDES),
            "matrix": absent("size", *_SIDES),
        }
    }


def _of_feeds(pattern: str) -> Schema:
    """Require ``from``, with a feed that matches ``pattern``."""
    return {"required": ["from"], "properties": {"from": {"pattern": pattern}}}


def _given_once(name: str) -> Schema:
    axes = (name, "size") if name in _SIDES else (name,)
    return {"properties": {"inputs": absent(name), "matrix": absent(*axes)}}


def _no_template() -> Schema:
    advice = "a template needs `from`, `matrix`, `repeat` or `sizes`; write the id out"
    return {"pattern": patterns.NO_TEMPLATE, "patternErrorMessage": advice}


def _tells_apart() -> Schema:
    """Require that an id or file beside a matrix with several values is a template that names the keys.

    Sizes are appended to an id or file, so they need not be named.
    """
    told = dict.fromkeys(("size", *_SIDES, "exclude"), True)
    one_each: Schema = {"properties": told, "additionalProperties": {"maxItems": 1}}
    return {
        "if": {"required": ["matrix"], "properties": {"matrix": {"type": "object", "not": one_each}}},
        "then": {"properties": {"id": names_keys(), "file": names_keys(patterns.FILE_TEMPLATE)}},
    }


def names_keys(pattern: str = patterns.TEMPLATE) -> Schema:
    """Return the schema of an id or file that may differ for each value of the matrix."""
    return string(pattern, "its jobs would share one: name the keys of the matrix, {{ view }}")


def defaults() -> Schema:
    without_default = [key for key in KEYS if key not in ("inputs", "size")]
    return {
        "title": "Defaults",
        "description": "Inputs of every job that does not set them itself.",
        "type": "object",
        "properties": {
            **_inputs(),
            "size": size(title="Size", description="Width x height in pixels.", examples=["1024x768"]),
            "inputs": {"type": "object", "properties": {"prompt": filled()}},
            **dict.fromkeys(without_default, False),
        },
        "dependencies": {
            "size": {"properties": {**dict.fromkeys(_SIDES, False), "inputs": absent(*_SIDES)}},
            **{name: {"properties": {"inputs": absent(name)}} for name in ("prompt", *_SIDES)},
        },
        "examples": [{"width": 1024, "height": 1024}],
    }
