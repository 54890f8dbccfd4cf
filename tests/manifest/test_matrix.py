"""``matrix``, ``sizes`` and ``repeat``: which jobs come of one entry, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import ManifestError
from runner.core.models import Job
from runner.manifest import load

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
JOBS = Path(__file__).parents[2] / "jobs"


def jobs_of(*entries: str) -> list[Job]:
    text = f"model: {KLEIN}\njobs:\n" + "".join(f"- {entry}\n" for entry in entries)
    manifest = load("-", text=text.encode())
    jobs = list(manifest.jobs)
    manifest.jobs.close()
    return jobs


def names_of(*entries: str) -> list[tuple[str, str]]:
    return [(job.id, job.file) for job in jobs_of(*entries)]


def test_every_combination_is_a_job_in_the_order_of_the_manifest() -> None:
    """The last key turns fastest; values are text as written, and sizes complete what names none."""
    jobs = jobs_of("{id: 'm-{{ v }}', prompt: '{{ v }} mug', matrix: {v: [no, 012], size: [64x64, 64 x 128]}}")
    assert [(job.id, job.inputs) for job in jobs] == [
        ("m-no-64x64", {"prompt": "no mug", "width": 64, "height": 64}),
        ("m-no-64x128", {"prompt": "no mug", "width": 64, "height": 128}),
        ("m-012-64x64", {"prompt": "012 mug", "width": 64, "height": 64}),
        ("m-012-64x128", {"prompt": "012 mug", "width": 64, "height": 128}),
    ]


def test_a_key_that_is_an_input_sets_it() -> None:
    """Inputs in a matrix are typed like inputs, may be templates, and can be used as names where they are values."""
    jobs = jobs_of("{id: 'm-{{ v }}', matrix: {v: [a], prompt: ['{{ v }} mug'], width: [64, 128.0]}}".replace(
        "m-{{ v }}", "m-{{ v }}-{{ width }}"))  # fmt: skip
    assert [(job.id, job.inputs["prompt"], job.inputs["width"]) for job in jobs] == [
        ("m-a-64", "a mug", 64),
        ("m-a-128", "a mug", 128),
    ]


def test_a_name_of_a_template_is_no_input_of_an_unknown_model() -> None:
    """Without a schema, a key that a template uses is for templates; any other is sent."""
    jobs = jobs_of("{model: a/b, id: '{{ view }}-{{ seed }}', prompt: x, matrix: {view: [f]}, repeat: 1}".replace(
        "-{{ seed }}", ""))  # fmt: skip
    assert [job.inputs for job in jobs] == [{"prompt": "x"}]
    jobs = jobs_of("{model: a/b, prompt: x, matrix: {seed: [1, 2]}}")
    assert [job.inputs for job in jobs] == [{"prompt": "x", "seed": 1}, {"prompt": "x", "seed": 2}]


def test_excluded_combinations_are_no_jobs() -> None:
    """A partial match leaves out all that it matches; one that matches nothing is told."""
    text = (
        f"model: {KLEIN}\njobs:\n- prompt: '{{{{ v }}}}'\n  matrix:\n    v: [a, b]\n    size: [64x64, 96x96, 128x128]\n"
        "    exclude:\n    - {v: b, size: 64 x 64}\n    - {size: 96x96}\n    - {v: c}\n"
    )
    manifest = load("-", text=text.encode())
    assert [(job.inputs["prompt"], job.inputs["width"]) for job in manifest.jobs] == [("a", 64), ("a", 128), ("b", 128)]
    assert [str(warning) for warning in manifest.warnings] == [
        "-:10:7: this excludes nothing: the matrix has no such combination (correct it or delete it)"
    ]
    manifest.jobs.close()


def test_copies_are_numbered_from_the_second_on() -> None:
    """``repeat`` adds ``-2``, ``-3`` to ids and files that do not name ``copy``; the inputs stay the same."""
    assert names_of("{id: m, prompt: a, repeat: 3}") == [("m", "m"), ("m-2", "m-2"), ("m-3", "m-3")]
    assert names_of("{id: 'm{{ copy }}', prompt: a, repeat: 2, file: f.png}") == [("m1", "f"), ("m2", "f-2")]
    assert names_of("{id: m, prompt: a, repeat: 2, file: '{{ job.id }}/x'}") == [("m", "m/x"), ("m-2", "m-2/x")]
    first, second = jobs_of("{prompt: a, repeat: 2}")
    assert second.id == f"{first.id}-2"
    assert first.fingerprint == second.fingerprint


def test_a_third_copy_adds_exactly_one_id() -> None:
    """Raising ``repeat`` later keeps every id there was and adds one for each job."""
    entry = "{%s prompt: '{{ v }}', repeat: %d, matrix: {v: [a, b], size: [64x64, 128x128]}}"
    for own in ("", "id: 'x-{{ v }}',", "id: 'x-{{ v }}-{{ width }}-{{ copy }}',"):
        two, three = (names_of(entry % (own, copies)) for copies in (2, 3))
        assert set(two) < set(three)
        assert len(three) == len(two) + 4


def test_another_size_keeps_the_ids_there_were() -> None:
    """Adding a size later renames nothing, also if there was one only."""
    entry = "{%s prompt: a, sizes: [%s]}"
    for own in ("", "id: m,"):
        assert set(names_of(entry % (own, "64x64"))) < set(names_of(entry % (own, "64x64, 64x96")))


@pytest.mark.parametrize(
    ("id_", "ids"),
    [
        ("m-{{ size }}", ["m-64x64", "m-96x64"]),
        ("m-{{ width }}x{{ height }}", ["m-64x64", "m-96x64"]),
        ("m-{{ job.width }}", ["m-64", "m-96"]),
        ("m-{{ height }}", ["m-64-64x64", "m-64-96x64"]),
        ("m", ["m-64x64", "m-96x64"]),
    ],
)
def test_sizes_complete_what_does_not_tell_them_apart(id_: str, ids: list[str]) -> None:
    """A template that names the size, or as much of it as differs, is left as it is."""
    for sizes in ("sizes: [64x64, 96x64]", "matrix: {size: [64x64, 96x64]}", "height: 64, matrix: {width: [64, 96]}"):
        assert [name for name, _ in names_of(f"{{id: '{id_}', prompt: a, {sizes}}}")] == ids


def test_the_example_of_the_design(tmp_path: Path) -> None:
    """The entry that the documentation shows works as people would write it."""
    (tmp_path / "products.csv").write_text("sku,name\nA1,Mug\n")
    (tmp_path / "m.yaml").write_text(f"""\
