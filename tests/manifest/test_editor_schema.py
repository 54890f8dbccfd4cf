"""The JSON Schema of the manifest: what an editor underlines, and what it leaves to the loader."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.editor_validator import as_an_editor_reads

from runner.core.errors import ManifestError
from runner.manifest import bundled_models, bundled_schema, load, units
from runner.manifest.editor_schema import patterns
from runner.manifest.editor_schema.schema import manifest_schema, schema_text
from runner.manifest.jobs.entry import read_id
from runner.manifest.jobs.inputs import KEYS as KEYS_OF_JOBS
from runner.manifest.names import check_file_name, without_extension
from runner.manifest.nodes import Scalar, Style
from runner.manifest.problems import Invalid
from runner.manifest.settings import _READERS, KEYS
from runner.manifest.templates.template import is_template, without_ext

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
KLEIN_9B = KLEIN.replace("4b", "9b")
EXAMPLES = Path(__file__).parents[2] / "jobs"
SCHEMA = manifest_schema()
VALIDATOR = jsonschema_rs.Draft7Validator(SCHEMA)
MODEL = f"model: {KLEIN}\n"


def with_job(job: str) -> str:
    return f"{MODEL}jobs:\n- {job}\n"


def with_setting(line: str) -> str:
    return f"{line}\n{MODEL}jobs: [{{prompt: a}}]\n"


def is_underlined(manifest: str) -> bool:
    return not VALIDATOR.is_valid(as_an_editor_reads(manifest))


def is_refused(manifest: str) -> bool:
    try:
        load("-", text=manifest.encode()).jobs.close()
    except ManifestError:
        return True
    return False


def test_the_schema_is_one_by_its_own_draft() -> None:
    """Draft 7, which the YAML language server of common editors understands."""
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema_rs.meta.validate(SCHEMA)


def test_every_key_of_the_loader_is_described() -> None:
    """A new key comes with its help: its title and what it means."""
    job, defaults = SCHEMA["definitions"]["job"], SCHEMA["properties"]["defaults"]
    inputs = {"prompt", "width", "height"}
    assert set(SCHEMA["properties"]) == set(KEYS)
    assert set(job["properties"]) == set(KEYS_OF_JOBS) | inputs
    assert set(defaults["properties"]) == set(KEYS_OF_JOBS) | inputs
    described = [*SCHEMA["properties"].items(), *job["properties"].items()]
    assert [name for name, found in described if not {"title", "description"} <= found.keys()] == []


@pytest.mark.parametrize("name", bundled_models())
def test_the_inputs_of_a_bundled_model_are_those_of_its_schema(name: str) -> None:
    """Types, ranges and defaults of a known model's inputs are told where they are typed."""
    found = SCHEMA["definitions"][f"{name.replace('/', '.')}.job"]
    model = bundled_schema(name)
    assert model is not None
    assert set(found["properties"]) == set(KEYS_OF_JOBS) | set(model["properties"])
    assert found["else"]["properties"]["width"] == model["properties"]["width"]


def test_a_default_that_is_told_is_the_one_that_is_used() -> None:
    """What hovering says of a default is what a manifest without the key gets."""
    named = {key: found["default"] for key, found in SCHEMA["properties"].items() if "default" in found}
    manifest = load("-", text=with_setting("x-a: 1").encode())
    for key, told in named.items():
        field, read = _READERS[key]
        word = str(told).lower() if isinstance(told, bool) else str(told)
        assert read(Scalar(1, 1, word, Style.PLAIN)) == getattr(manifest.settings, field)
    assert set(named) == {
        "concurrency",
        "timeout",
        "retries",
        "on_unknown",
        "on_bad_row",
        "strict_size",
        "max_file",
        "max_pixels",
    }


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_name_the_schema_and_keep_to_it(example: Path) -> None:
    """An example opened in an editor is checked against the schema beside it, and nothing is underlined."""
    text = example.read_text()
    assert text.startswith("# yaml-language-server: $schema=manifest.schema.json\n")
    VALIDATOR.validate(as_an_editor_reads(text))


def test_the_schema_beside_the_examples_is_the_one_that_is_printed() -> None:
    """After a change: `runner schema > jobs/manifest.schema.json`."""
    assert (EXAMPLES / "manifest.schema.json").read_text() == schema_text()


