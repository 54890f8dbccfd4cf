"""A good manifest → settings and jobs: what is merged, filled in, warned of, and spooled."""

from __future__ import annotations

import gc
import hashlib
import json
import weakref
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import ManifestError
from runner.core.models import Job
from runner.manifest import (
    Manifest,
    OnUnknown,
    Settings,
    bundled_schema,
    fingerprint,
    load,
    salvage_settings,
)

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"


def manifest_of(text: str) -> Manifest:
    return load("-", text=dedent(text).encode())


def jobs_of(text: str) -> list[Job]:
    manifest = manifest_of(f"model: {KLEIN}\n" + dedent(text))
    jobs = list(manifest.jobs)
    manifest.jobs.close()
    return jobs


def inputs_of(text: str) -> list[dict[str, object]]:
    return [job.inputs for job in jobs_of(text)]


def test_every_setting_is_read(tmp_path: Path) -> None:
    """All keys of the top, each in its notation; relative paths start at the manifest's folder."""
    path = tmp_path / "spring.yaml"
    path.write_text(
        f"""\
name: spring-catalogue
model: {KLEIN}
concurrency: 16
rate: 120/min
timeout: 10m
retries: 2
on_unknown: resubmit
output: pictures/../spring
strict_size: true
max_file: 200MB
max_pixels: 200000000
trusted_hosts: [CDN.example.com, "*.example.org"]
x-anchors: {{a: &a 1024}}
defaults: {{width: *a}}
jobs: [{{prompt: a}}]
"""
    )
    manifest = load(path)
    assert manifest.settings == Settings(
        name="spring-catalogue",
        named=True,
        concurrency=16,
        rate_per_second=2.0,
        timeout_seconds=600,
        retries=2,
        on_unknown=OnUnknown.RESUBMIT,
        strict_size=True,
        max_file_bytes=200_000_000,
        max_pixels=200_000_000,
        trusted_hosts=("cdn.example.com", "*.example.org"),
        output=tmp_path.resolve() / "spring",
    )
    assert (manifest.path, manifest.source, manifest.warnings) == (path, str(path), ())
    manifest.jobs.close()


def test_defaults_of_settings(tmp_path: Path) -> None:
    """Without settings: the file's stem is the name, and the rest is as documented."""
    path = tmp_path / "spring.v2.yaml"
    path.write_text(f"model: {KLEIN}\njobs: [{{prompt: a}}]\n")
    manifest = load(str(path))
    assert manifest.settings == Settings(name="spring.v2")
    manifest.jobs.close()


