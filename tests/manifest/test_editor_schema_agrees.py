"""The schema and the loader accept the same manifests: what one refuses, the other does not let through."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.editor_validator import as_an_editor_reads
from support.examples import examples

from runner.core.errors import ManifestError
from runner.core.models import Problem
from runner.manifest import load
from runner.manifest.editor_schema.schema import manifest_schema
from runner.manifest.jobs.inputs import KEYS as KEYS_OF_JOBS

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
KLEIN_9B = KLEIN.replace("4b", "9b")
OTHER = "somebody/else/text-to-image"

BEYOND = {
    r"is taken by|differ in case only|and no ids to tell them apart": "ids against each other",
    r"is also that of|may be an output of|a folder of": "files against each other",
    r"`(?!prompt`|width`|height`)\w+` is given twice": "keys against each other, where no model says which there are",
    r"uses `": "names in templates",
    r"is not a valid template|a template comment|this template prints": "what is inside the braces of a template",
    r"no input depends on": "whether a template names a key of the matrix",
    r"is not a key of the matrix|`exclude` leaves nothing": "the keys of a matrix against its exclusions",
    r"names `.*`, and there is no": "files of this machine",
    r"^the (?:id|file) `": "ids and files as completed or filled in",
    r"too large for a number": "whole numbers of more than 64 bits",
}
"""Rules of the loader that no schema can express, by what the loader says."""

OF_UNKNOWN_MODELS = {
    r"contains a template: ": "whether a key is an input, where no model says which there are",
    r"^`(?!prompt`|id`|file`)\w+` takes a text, not `null`": "whether a template names a key of the matrix",
}
OF_MADE_INPUTS = {r"; the model takes ": "what a template makes of an input"}
OF_TEMPLATES = {r"leaves out `": "which keys of a matrix a template names; or which a template makes a key of its own"}


class Plain(str):
    """A scalar to be written without quotes."""


def written(value: Any) -> str:
    """``value`` as YAML."""
    if isinstance(value, Plain):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(value)


SETTINGS: dict[str, list[Any]] = {
    "name": ["a", "spring catalogue", 42, Plain("012"), Plain("no"), "a/b", "CON", "a.", "", None, True, "n" * 248, []],
    "concurrency": [1, 8, 1000, 0, 1001, 2.5, "8", "auto", None],
    "rate": ["5/s", "120/min", " 1 / hour ", "0/s", 5, "5/day", "fast", None],
    "timeout": [90, "90s", "1h30m", "24h", 0, "25h", "0s", -1, Plain("1:30"), "86401", 86401, "1441m", "", []],
    "retries": [0, 4, 100, -1, 101, "4", None],
    "on_unknown": ["hold", "resubmit", "resubmitt", "Hold", None, 1, True],
    "on_bad_row": ["stop", "skip", "ignore", [], 0],
    "budget": [0, 25, 25.5, "25.00/day", "$5", "25/week", -1, "free", None, {}],
    "halt": [1, 10, "20%", "100 %", 0, "0%", "101%", "0.5%", 1.5, "ten"],
    "strict_size": [True, False, "true", 1, Plain("yes"), None],
    "max_file": ["200MB", "2GiB", "1B", 1_000_000, "1000000", 200, "0MB", "2 gigs", None],
    "max_inline": ["2MB", "6MiB", "500kB", "1B", 1_000_000, 6_291_456, 6_291_457, 200, "0MB", "2 gigs", None],
    "max_pixels": [1, 104_857_600, 2_000_000_000, 0, -1, 2_000_000_001, 2.5, "89000000", "89MP", None],
    "output": ["out", "../x y", "/tmp/x", 7, "s3://a/b", "", " ", "a\tb", None, ["a"]],
    "trusted_hosts": [
        [], ["cdn.example.com"], ["*.EXAMPLE.com", "8.8.8.8"], "cdn.example.com", ["https://a.b/c"], ["10.0.0.1"],
        ["localhost"], ["a.local"], ["127.1"], ["a.b:80"], [42], [None], {},
    ],
}  # fmt: skip
PROMPTS = ["a mug", "a {brace}", 42, Plain("no"), Plain("012"), "{{ x }}", "", "  ", None, False, ["a"], {}]
SIDES = [512, 1536, 1000, 64, 2048, 511, 1537, 63, 2049, "64", "wide", 64.5, None, True, [64], "{{ 64 }}", "a {{ 64 }}"]
SIZES = ["512x512", "1024 x 768", "1536×512", "64x64", "2048×64", "63x64", "64x2049", "64*64", "x", 64, None,
         "{{ 64 }}x64", ["64x64"]]  # fmt: skip
IDS = ["mug", 12, Plain("012"), Plain("2026-11-22"), "a b", "a/b", "a.", "", "con", "x.altered", None, True]
FILES = ["a", "a/b.png", "a-{{ output }}", 12, "a.{{ ext }}", "a/{{ job.id }}", "../a", "/a", "a//b", ".png", "nul.png",
         None, [], "../a.{{ ext }}", "results.jsonl", "Results.2-Of-4.JSONL/a"]  # fmt: skip
FEEDS = [
    "rows.csv",
    "data.csv",
    "photos/*.jpg",
    "rows.json",
    "rows.txt",
    "photos/*",
    "pho*/*.PNG",
    "data.xlsx",
    "*.csv",
    "https://a.b/c.csv",
    ".csv",
    "gone.csv",
    3,
    [],
    None,
]
MODELS = [KLEIN, KLEIN_9B, KLEIN, OTHER, OTHER, 42, "a b", "../a", "", None, [KLEIN]]
JUNK = [None, True, False, 0, -1, 1, 64, 4096, 1.5, "", " ", "a", "64x64", "{{ x }}", "..", [], [1], {}, {"a": 1}]
STEPS = [1, 25, 100, 0, 101, "25", 2.5, None]
KEYS = [*KEYS_OF_JOBS, "prompt", "width", "height", "seed", "steps"]


def mostly(values: list[Any]) -> st.SearchStrategy[Any]:
    """One of ``values``, mostly one of the first three, which are right: of two faults one hides the other."""
    right = st.sampled_from(values[:3])
    return st.integers(0, 24).flatmap(lambda n: right if n else st.sampled_from(values))


def lists(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(mostly(values), min_size=1, max_size=2, unique_by=written)


@st.composite
def matrices(draw: st.DrawFn) -> dict[str, Any]:
    axes: dict[str, list[Any]] = {"view": ["front", "side", 7, Plain("no"), "{{ x }}", None], "size": SIZES,
                                  "prompt": PROMPTS, "width": SIDES, "other": ["a", "b", "c"],
                                  "steps": STEPS}  # fmt: skip
    chosen = draw(st.lists(st.sampled_from(list(axes)), min_size=1, max_size=2, unique=True))
    matrix: dict[str, Any] = {name: draw(lists(axes[name])) for name in chosen}
    first = {name: values[0] for name, values in matrix.items()}
    if draw(st.integers(0, 3)) == 0 and all(value in axes[name][:3] for name, value in first.items()):
        matrix["exclude"] = [first]  # a wrong value that is excluded never comes to the loader's eyes
    return matrix


def templates(matrix: dict[str, Any]) -> str:
    """A text that names every key of ``matrix``."""
    return "-".join(f"{{{{ {name} }}}}" for name in matrix if name not in ("exclude", "size")) or "{{ copy }}"


FEED_KEYS: dict[str, list[Any]] = {
    "where": ["{{ id }}", "{{ 1 }}", "{% if id %}1{% endif %}", "id", "", True, None, 3, ["{{ id }}"]],
    "delimiter": [",", ";", "tab", "\t", "|", ":", "", " ,", None, 3],
    "encoding": ["utf-8", "cp1252", "UTF_8", "Latin-1", "ascii", "", None, 1252],
    "at": ["rows", "id", 3, "", " ", None, []],
    "sheet": ["Rows", 1, Plain("no"), "", " ", None, {}],
}
COUNTS = [1, 2, 3, 0, -1, 10_000_001, "2", 1.5, None]


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    of_kind = {
        "prompt": st.just({}),
        "size": st.fixed_dictionaries({"size": mostly(SIZES)}),
        "sides": st.fixed_dictionaries({"width": mostly(SIDES), "height": mostly(SIDES)}),
        "sizes": st.fixed_dictionaries({"sizes": lists(SIZES)}),
        "repeat": st.fixed_dictionaries({"repeat": mostly(COUNTS)}),
        "matrix": st.fixed_dictionaries({"matrix": matrices()}),
        "from": st.fixed_dictionaries({"from": mostly(FEEDS)}),
    }
    kind = draw(st.sampled_from([*of_kind, "matrix"]))
    job: dict[str, Any] = {"prompt": draw(mostly(PROMPTS)), **draw(of_kind[kind])}
    if draw(st.integers(0, 3)) == 0:  # keys that may stand beside each other, and keys that may not
        job |= draw(st.sampled_from(sorted(of_kind)).flatmap(of_kind.__getitem__))
    names = templates(job.get("matrix", {}))
    if "from" in job or draw(st.integers(0, 19)) == 0:
        for key in draw(st.lists(st.sampled_from(sorted(FEED_KEYS)), max_size=1)):
            job[key] = draw(mostly(FEED_KEYS[key]))
    if "matrix" in job:
        job["prompt"] = f"a {names}"
    if ("from" in job or "prompt" in job.get("matrix", {})) and draw(st.booleans()):
        del job["prompt"]
    for key, values in {"id": [*IDS, names], "file": [*FILES, names], "model": MODELS}.items():
        if draw(st.integers(0, 3)) == 0:
            job[key] = draw(mostly(values))
    if draw(st.integers(0, 3)) == 0:
        moved = draw(st.sampled_from(sorted(job.keys() & {"prompt", "width", "height"}) or ["seed"]))
        job["inputs"] = {moved: job.pop(moved, 1)}
    return job


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly right; then up to two things are done to it that a tired writer might do."""
    manifest: dict[str, Any] = {"jobs": draw(st.lists(jobs(), min_size=1, max_size=2))}
    if draw(st.integers(0, 9)):
        manifest["model"] = draw(mostly(MODELS))
    for key in draw(st.lists(st.sampled_from(list(SETTINGS)), max_size=2, unique=True)):
        manifest[key] = draw(mostly(SETTINGS[key]))
    if draw(st.booleans()):
        values = {"prompt": PROMPTS, "width": SIDES, "size": SIZES, "height": SIDES}
        names = draw(st.lists(st.sampled_from(list(values)), max_size=2, unique=True))
        manifest["defaults"] = {name: draw(mostly(values[name])) for name in names}
    if draw(st.integers(0, 5)) == 0:
        manifest["x-mine"] = draw(st.sampled_from(JUNK))
    manifest = deepcopy(manifest)  # the lists below are not to be changed
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        spoil(draw, manifest)
    return manifest


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from mappings(item)