BROKEN = [
    "[]",
    "- prompt: a\n",
    MODEL,
    f"{MODEL}jobs: []\n",
    f"{MODEL}jobs:\n",
    f"{MODEL}jobs: {{prompt: a}}\n",
    with_job("A mug"),
    with_job(""),
    with_job("- prompt: a"),
    "jobs: [{prompt: a}]\n",
    f"jobs: [{{model: {KLEIN}, prompt: a}}, {{prompt: b}}]\n",
    *map(with_setting, [
        "x: 1", "concurency: 3", "prompt: a", "budget: free", "budget: -1", "budget: 25/week", "halt: 0", "halt: 0%",
        "halt: 101%", "on_bad_row: ignore", "defaults: [1]", "defaults: {model: a/b}", "defaults: {seed: 3}",
        "defaults: {width: 1}", "defaults: {width: '64'}", "defaults: {size: 1x64}",
        "defaults: {size: 64x64, width: 64}",
        "defaults: {inputs: {width: 1}}", "defaults: {prompt: ''}", "defaults: {width: 64, inputs: {width: 64}}",
        "concurrency: 0", "concurrency: 1001", "concurrency: automatic", "retries: 101", "retries: 1.5", "retries: yes",
        "timeout: 0", "timeout: 25h", "timeout: 1:30", "timeout:", "timeout: [1]", "timeout: 86401",
        "retries: -1", "rate: 5", "rate: 0/s",
        "max_file: 200", "max_file: 2 gigs", "max_file: 0MB", "on_unknown: resubmitt", "strict_size: yes",
        "strict_size: 1", "strict_size: 'true'", "trusted_hosts: a.example.com", "trusted_hosts: ['https://a.b/c']",
        "trusted_hosts: [10.0.0.1]", "trusted_hosts: [localhost]",
        "trusted_hosts: [null]", "trusted_hosts: [true]", "name: a/b", "name: ' '", "output: s3://a/b",
        'output: "a\\tb"', "output: ~", "x-a: 1\nname: true",
    ]),
    f"model: a b\njobs: [{{model: {KLEIN}, prompt: a}}]\n",
    f"model: {KLEIN_9B}\njobs: [{{prompt: a, steps: 101}}]\n",
    f"model: {KLEIN_9B}\ndefaults: {{steps: 2.5}}\njobs: [{{prompt: a}}]\n",
    f"{MODEL}jobs: [{{prompt: a}}, {{model: {KLEIN_9B}, prompt: a, size: 512x256}}]\n",
    f"{MODEL}defaults: {{width: 256}}\njobs: [{{prompt: a}}, {{model: {KLEIN_9B}, prompt: a}}]\n",
    f"{MODEL}defaults: {{steps: 4}}\njobs: [{{prompt: a}}, {{model: {KLEIN_9B}, prompt: a}}]\n",
    *map(with_job, [
        "{prompt: a, width: '1024'}", "{prompt: a, width: 1024px}", "{prompt: a, width: 1_024}",
        "{prompt: a, width: 1:30}", "{prompt: a, width: no}", "{prompt: a, width: 2026-11-22}",
        "{prompt: a, width: [64]}", "{prompt: a, width: ~}", "{prompt: a, width: 99999999999999999999}",
        "{prompt: a, width: 4096}", "{prompt: a, width: 63.0}", "{prompt: a, size: 64x4096}",
        "{prompt: a, size: 64*64}", "{prompt: a, size: [64, 64]}", "{prompt: a, sizes: 64x64}",
        "{prompt: a, sizes: []}", "{prompt: a, sizes: [64x64, 64x64]}", "{prompt: a, size: 64x64, width: 64}",
        "{prompt: a, sizes: [64x64], inputs: {height: 64}}", "{prompt: a, size: 64x64, sizes: [64x64]}",
        "{prompt: a, inputs: {prompt: b}}", "{prompt: a, inputs: [b]}", "{width: 64}", "{prompt: '  '}", "{prompt: }",
        "{prompt: false}", "{prompt: [a]}", "{promt: a}", "{prompt: a, zzz: 1}", "{prompt: a, concurrency: 1}",
        "{prompt: a, id: a/b}", "{prompt: a, id: ''}", "{prompt: a, id: null}", "{prompt: a, id: '{{ sku }}'}",
        "{prompt: a, file: ../a}", "{prompt: a, file: .png}", "{prompt: a, file: con.png}",
        "{prompt: a, file: '../a.{{ ext }}'}", "{prompt: a, repeat: 0}", "{prompt: a, repeat: '2'}",
        "{prompt: a, from: a.xls}", "{prompt: a, from: '*.csv'}", "{prompt: a, from: 'photos/*'}",
        "{prompt: a, where: '{{ 1 }}'}", "{prompt: a, encoding: cp1252}", "{prompt: a, at: x}",
        "{prompt: a, from: rows.csv, where: name}", "{prompt: a, from: rows.csv, where: true}",
        "{prompt: a, from: rows.csv, delimiter: ':'}", "{prompt: a, from: rows.csv, delimiter: ' ;'}",
        "{prompt: a, from: rows.csv, encoding: ascii}", "{prompt: a, from: rows.csv, encoding: 1252}",
        "{prompt: a, from: rows.csv, sheet: a}", "{prompt: a, from: rows.xlsx, at: a}",
        "{prompt: a, from: rows.json, sheet: a}", "{prompt: a, from: rows.jsonl, delimiter: ';'}",
        "{prompt: a, from: rows.xlsx, encoding: utf-8}", "{prompt: a, from: 'photos/*.jpg', encoding: utf-8}",
        "{prompt: a, from: rows.json, at: ''}", "{prompt: a, from: rows.xlsx, sheet: ' '}", "{prompt: a, from: 'https://a.b/c.csv'}",
        "{prompt: a, from: [a.csv]}", "{prompt: a, matrix: {}}", "{prompt: a, matrix: {exclude: [{a: b}]}}",
        "{prompt: a, matrix: {view: front}}", "{prompt: a, matrix: {view: []}}", "{prompt: a, matrix: {id: [a]}}",
        "{prompt: a, matrix: {copy: [a]}}", "{prompt: a, matrix: {a b: [a]}}", "{prompt: a, matrix: {view: [~]}}",
        "{prompt: a, matrix: {view: ['{{ x }}']}}", "{prompt: a, matrix: {size: [64x63]}}",
        "{prompt: a, matrix: {size: [64x64], width: [64]}}", "{prompt: a, size: 64x64, matrix: {size: [64x64]}}",
        "{prompt: a, width: 64, matrix: {size: [64x64]}}", "{prompt: a, inputs: {width: 64}, matrix: {width: [64]}}",
        "{prompt: a, sizes: [64x64], matrix: {height: [64]}}", "{prompt: a, matrix: {prompt: [b]}}",
        "{prompt: '{{ view }}', id: a, matrix: {view: [front]}}", "{id: a, matrix: {prompt: [a, b]}}",
        "{file: 'a.{{ ext }}', matrix: {prompt: [a, b]}}", "{prompt: a, matrix: {width: [64], exclude: []}}",
        "{prompt: a, matrix: {width: [64], exclude: [{}]}}", "{prompt: a, repeat: 2, width: 'a {{ copy }}'}",
    ]),
]  # fmt: skip


