"""Models that are not bundled: what a schema from outside does for a manifest, and what its absence leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.core.errors import ManifestError
from runner.manifest import Manifest, Offer, bundled_schema, fingerprint, load, spelling
from runner.manifest.models.inputs import bundled_models

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
MODEL = "vendor/edit/image-to-image"
SCHEMA = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "default": "a sample prompt"},
        "image_url": {"type": "string", "format": "image_uri"},
        "style": {"type": "string"},
        "steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 25},
        "guidance": {"type": "float", "minimum": 0, "default": 2.5},
        "tiled": {"type": "boolean"},
        "seed": {"type": ["integer", "null"]},
        "label": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
}


def read(text: str, schema: Any = SCHEMA, **offer: Any) -> Manifest:
    known = {MODEL: Offer(schema=schema, **offer)}
    return load("-", text=f"model: {MODEL}\n{dedent(text)}".encode(), offers=lambda _: known)


def inputs_of(text: str, schema: Any = SCHEMA) -> list[dict[str, Any]]:
    manifest = read(text, schema)
    with_inputs = [job.inputs for job in manifest.jobs]
    manifest.jobs.close()
    return with_inputs


def problems(text: str, schema: Any = SCHEMA) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read(text, schema)
    return [str(problem).removeprefix("-:") for problem in caught.value.problems]


def test_a_live_schema_decides_what_a_value_is():
    """Texts stay as written, numbers are numbers, also where null is offered beside them; floats are understood."""
    (inputs,) = inputs_of("""\
        jobs:
          - {prompt: 012, style: 7, steps: 4.0, guidance: 3, tiled: true, seed: 5, label: 1.50}
        """)
    assert inputs == {"prompt": "012", "style": "7", "steps": 4, "guidance": 3, "tiled": True, "seed": 5,
                      "label": "1.50"}  # fmt: skip


def test_the_defaults_of_a_live_schema_are_not_sent():
    """They may change overnight; then the same manifest would look like other inputs, and be bought again."""
    assert inputs_of("jobs: [{prompt: a}]") == [{"prompt": "a"}]


def test_a_live_schema_refuses_what_the_model_does_not_take():
    """Unknown names with the nearest known one, types, ranges, and what is missing: before anything is bought."""
    assert problems("""\
        defaults: {guidanse: 2}
        jobs:
          - {id: z, prompt: a, stepz: 4}
          - {prompt: b, steps: 51, guidance: "2"}
          - {style: x}
          - {prompt: c, size: 64x64}
        """) == [
        f"2:12: the default `guidanse` is not an input of {MODEL}, the model of job `z` (did you mean `guidance`?)",
        f"4:24: `stepz` is neither a key of a job nor an input of {MODEL} (did you mean `steps`?)",
        "5:24: `steps` is 51; the model takes 1 to 50",
        "5:38: `guidance` takes a number, not the text `2` (drop the quotes)",
        f"6:5: `prompt` is missing (the model {MODEL} needs it)",
        f"7:23: {MODEL} takes no width and height (leave the size out)",
    ]  # fmt: skip


def test_a_schema_that_says_so_takes_inputs_that_it_does_not_name():
    """``additionalProperties: true``, said outright, lets them pass; left out, it does not."""
    job = "jobs: [{prompt: a, secret_knob: 3}]"
    assert inputs_of(job, {**SCHEMA, "additionalProperties": True}) == [{"prompt": "a", "secret_knob": 3}]
    assert "neither a key" in problems(job)[0]
    assert "neither a key" in problems(job, {**SCHEMA, "additionalProperties": False})[0]
    typed = {**SCHEMA, "additionalProperties": {"type": "float"}}
    assert inputs_of(job, typed) == [{"prompt": "a", "secret_knob": 3}]
    assert problems("jobs: [{prompt: a, secret_knob: x}]", typed)


def test_a_matrix_key_that_an_open_schema_does_not_name_is_only_a_name():
    """``view`` tells prompts apart; it is not sent because the model might take anything."""
    text = 'jobs: [{prompt: "a, {{ view }}", matrix: {view: [front, side]}}]'
    found = inputs_of(text, {**SCHEMA, "additionalProperties": True})
    assert found == [{"prompt": "a, front"}, {"prompt": "a, side"}]


def test_a_file_is_told_where_it_stands(tmp_path: Path):
    """Without a way to read files, a path as an input is an error with its place, in a row of a feed too."""
    assert problems("jobs: [{prompt: a, image_url: ./mug.png}]")[0].startswith(
        "2:31: `image_url` is `./mug.png`, which is not an https address (write the path of a file"
    )
    (tmp_path / "f.csv").write_text("pic\nhttps://example.com/a.png\nb.png\n")
    (tmp_path / "m.yaml").write_text(
        f'model: {MODEL}\njobs: [{{from: f.csv, prompt: "{{{{ pic }}}}", image_url: "{{{{ pic }}}}"}}]\n'
    )
    with pytest.raises(ManifestError, match=r"f\.csv:3:1: `image_url` is `b\.png`, which is not an https address"):
        load(tmp_path / "m.yaml", offers=lambda _: {MODEL: Offer(schema=SCHEMA)})


def test_a_schema_that_cannot_be_used_is_told_and_nothing_is_checked():
    """Malformed is not "anything goes" unsaid: the warning says why, and the inputs go by JSON's spelling."""
    manifest = read("jobs: [{prompt: a, steps: 400}]", {"type": "object", "properties": {"a": {"type": "picture"}}})
    (warning,) = manifest.warnings
    assert str(warning).startswith(f"-:1:8: the inputs of `{MODEL}` are not checked here; the API's answer decides (")
    assert "is not a JSON Schema" in str(warning)
    assert [(job.inputs["steps"], job.checked) for job in manifest.jobs] == [(400, False)]
    manifest.jobs.close()