def spoil(draw: st.DrawFn, manifest: dict[str, Any]) -> None:
    """Misspell, drop, add or move a key, or put something else where a value stood."""
    place = draw(st.sampled_from(list(mappings(manifest))))
    key = draw(st.sampled_from(sorted(place) or ["jobs"]))
    value = place.pop(key, None)
    way = draw(st.sampled_from(["misspell", "drop", "add", "move", "junk", "list", "mapping"]))
    if way == "misspell":
        place[draw(st.sampled_from([key[:-1], key + "s", key.upper(), "x-" + key]))] = value
        return
    if way == "drop":
        return
    if way == "move":
        manifest[key] = value
        return
    junk = deepcopy(draw(st.sampled_from(JUNK)))
    place[key] = {"add": value, "junk": junk, "list": [value], "mapping": {key: value}}[way]
    if way == "add":
        added = draw(st.sampled_from(KEYS))
        of_key = {"prompt": PROMPTS, "width": SIDES, "height": SIDES, "size": SIZES, "sizes": [["64x64"]],
                  "steps": STEPS}  # fmt: skip
        place.setdefault(added, deepcopy(draw(st.sampled_from([*of_key.get(added, []), *JUNK]))))


def complaints(text: str) -> list[Problem]:
    """What the loader has against a manifest."""
    try:
        load("-", text=text.encode()).jobs.close()
    except ManifestError as error:
        return list(error.problems)
    return []