@pytest.mark.parametrize("manifest", BROKEN)
def test_what_a_schema_can_tell_is_underlined(manifest: str) -> None:
    """Wrong nesting, keys, types, ranges, notations and conflicts are seen while they are typed."""
    assert is_refused(manifest)
    assert is_underlined(manifest)


def mirrored(manifest: str) -> str:
    """With width for height, and height for width."""
    return manifest.replace("width", "\0").replace("height", "width").replace("\0", "height")


def named_by_the_jobs(manifest: str) -> str:
    """With the model at the jobs of a list of mappings, not at the top."""
    bare = manifest.replace(MODEL, "", 1)
    if "model: " in bare:
        return manifest
    return bare.replace("- {", f"- {{model: {KLEIN}, ").replace("jobs: [{", f"jobs: [{{model: {KLEIN}, ")


def under_inputs(manifest: str) -> str:
    """With the prompt of a job under `inputs`."""
    moved = re.sub(r"- \{prompt: ('[^']*'|[^][,{}]+)", r"- {inputs: {prompt: \1}", manifest)
    return manifest if moved.count("inputs") > 1 else moved


@pytest.mark.parametrize("change", [mirrored, named_by_the_jobs, under_inputs])
def test_the_same_is_seen_wherever_it_is_written(change: Callable[[str], str]) -> None:
    """Either side, the model at the top or at each job, inputs with a key of their own: the rules are the same."""
    told = [manifest for manifest in map(change, BROKEN) if is_refused(manifest) != is_underlined(manifest)]
    fine = [manifest for manifest in map(change, FINE) if is_refused(manifest) != is_underlined(manifest)]
    assert (told, fine) == ([], [])


