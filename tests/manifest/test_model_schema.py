"""Schemas from outside: what is understood, what is refused, and that none can hurt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.manifest import usable
from runner.manifest.models.inputs import ModelInputs
from runner.manifest.models.schema import MAX_DEPTH, compiled, with_json_types
from runner.manifest.problems import Invalid

FLUX = {
    "type": "object",
    "title": "Input schema",
    "required": ["prompt"],
    "properties": {
        "prompt": {"title": "Prompt", "type": "string"},
        "guidance_scale": {"type": "float", "minimum": 0, "maximum": 20, "default": 2.5},
        "seed": {"type": "integer", "default": None},
        "image_size": {"type": "string", "enum": ["square", "float"], "default": "float"},
    },
}


def inputs_schema(**rules: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"prompt": {"type": "string"}, **rules}}


def test_float_means_number():
    """A schema as the catalogue tells them is understood, and its own words stay what they are elsewhere."""
    schema = usable(FLUX)
    assert schema["properties"]["guidance_scale"]["type"] == "number"
    assert schema["properties"]["image_size"] == FLUX["properties"]["image_size"]
    check = compiled(schema)
    assert check.is_valid({"prompt": "a", "guidance_scale": 3})
    assert check.is_valid({"prompt": "a", "guidance_scale": 3.5})
    assert not check.is_valid({"prompt": "a", "guidance_scale": "3.5"})


def test_float_is_rewritten_in_schema_positions_only():
    """Inputs may be called ``type`` or ``items``, and values may be the word ``float``."""
    rule = {"type": "float", "enum": ["float"], "const": {"type": "float"}, "default": {"type": "float"},
            "examples": [{"type": "float"}], "items": {"type": ["float", "number", "null"]}}  # fmt: skip
    found = with_json_types({"properties": {"type": rule, "items": {"anyOf": [{"type": "float"}, True]}}})
    assert found["properties"]["type"] == {**rule, "type": "number", "items": {"type": ["number", "null"]}}
    assert found["properties"]["items"] == {"anyOf": [{"type": "number"}, True]}


bomb = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {"type": "string"}}
deep: dict[str, Any] = {}
for _ in range(10_000):
    deep = {"properties": {"a": deep}}

REFUSED = {
    "nothing": None,
    "a list": [],
    "a word": "object",
    "true": True,
    "an empty one": {},
    "no inputs": {"type": "object", "properties": {}},
    "an array": {"type": "array", "properties": {"prompt": {}}},
    "inputs in a list": {"properties": [{"name": "prompt"}]},
    "an input that is no rule": {"properties": {"prompt": None}},
    "required is a word": {**inputs_schema(), "required": "prompt"},
    "required is a number": {**inputs_schema(), "required": [1]},
    "required is not described": {**inputs_schema(), "required": ["image"]},
    "a type that is none": inputs_schema(a={"type": "picture"}),
    "a type that is a number": inputs_schema(a={"type": 3}),
    "a bound that is a word": inputs_schema(a={"type": "integer", "minimum": "1"}),
    "a negative length": inputs_schema(a={"maxLength": -1}),
    "a broken pattern": inputs_schema(a={"pattern": "("}),
    "a pattern that looks around": inputs_schema(a={"pattern": "^(?=(a+)+$)a"}),
    "a huge pattern": inputs_schema(a={"pattern": "((a{1000}){1000}){1000}"}),
    "a remote reference": inputs_schema(a={"$ref": "http://127.0.0.1:9/schema.json"}),
    "a file": inputs_schema(a={"$ref": "file:///etc/passwd"}),
    "a remote id": inputs_schema(a={"$id": "http://127.0.0.1:9/", "$ref": "#/x"}),
    "a remote dialect": {**inputs_schema(), "$schema": "http://127.0.0.1:9/dialect"},
    "a dynamic reference": inputs_schema(a={"$dynamicRef": "http://127.0.0.1:9/#a"}),
    "a reference to nothing": inputs_schema(a={"$ref": "#/$defs/a"}),
    "itself": inputs_schema(a={"$ref": "#"}),
    "a circle": {**inputs_schema(a={"$ref": "#/$defs/a"}), "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}},
    "a bomb of references": {**inputs_schema(a={"$ref": "#/$defs/d0"}), "$defs": bomb},
    "a well": deep,
    "a flood": inputs_schema(a={"enum": ["x" * 1000] * 1000}),
    "a crowd": inputs_schema(**{f"a{n}": {} for n in range(30_000)}),
    "lone surrogates": inputs_schema(**{"\ud83d": {}}),
    "names for the terminal": inputs_schema(**{"a\x1b[2J": {}}),
    "endless names": inputs_schema(**{"a" * 1000: {}}),
    "no JSON": inputs_schema(a={"default": object()}),
    "a number beyond all": inputs_schema(a={"maximum": float("inf")}),
}


@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_or_broken_schema_is_refused_with_a_reason(schema: object):
    """None of these crashes, fetches, or hangs: each is told, and then the model is one of which nothing is known."""
    with pytest.raises(Invalid) as caught:
        usable(schema)
    assert caught.value.what


def test_a_schema_may_refer_to_its_own_parts():
    """Shared parts under ``$defs`` are what references are for."""
    rule = {"$defs": {"side": {"type": "integer", "minimum": 64}}}
    schema = usable({**inputs_schema(width={"$ref": "#/$defs/side"}, height={"$ref": "#/$defs/side"}), **rule})
    assert compiled(schema).is_valid({"prompt": "a", "width": 64})
    assert not compiled(schema).is_valid({"prompt": "a", "width": 63})


def test_a_bound_in_a_shared_part_is_told_as_well():
    """A value out of range is refused in words, wherever the range is written down."""
    shared = {"$defs": {"side": {"type": "integer", "minimum": 64}}}
    inputs = ModelInputs("a/b", usable({**inputs_schema(width={"$ref": "#/$defs/side"}), **shared}), fills=False)
    assert inputs.faults({"width": 3}) == [("width", "`width`: 3 is less than the minimum of 64", "")]


def test_faults_of_the_whole_are_told_without_a_name_or_with_the_right_one():
    """A name that no pattern allows is named; what concerns several inputs says so."""
    rules = {**inputs_schema(), "patternProperties": {"^x_": {}}, "additionalProperties": False}
    inputs = ModelInputs("a/b", usable({**rules, "minProperties": 2}), fills=False)
    assert inputs.knows("x_1")
    assert inputs.faults({"prompt": "a", "x_1": 1}) == []
    assert inputs.faults({"prompt": "a", "promt": 1}) == [
        ("promt", "`promt` is not an input of a/b", "did you mean `prompt`?"),
    ]
    ((name, what, _),) = inputs.faults({"prompt": "a"})
    assert (name, what.partition(":")[0]) == ("", "the inputs")


def test_what_a_schema_says_does_not_reach_the_terminal_raw():
    """An option with an escape sequence, or a thousand options, make a message that can be read."""
    inputs = ModelInputs("a/b", usable(inputs_schema(a={"enum": ["\x1b[2J", *map(str, range(1000))]})), fills=False)
    ((_, what, _),) = inputs.faults({"a": "x"})
    assert what.isprintable()
    assert what.endswith("(981 more)")


def test_a_pattern_takes_no_time_whatever_the_text():
    """Nested repetition, which other engines take years for, is linear here."""
    schema = usable(inputs_schema(style={"type": "string", "pattern": "^(a+)+$"}))
    assert not compiled(schema).is_valid({"style": "a" * 100_000 + "!"})


WORDS = ("$ref", "$defs", "type", "properties", "items", "anyOf", "enum", "required", "pattern", "minimum", "a", "#")
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(
    ["float", "object", "string", "#/$defs/a", "http://127.0.0.1:9/", "("]
)  # fmt: skip
JUNK = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=25,
)


@given(JUNK)
def test_whatever_a_catalogue_says_is_a_schema_or_refused(junk: Any):
    """No answer of the catalogue raises anything but its refusal, and what is taken can check inputs."""
    for schema in (junk, {"properties": {"a": junk}}, {"properties": {"a": {}}, "$defs": {"a": junk}}):
        try:
            check = compiled(usable(schema))
        except Invalid:
            continue
        list(check.iter_errors({"a": 1, "prompt": "x"}))
        inputs = ModelInputs("a/b", usable(schema), fills=False)
        for value in (1, "x", "https://example.com/a.png", None, [1, "x"], {"a": 1}):
            inputs.faults({"a": value, "prompt": "x"})
            inputs.converter("a")


@given(JUNK)
def test_rewriting_types_twice_changes_nothing_more(junk: Any):
    """The rewrite touches nothing but types, and leaves no ``float`` for another to find."""
    once = with_json_types(junk)
    assert repr(with_json_types(once)) == repr(once)


def test_the_depth_that_is_allowed_is_deep_enough():
    """Lists of mappings of lists, as structured inputs have them, are far from the bound."""
    rule: dict[str, Any] = {"type": "string"}
    for _ in range(MAX_DEPTH // 4):
        rule = {"type": "array", "items": rule}
    assert usable(inputs_schema(a=rule))