model: {KLEIN}
jobs:
  - from: products.csv
    matrix: {{view: [front, side], size: [1024x1024, 512x512]}}
    repeat: 2
    id: "{{{{ sku }}}}-{{{{ view }}}}"
    prompt: "{{{{ name }}}}, {{{{ view }}}} view, studio light"
    file: "{{{{ sku }}}}/{{{{ view }}}}-{{{{ width }}}}x{{{{ height }}}}.{{{{ ext }}}}"
""")
    manifest = load(tmp_path / "m.yaml")
    assert [(job.id, job.file) for job in manifest.jobs][:4] == [
        ("A1-front-1024x1024", "A1/front-1024x1024"),
        ("A1-front-1024x1024-2", "A1/front-1024x1024-2"),
        ("A1-front-512x512", "A1/front-512x512"),
        ("A1-front-512x512-2", "A1/front-512x512-2"),
    ]
    assert len(manifest.jobs) == 8
    manifest.jobs.close()


def test_two_templates_of_one_input_are_two_values() -> None:
    """Templates under a key that is an input are told apart, and excluded, by what is written there."""
    prompts = "prompt: ['{{ v }} mug', '{{ v }} cup', '{{ v }} jug']"
    jobs = jobs_of(f"{{matrix: {{v: [red, blue], {prompts}, exclude: [{{prompt: '{{{{ v }}}} cup', v: red}}]}}}}")
    found = [job.inputs["prompt"] for job in jobs]
    assert found == ["red mug", "red jug", "blue mug", "blue cup", "blue jug"]


def test_one_template_given_twice_is_told_as_it_is_written() -> None:
    """A template of the matrix that stands there twice would buy the same twice."""
    with pytest.raises(ManifestError, match=r"`\{\{ v \}\} mug` in `prompt` is given twice"):
        jobs_of("{matrix: {v: [red, blue], prompt: ['{{ v }} mug', '{{ v }} mug']}}")


def test_a_list_is_a_value_of_a_model_that_nobody_describes() -> None:
    """Whatever an unknown model calls width: a list of a matrix is sent as it is."""
    jobs = jobs_of("{model: a/b, prompt: mug, matrix: {width: [[64, 128], 64]}}")
    assert [job.inputs["width"] for job in jobs] == [[64, 128], 64]


VALUES = st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=1, max_size=4, unique=True)


@given(st.dictionaries(st.sampled_from(["va", "vb", "vc"]), VALUES, min_size=1), st.integers(1, 3))
def test_ids_tell_every_job_apart(axes: dict[str, list[str]], repeat: int) -> None:
    """Whatever the matrix, there are as many jobs as combinations and copies, each with an id and file of its own."""
    quoted = {name: [f"'{value}'" for value in values] for name, values in axes.items()}
    matrix = ", ".join(f"{name}: [{', '.join(values)}]" for name, values in quoted.items())
    named = "_".join(f"{{{{ {name} }}}}" for name in axes)
    expected = repeat
    for values in axes.values():
        expected *= len(values)
    names = names_of(f"{{id: '{named}', prompt: '{named}', matrix: {{{matrix}}}, repeat: {repeat}, file: 'f/{named}'}}")
    assert len(set(names)) == len({file for _, file in names}) == expected


def test_the_catalogue_loads() -> None:
    """The example of a whole shop: 40 products, 160 pictures, a folder for each product, nothing to warn of."""
    manifest = load(JOBS / "catalogue.yaml")
    folders = {job.file.rpartition("/")[0] for job in manifest.jobs}
    assert (len(manifest.jobs), len(folders), manifest.warnings, manifest.skipped_rows) == (160, 40, (), 0)
    manifest.jobs.close()