LEFT_TO_THE_LOADER = {
    with_job("{prompt: a, prompt: b}"): "a schema sees the last of two equal keys; editors tell it by themselves",
    with_job("{prompt: a, width: 0x400}"): "a number has no spelling any more",
    with_job("{prompt: a, width: +64}"): "a number has no spelling any more",
    with_job("{prompt: a, width: 0064}"): "a number has no spelling any more",
    with_job("{prompt: a, sizes: [64x64, 64 x 64]}"): "two texts, one size",
    with_job("{prompt: '{{ sizes }} mug', sizes: [64x64]}"): "names in templates",
    with_job("{prompt: '{{ x', repeat: 2}"): "the grammar of templates",
    with_job("{prompt: a, matrix: {view: [front, side]}}"): "what names a key of the matrix",
    with_job("{prompt: a, matrix: {width: [64], exclude: [{wide: a}]}}"): "keys of a mapping against another's",
    with_job("{prompt: a, matrix: {width: [64], exclude: [{width: 64}]}}"): "what is left of a matrix",
    with_job("{prompt: a, from: gone.csv}"): "files of this machine",
    with_job(f"{{prompt: a, id: {'é' * 150}}}"): "bytes of a name",
    with_job("{prompt: a, id: x}\n- {prompt: b, id: X}"): "ids against each other",
    with_job("{prompt: a, file: x}\n- {prompt: b, file: x.png}"): "files against each other",
    with_job("{prompt: a}\n- {prompt: a}"): "jobs against each other",
    with_job("{prompt: a, matrix: {width: [64, 65], height: [64, 65]}, repeat: 9999999}"): "a product",
    with_setting("timeout: 23h90m"): "a sum",
    with_setting("max_file: 0.0001kB"): "a rounding",
    with_setting("max_inline: 7MiB"): "units of bytes against a limit",
    with_setting("halt: 10.0"): "a number has no spelling any more",
    with_setting("output: ~nobody-has-this-name/x"): "homes of this machine",
    "model: a/b\njobs: [{seed: 3, inputs: {seed: 4}}]\n": "equal keys of two mappings, of an unknown model",
}


@pytest.mark.parametrize("manifest", LEFT_TO_THE_LOADER)
def test_what_no_schema_can_tell_is_left_to_the_loader(manifest: str) -> None:
    """The rules that only ``runner`` can check, each for its reason; should one become tellable, this says so."""
    assert is_refused(manifest)
    assert not is_underlined(manifest), LEFT_TO_THE_LOADER[manifest]


UNDERLINED_IN_VAIN = {
    with_job("{prompt: a, id: True}"): "text to the loader, a boolean to YAML 1.2; quotes please both",
    with_job("{prompt: Null}"): "text to the loader, nothing to YAML 1.2; quotes please both",
    with_job("{prompt: '{{ a }}', matrix: {a: [1, 1.0]}}"): "two texts to the loader, one number to YAML",
    with_job("{prompt: a, matrix: {width: [64, 1], exclude: [{width: 1}]}}"): "out of range, but excluded",
}


@pytest.mark.parametrize("manifest", UNDERLINED_IN_VAIN)
def test_what_only_the_editor_minds(manifest: str) -> None:
    """All that an editor underlines though it runs; each looks like a slip, and has another spelling."""
    assert not is_refused(manifest)
    assert is_underlined(manifest), UNDERLINED_IN_VAIN[manifest]


FINE = [
    *map(with_job, [
        "{prompt: no, id: 012, file: 2026-11-22}", "{prompt: 1e3, id: 1:30}", "{prompt: .5, id: 0x1F}",
        "{prompt: a, width: 1024.0}", "{prompt: '{{ x }}', id: off}", "{prompt: a, file: 'b/{{ job.id }}.{{ ext }}'}",
        "{prompt: a, repeat: 2, width: '{{ 64 }}'}", "{prompt: a, size: '{{ 64 }}x64', repeat: 2}",
        "{matrix: {prompt: [a, b]}}", "{inputs: {prompt: a}}",
        "{model: a/b, steps: 4, guidance: 1.5, flags: [a, {b: ~}]}",
        "{prompt: '{{ n }}', id: '{{ n }}', matrix: {n: [no, 012, 1e3]}}",
        "{prompt: a, matrix: {size: [64x64, 65x65], exclude: [{size: 64x64}]}, id: x}",
        "{prompt: a, matrix: {width: [64, 65], exclude: [{width: 1}]}}",
    ]),
    *map(with_setting, [
        "timeout: 1h90m", "timeout: '90'", "budget: $25/day", "halt: 0.5%", "max_file: 1B", "max_file: 1000000",
        "rate: 1 / hour", "trusted_hosts: ['*.example.com', 8.8.8.8, münchen.de]", "x-mine: {any: [thing]}",
        "name: 012",
        "defaults: {size: 64x64}", "defaults: {prompt: b}", "retries: 0",
    ]),
    f"{MODEL}defaults: {{prompt: a}}\njobs: [{{id: x}}]\n",
    f"{MODEL}defaults: {{width: 4096}}\njobs: [{{prompt: a, size: 64x64}}]\n",
    f"{MODEL}defaults: {{seed: 1}}\njobs: [{{model: a/b}}]\n",
    f"model: {KLEIN_9B}\ndefaults: {{steps: 4}}\njobs: [{{prompt: a, steps: 100, size: 512x1536}}]\n",
    f"{MODEL}jobs: [{{prompt: a, width: 64}}, {{model: {KLEIN_9B}, prompt: b, matrix: {{steps: [1, 2]}}}}]\n",
    f"jobs: [{{model: {KLEIN}, prompt: a}}, {{model: a/b, width: wide}}]\n",
]  # fmt: skip