def test_standard_input_has_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest from standard input is called ``-``, and its paths start at the current folder."""
    monkeypatch.chdir(tmp_path)
    manifest = manifest_of(f"model: {KLEIN}\noutput: here\njobs: [{{prompt: a}}]\n")
    assert (manifest.path, manifest.source, manifest.settings.name) == (None, "-", "stdin")
    assert manifest.settings.output == tmp_path.resolve() / "here"
    manifest.jobs.close()


def test_a_source_is_named_as_the_user_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages use the path that the user gave, relative or not."""
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("jobs: 3\n")
    with pytest.raises(ManifestError, match=r"\Aa\.yaml:1:7: `jobs` takes a list"):
        load("a.yaml")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("missing.yaml", "the file does not exist"),
        (".", "this is a folder"),
        ("a\0b", "this file cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path, name: str, what: str) -> None:
    """No manifest at all is told like any other fault."""
    with pytest.raises(ManifestError) as caught:
        load(tmp_path / name)
    (problem,) = caught.value.problems
    assert problem.what.startswith(what)
    assert problem.place.line == 0


def test_inputs_are_filled_in_from_defaults_and_schema() -> None:
    """The entry wins over ``defaults``, which win over the schema's defaults; a size is width and height."""
    assert inputs_of("""\
        defaults: {size: 512x256}
        jobs:
          - prompt: a
          - {prompt: b, width: 64}
          - {prompt: c, size: 1024 x 768}
          - {prompt: d, sizes: [64×64, 128x64]}
          - {inputs: {prompt: e, height: 100.0}}
        """) == [
        {"prompt": "a", "width": 512, "height": 256},
        {"prompt": "b", "width": 64, "height": 256},
        {"prompt": "c", "width": 1024, "height": 768},
        {"prompt": "d", "width": 64, "height": 64},
        {"prompt": "d", "width": 128, "height": 64},
        {"prompt": "e", "width": 512, "height": 100},
    ]  # fmt: skip
    assert inputs_of("jobs: [{prompt: a}]") == [{"prompt": "a", "width": 1024, "height": 1024}]


def test_prompts_are_sent_as_written() -> None:
    """Spaces, braces, blocks, and words that YAML would take for something else stay text."""
    assert [inputs["prompt"] for inputs in inputs_of("""\
        jobs:
          - prompt: no
          - prompt: 012
          - prompt: "  spaced  "
          - prompt: '{"scene": "{{ mug }}"}'
          - prompt: |
              one
              two
          - prompt: >
              one
              two
        """)] == ["no", "012", "  spaced  ", '{"scene": "{{ mug }}"}', "one\ntwo", "one two"]  # fmt: skip


def test_a_job_knows_its_place_and_its_fingerprint() -> None:
    """A job carries the line and column of its entry, and the fingerprint of what is sent."""
    (job,) = jobs_of("jobs:\n  - id: a\n    prompt: b\n    file: c/d.{{ ext }}\n")
    assert (job.id, job.file, job.line, job.column) == ("a", "c/d", 3, 5)
    assert job.fingerprint == fingerprint(KLEIN, {"height": 1024, "width": 1024, "prompt": "b"})


def test_a_model_without_a_schema_takes_jsons_spelling_and_one_warning() -> None:
    """Inputs of an unknown model keep JSON's types, nothing is filled in, and it is said once per model."""
    manifest = manifest_of("""\
        model: some/model
        jobs:
          - {prompt: 12, steps: 4, guidance: 3.5, seed: "7", on: true, off: no, size: 64x32,
             tags: [a, 1], more: {b: null}}
          - {prompt: b, size: 64x32, inputs: {size: large, model: x}}
          - {model: other/model, text: hello}
        """)
    first, second, third = manifest.jobs
    assert first.inputs == {"prompt": "12", "steps": 4, "guidance": 3.5, "seed": "7", "on": True, "off": "no",
                            "tags": ["a", 1], "more": {"b": None}, "width": 64, "height": 32}  # fmt: skip
    assert second.inputs == {"prompt": "b", "size": "large", "model": "x", "width": 64, "height": 32}
    assert third.id.startswith("hello-")
    assert [str(warning) for warning in manifest.warnings] == [
        "-:1:8: the inputs of `some/model` are not checked here; the API's answer decides",
        "-:6:13: the inputs of `other/model` are not checked here; the API's answer decides",
    ]
    manifest.jobs.close()


def test_a_misspelt_model_or_key_is_suspected() -> None:
    """Where nothing can be checked, likeness is worth a warning."""
    manifest = manifest_of(f"model: {KLEIN}s\njobs: [{{prompt: a, szie: 64x64}}]\n")
    advice = [warning.advice for warning in manifest.warnings]
    assert advice == [f"did you mean `{KLEIN}`?", "did you mean `size`?"]
    manifest.jobs.close()


def test_a_job_without_any_text_is_named_after_its_model() -> None:
    """An id can be made for every job."""
    manifest = manifest_of("jobs: [{model: vendor/fox/2/upscale, scale: 2}]")
    (job,) = manifest.jobs
    assert job.id == f"2-upscale-{job.fingerprint[7:17]}"
    manifest.jobs.close()


def test_a_comment_that_cuts_a_text_is_a_warning_with_its_place() -> None:
    """What YAML drops from a prompt is told before it is paid for; what looks like a comment is not."""
    manifest = manifest_of(f"""\
        model: {KLEIN}
        jobs:
          - prompt: mug #5 on wood
          - prompt: tote  # the large one
            width: 1024 #px
          - {{model: a/b, tags: [x]}}
        """)
    assert [str(warning) for warning in manifest.warnings][:1] == [
        (
            "-:3:13: `prompt` ends before ` #`, which starts a comment in YAML: it is read as `mug`"
            " (quote the text to keep the rest, or put two spaces before `# ` for a comment)"
        )
    ]
    assert len(manifest.warnings) == 2
    manifest.jobs.close()


def test_a_comment_that_cuts_a_template_is_told_too() -> None:
    """Templates are texts as well: ids, files and prompts that a comment cuts are warned of."""
    manifest = manifest_of(f"""\
        model: {KLEIN}
        jobs:
          - prompt: mug {{{{ copy }}}} #5
            id: m{{{{ copy }}}} #1
            file: f{{{{ copy }}}} #2
            repeat: 2
        """)
    assert [warning.what.partition(" ends")[0] for warning in manifest.warnings] == ["`prompt`", "`id`", "`file`"]
    manifest.jobs.close()


def test_a_json_file_is_a_manifest() -> None:
    """JSON with surrogate pairs is read like YAML."""
    text = json.dumps({"model": KLEIN, "jobs": [{"prompt": "a 😀", "width": 64}]})
    assert "\\ud83d" in text
    manifest = load("-", text=text.encode())
    assert [job.inputs for job in manifest.jobs] == [{"prompt": "a 😀", "width": 64, "height": 1024}]
    manifest.jobs.close()


def test_a_fingerprint_is_a_hash_of_canonical_json() -> None:
    """Anyone can compute it: sorted keys, no blanks, UTF-8, whole numbers without a fraction."""
    canonical = '{"inputs":{"height":64,"prompt":"é","width":1024},"model":"a/b"}'
    expected = f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
    assert fingerprint("a/b", {"width": 1024.0, "prompt": "é", "height": 64}) == expected


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_a_fingerprint_does_not_depend_on_order_or_spelling(inputs: dict[str, float]) -> None:
    """The same inputs in another order, or through JSON, have the same fingerprint."""
    turned = dict(reversed(inputs.items()))
    assert fingerprint("m", turned) == fingerprint("m", json.loads(json.dumps(inputs))) == fingerprint("m", inputs)


def test_the_schema_of_klein_comes_with_the_package() -> None:
    """The bundled schema says what the model's page says; other models have none."""
    schema = bundled_schema(KLEIN)
    assert schema is not None
    assert schema["required"] == ["prompt"]
    assert schema["properties"]["width"] == {
        "type": "integer",
        "minimum": 64,
        "maximum": 2048,
        "default": 1024,
    }
    assert bundled_schema("a/b") is None
    assert bundled_schema("../../secrets") is None
    assert bundled_schema("a\0b") is None


def test_a_spool_is_read_again_and_by_several() -> None:
    """Readers do not disturb each other, and reading twice gives the same."""
    count = 3000
    rows = "".join(f"  - {{id: job-{n}, prompt: {'long ' * 40}{n}}}\n" for n in range(count))
    manifest = manifest_of(f"model: {KLEIN}\njobs:\n{rows}")
    spool = manifest.jobs
    expected = [f"job-{n}" for n in range(count)]
    assert len(spool) == count
    assert [(first.id, second.id) for first, second in zip(spool, spool, strict=True)] == [(i, i) for i in expected]
    reader = iter(spool)
    assert next(reader).id == "job-0"
    assert "job-77" in spool
    assert [job.id for job in reader] == expected[1:]
    spool.close()
    spool.close()


def test_a_spool_that_is_left_in_a_cycle_frees_its_file_without_a_word() -> None:
    """An error keeps what it passed through; the collector ends such a cycle in any order, the file first, too."""
    first, second = (manifest_of(f"model: {KLEIN}\njobs: [{{prompt: a}}]").jobs for _ in range(2))
    first._file, second._file = second._file, first._file  # the older file belongs to the younger spool
    files = [weakref.ref(first._file), weakref.ref(second._file)]
    first.other, second.other = second, first  # type: ignore[attr-defined]  # the cycle
    del first, second
    gc.collect()
    assert [file() for file in files] == [None, None]


def test_membership_is_exact() -> None:
    """An id that differs in case is not an id of the manifest, though no second job could have it."""
    manifest = manifest_of(f"model: {KLEIN}\njobs: [{{id: Mug, prompt: a}}]\n")
    assert "Mug" in manifest.jobs
    assert "mug" not in manifest.jobs
    assert "tote" not in manifest.jobs
    assert 3 not in manifest.jobs
    manifest.jobs.close()


def test_loading_leaves_the_collector_as_it_was() -> None:
    """The garbage collector is paused for the build only, also when it fails."""
    assert gc.isenabled()
    with pytest.raises(ManifestError):
        manifest_of("jobs: 3")
    assert gc.isenabled()
    gc.disable()
    try:
        manifest_of(f"model: {KLEIN}\njobs: [{{prompt: a}}]").jobs.close()
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("text", "name", "output"),
    [
        ("name: spring\noutput: ../x\njobs: 3\n", "spring", "x"),
        ("name: spring\noutput: ../x\njobs: [\n", "spring", "x"),
        ("name: a/b\noutput: [1]\n", "night", None),
        ("- a\n", "night", None),
        ("", "night", None),
        ("name: caf\udcff\n", "night", None),
    ],
)
def test_what_can_be_saved_of_a_broken_manifest(tmp_path: Path, text: str, name: str, output: str | None) -> None:
    """Results that are owed are found even if the manifest has faults, by the name and output it says."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "night.yaml").write_bytes(text.encode(errors="surrogateescape"))
    expected = None if output is None else tmp_path.resolve() / output
    assert salvage_settings(folder / "night.yaml") == (name, expected)


def test_saving_never_raises(tmp_path: Path) -> None:
    """A file that is not there has a stem all the same."""
    assert salvage_settings(tmp_path / "gone.yaml") == ("gone", None)
    assert salvage_settings(str(tmp_path)) == (tmp_path.name, None)