def test_a_note_is_a_warning_at_the_model():
    """An old copy of a schema serves, and it is said."""
    manifest = read("jobs: [{prompt: a}]", note="checked by a copy of 2026-11-20")
    assert [str(w) for w in manifest.warnings] == [f"-:1:8: the inputs of `{MODEL}`: checked by a copy of 2026-11-20"]
    assert [job.checked for job in manifest.jobs] == [True]
    manifest.jobs.close()


def test_only_models_that_are_not_bundled_are_asked_for_and_all_at_once():
    """One question with every model of the document, whatever else is wrong with it; none where all are bundled."""
    asked: list[Sequence[str]] = []

    def offers(models: Sequence[str]) -> dict[str, Offer]:
        asked.append(models)
        return {}

    jobs = "jobs: [{prompt: a}, {model: b/c, prompt: b}, {model: a/d, prompt: c}, {model: '../x'}, 3, {id: {}}]"
    with pytest.raises(ManifestError):
        load("-", text=f"model: {KLEIN}\n{jobs}".encode(), offers=offers)
    assert asked == [["a/d", "b/c"]]
    load("-", text=f"model: {KLEIN}\njobs: [{{prompt: a}}]".encode(), offers=offers).jobs.close()
    assert len(asked) == 1


def test_klein_9b_is_bundled_with_its_published_fields():
    """Its own bounds, not those of 4B, and its steps; all of them filled in."""
    model = KLEIN.replace("4b", "9b")
    assert model in bundled_models()
    assert bundled_schema(model)["properties"]["steps"] == {
        "type": "integer", "minimum": 1, "maximum": 100, "default": 25,
    }  # fmt: skip
    with pytest.raises(ManifestError, match="`width` is 64; the model takes 512 to 1536"):
        load("-", text=f"model: {model}\njobs: [{{prompt: a, width: 64}}]".encode())
    manifest = load("-", text=f"model: {model}\njobs: [{{prompt: a}}]".encode())
    assert [job.inputs for job in manifest.jobs] == [{"prompt": "a", "width": 1024, "height": 1024, "steps": 25}]
    manifest.jobs.close()


NUMBERS = st.from_regex(r"-?[0-9]{1,4}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
SCALARS = NUMBERS | st.sampled_from(["true", "false", "no", "on", "012", "1_0", "0x1", ".5", "1.", "a", "5 6", "+1"])
TYPES = st.sampled_from(["string", "integer", "number", "float", "boolean"])


@given(SCALARS, TYPES, st.booleans())
@settings(max_examples=examples(300))
def test_however_a_value_is_read_its_spelling_is_the_same(value: str, kind: str, quoted: bool):
    """With a schema or without one: what was written alike is known to be alike, so that it is not bought twice."""
    written = json.dumps(value) if quoted else value
    text = f"model: {MODEL}\njobs: [{{id: a, prompt: p, x: {written}}}]\n".encode()
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}, "x": {"type": kind}}}
    without = load("-", text=text)
    try:
        with_schema = load("-", text=text, offers=lambda _: {MODEL: Offer(schema=schema)})
    except ManifestError:
        return
    (one,), (other,) = without.jobs, with_schema.jobs
    assert spelling(MODEL, one.inputs) == spelling(MODEL, other.inputs)
    without.jobs.close()
    with_schema.jobs.close()


@given(SCALARS, TYPES)
@settings(max_examples=examples(200))
def test_a_cell_is_spelled_the_same_however_it_is_read(tmp_path_factory: pytest.TempPathFactory, cell: str, kind: str):
    """The same for what comes out of a feed's column."""
    folder = tmp_path_factory.mktemp("feed")
    (folder / "f.csv").write_text(f"x\n{cell}\n")
    path = folder / "m.yaml"
    path.write_text(f'model: {MODEL}\njobs: [{{id: a, from: f.csv, prompt: p, x: "{{{{ row.x }}}}"}}]\n')
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}, "x": {"type": kind}}}
    without = load(path)
    try:
        with_schema = load(path, offers=lambda _: {MODEL: Offer(schema=schema)})
    except ManifestError:
        return
    (one,), (other,) = without.jobs, with_schema.jobs
    assert spelling(MODEL, one.inputs) == spelling(MODEL, other.inputs)
    without.jobs.close()
    with_schema.jobs.close()


@pytest.mark.parametrize(("one", "other"), [("4", "4.0"), ("0", "-0.0"), ("100", "100.00")])
def test_a_whole_number_has_one_fingerprint_whatever_its_type(one: str, other: str):
    """``integer`` and ``number`` read ``4`` and ``4.0`` differently; what is bought is the same."""
    found = set()
    for kind in ("integer", "number"):
        schema = {"type": "object", "properties": {"prompt": {"type": "string"}, "x": {"type": kind}}}
        for text in (one, other):
            (inputs,) = inputs_of(f"jobs: [{{prompt: p, x: {text}}}]", schema)
            found.add(fingerprint(MODEL, inputs))
    assert len(found) == 1