@pytest.mark.parametrize("manifest", FINE)
def test_what_runs_is_not_underlined(manifest: str) -> None:
    """Plain scalars that YAML takes for numbers, other notations, other models: no false alarm."""
    assert not is_refused(manifest)
    assert not is_underlined(manifest)


@given(st.integers(0, 30_000), st.integers(0, 30_000), st.integers(0, 40_000))
def test_a_range_as_a_pattern_holds_the_numbers_of_the_range(low: int, high: int, number: int) -> None:
    """``between`` is right at its ends and between them."""
    low, high = sorted((low, high))
    holds = jsonschema_rs.Draft7Validator({"pattern": f"^{patterns.between(low, high)}$"}).is_valid
    for found in (number, low, high, high + 1, low - 1):
        assert holds(str(found)) == (low <= found <= high)


def reads(key: str) -> Any:
    return lambda text: _READERS[key][1](Scalar(1, 1, text, Style.QUOTED))


def checks(fault: str | None) -> None:
    if fault:
        raise ValueError(fault)


def check_file(text: str) -> None:
    stem = without_ext(text)
    if not is_template(stem):
        checks(check_file_name(without_extension(stem)))


NOTATIONS: dict[str, tuple[str, Any, list[str]]] = {
    "rate": (patterns.RATE, reads("rate"), ["0", "1", "9", ".", "/", "s", "min", "hour", " "]),
    "budget": (patterns.BUDGET, reads("budget"), ["0", "1", "9", ".", "/", "day", "$", " "]),
    "halt": (patterns.HALT, reads("halt"), ["0", "1", "9", "100", ".", "%", " "]),
    "max_file": (patterns.MAX_FILE, reads("max_file"), ["0", "9", "1000000", ".", "MB", "GiB", "B", " "]),
    "size": (patterns.size(patterns.SIDE, patterns.SIDE), units.size, ["0", "1", "64", "x", "×", "X", " ", "64x64"]),
    "host": (patterns.HOST, units.host, ["a", "B.c", ".", "*.", "10", "8.8.8.8", "0x", "-", "_", "é", "local", ":"]),
    "id": (patterns.ID, read_id, ["a", ".", " ", "con", "NUL", "results.jsonl", ".runner", ".altered", "/", "\\", "é"]),
    "file": (patterns.FILE, check_file, ["a", ".", " ", "con", "/", ".PNG", ".jpg", "{{ x }}", ".{{ ext }}", ".altered",
                                         "results.jsonl", "C:", "{", ".replaced"]),
}  # fmt: skip


def is_read(read: Any, text: str) -> bool:
    try:
        read(text)
    except (Invalid, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", NOTATIONS)
@given(data=st.data())
def test_a_pattern_takes_what_its_reader_takes(name: str, data: st.DataObject) -> None:
    """Notations and names look to the editor as they do to the loader."""
    pattern, read, parts = NOTATIONS[name]
    text = "".join(data.draw(st.lists(st.sampled_from(parts), max_size=5)))
    text = text.strip() if name in ("size", "host") else text
    assert jsonschema_rs.Draft7Validator({"pattern": pattern}).is_valid(text) == is_read(read, text)


@given(st.lists(st.sampled_from(["0", "1", "9", "24", "86400", ".", "h", "m", "s"]), max_size=4).map("".join))
def test_a_timeout_looks_the_same_but_for_sums(text: str) -> None:
    """Only that several units together pass a day is not seen."""
    seen = jsonschema_rs.Draft7Validator({"pattern": patterns.TIMEOUT}).is_valid(text)
    adds_up = sum(text.count(unit) for unit in "hms") > 1
    assert seen == is_read(reads("timeout"), text) or (seen and adds_up)