def verdict(text: str, validator: jsonschema_rs.Draft7Validator) -> str:
    """``accepted`` or ``refused`` by both, ``beyond`` what a schema can tell, or ``apart``."""
    problems, manifest = complaints(text), as_an_editor_reads(text)
    found = list(mappings(manifest))
    unknown = any(each.get("model", KLEIN) not in (KLEIN, KLEIN_9B) for each in found)
    templated = any("{{" in str(each.get(key)).removesuffix(".{{ ext }}") for each in found for key in ("id", "file"))
    made = any("{{" in str(value) for each in found for key, value in each.items() if key not in ("id", "file"))
    rules = [
        *(OF_MADE_INPUTS if made else ()),
        *BEYOND,
        *(OF_UNKNOWN_MODELS if unknown else ()),
        *(OF_TEMPLATES if unknown or templated else ()),
    ]
    told = [p for p in problems if p.place.source == "-" and not any(re.search(rule, p.what) for rule in rules)]
    if problems and not told:
        return "beyond"
    if validator.is_valid(manifest) == bool(problems):
        return "apart"
    return "refused" if problems else "accepted"


@pytest.fixture
def feeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``from:`` can name; standard input's paths start at the current folder."""
    (tmp_path / "rows.csv").write_text("id,prompt\nmug,a mug\n")
    (tmp_path / "data.csv").write_text("sku,name\n1,mug\n")
    (tmp_path / "rows.json").write_text('{"rows": [{"id": "mug", "prompt": "a mug"}], "id": 3}')
    (tmp_path / "rows.txt").write_text("a mug\n")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mug.jpg").touch()
    monkeypatch.chdir(tmp_path)


def agree(schema: dict[str, Any], examples: int) -> Counter[str]:
    """How often which verdict was given. Raises ``AssertionError`` for a manifest on which the two are apart."""
    validator = jsonschema_rs.Draft7Validator(schema)
    counts: Counter[str] = Counter()

    @settings(deadline=None, max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(manifests())
    def hold(manifest: dict[str, Any]) -> None:
        text = written(manifest)
        found = verdict(text, validator)
        counts[found] += 1
        assert found != "apart", (text, [str(problem) for problem in complaints(text)])

    hold()
    return counts


@pytest.mark.usefixtures("feeds")
def test_the_schema_and_the_loader_accept_the_same_manifests() -> None:
    """Whatever a tired writer makes of a manifest: the editor underlines it if, and only if, ``runner`` refuses it."""
    tried = examples(600, quick=120)
    counts = agree(manifest_schema(), tried)
    assert counts["accepted"] > tried // 12
    assert counts["refused"] > tried // 12
