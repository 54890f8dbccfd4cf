"""Good feeds → jobs: rows as data and rows as jobs, what cells are worth, what is skipped and what is said."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import ManifestError
from runner.core.models import Job
from runner.manifest import Manifest, load

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
BY_SKU = '{from: f.csv, id: "{{ sku }}", prompt: "a {{ name }}"}'


def manifest_of(folder: Path, entries: str, feed: str | bytes, *, name: str = "f.csv", top: str = "") -> Manifest:
    (folder / name).write_bytes(feed.encode() if isinstance(feed, str) else feed)
    (folder / "m.yaml").write_text(f"model: {KLEIN}\n{top}jobs: [{entries}]\n")
    return load(folder / "m.yaml")


def jobs_of(folder: Path, entries: str, feed: str | bytes, *, name: str = "f.csv", top: str = "") -> list[Job]:
    manifest = manifest_of(folder, entries, feed, name=name, top=top)
    jobs = list(manifest.jobs)
    manifest.jobs.close()
    return jobs


def prompts_of(folder: Path, entries: str, feed: str | bytes, *, name: str = "f.csv") -> dict[str, str]:
    return {job.id: job.inputs["prompt"] for job in jobs_of(folder, entries, feed, name=name)}


@pytest.mark.parametrize(
    "feed",
    [
        "sku,name\nx,mug\ny,\n",
        "\ufeffsku,name\r\nx,mug\r\n\r\n\r\ny,",
        "\n \nname,sku,\nmug,x,\n   \n,y,\n",
        '"sku","name"\n"x","mug"\ny,""\n',
    ],
)
def test_one_row_is_one_job(tmp_path: Path, feed: str) -> None:
    """With a byte order mark or not, any line ends, blank lines, quotes: the same two jobs."""
    entry = '{from: f.csv, id: "{{ sku }}", prompt: "a {{ name }} {{ sku }}"}'
    assert prompts_of(tmp_path, entry, feed) == {"x": "a mug x", "y": "a  y"}


def test_cells_are_text_with_their_spaces_quotes_and_lines(tmp_path: Path) -> None:
    """A cell is what stands there: no number, no word and no blank is read as anything else."""
    feed = 'sku,name\n1,012\n2,"two\n lines"\n3," x "\n4,"5"" cup, blue"\n5,5" cup\n6,null\n7,true\n'
    assert list(prompts_of(tmp_path, BY_SKU, feed).values()) == [
        "a 012", "a two\n lines", "a  x ", 'a 5" cup, blue', 'a 5" cup', "a null", "a true",
    ]  # fmt: skip


def test_suffixes_in_any_case_and_absolute_paths(tmp_path: Path) -> None:
    """`.TSV` is a feed, and a feed may lie anywhere."""
    (tmp_path / "feeds").mkdir()
    path = tmp_path / "feeds" / "F.TSV"
    entry = f'{{from: "{path}", id: "{{{{ sku }}}}", prompt: "{{{{ name }}}}"}}'
    assert prompts_of(tmp_path, entry, "sku\tname\nx\tmug, blue\n", name="feeds/F.TSV") == {"x": "mug, blue"}


def test_a_feed_is_sought_beside_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command is started does not matter; messages call the feed as seen from there."""
    monkeypatch.chdir("/")
    assert prompts_of(tmp_path, BY_SKU, "sku,name\nx,mug\n") == {"x": "a mug"}
    with pytest.raises(ManifestError, match=f"{tmp_path}/f.csv:2:1: this row has 1 cell"):
        manifest_of(tmp_path, BY_SKU, "sku,name\nx\n")


def test_json_values_keep_their_type(tmp_path: Path) -> None:
    """Numbers, booleans and nested values come as they are; a whole template hands the type on."""
    feed = '{"sku": 7, "on": true, "d": {"x": [1.5, "é"]}, "w": 512}\n\n{"sku":"b","on":false,"d":{"x":["",0]},"w":64}'
    entry = '{from: f.jsonl, id: "{{ sku }}", prompt: "{{ on }} {{ d.x|join(\' \') }}", width: "{{ w }}"}'
    first, second = jobs_of(tmp_path, entry, feed, name="f.jsonl")
    assert (first.id, first.inputs["prompt"], first.inputs["width"]) == ("7", "true 1.5 é", 512)
    assert (second.id, second.inputs["prompt"], second.inputs["width"]) == ("b", "false  0", 64)


def test_rows_of_json_may_have_keys_of_their_own(tmp_path: Path) -> None:
    """A name that only some rows have can be asked for; a null counts as missing there."""
    feed = '{"sku":"a","name":"mug"}\n{"sku":"b"}\n{"sku":"c","name":null}\n'
    entry = """{from: f.jsonl, id: "{{ sku }}", prompt: "{{ name|default('thing') }}{{ '!' if name is none }}"}"""
    assert prompts_of(tmp_path, entry, feed, name="f.jsonl") == {"a": "mug", "b": "thing", "c": "thing!"}


def test_inputs_of_an_unknown_model_take_the_values_of_a_feed(tmp_path: Path) -> None:
    """Without a schema, JSON keeps its types, cells go by JSON's spelling, and nested templates are filled in."""
    entry = (
        """{model: a/b, from: f.%s, id: "{{ sku }}", text: "x", n: "{{ n }}", more: {k: ["{{ n }}", 3, "v{{ n }}"]}}"""
    )
    (job,) = jobs_of(tmp_path, entry % "csv", "sku,n\na,4\n")
    assert job.inputs == {"text": "x", "n": 4, "more": {"k": [4, 3, "v4"]}}
    (job,) = jobs_of(tmp_path, entry % "jsonl", '{"sku":"a","n":"4"}', name="f.jsonl")
    assert job.inputs == {"text": "x", "n": "4", "more": {"k": ["4", 3, "v4"]}}


def test_rows_as_jobs(tmp_path: Path) -> None:
    """Without a prompt of its own, the entry leaves its keys to the columns; an empty cell is a key left out."""
    feed = "id,prompt,size,file\nx,no,512x512,a/b.png\n,two mugs,,\ny,012,64 × 128,\n"
    first, second, third = jobs_of(tmp_path, "{from: f.csv}", feed)
    assert (first.id, first.file, first.inputs) == ("x", "a/b", {"prompt": "no", "width": 512, "height": 512})
    assert second.id.startswith("two-mugs-")
    assert second.inputs == {"prompt": "two mugs", "width": 1024, "height": 1024}
    assert (third.id, third.file, third.inputs) == ("y", "y", {"prompt": "012", "width": 64, "height": 128})


def test_rows_as_jobs_are_typed_by_the_schema(tmp_path: Path) -> None:
    """A cell becomes what the schema asks for; defaults and the entry's other keys hold for every row."""
    (job,) = jobs_of(
        tmp_path, "{from: f.csv, height: 64}", "prompt,width\na, 512 \n", top="defaults: {width: 8, height: 8}\n"
    )
    assert job.inputs == {"prompt": "a", "width": 512, "height": 64}
    (job,) = jobs_of(tmp_path, "{from: f.jsonl}", '{"id": 42, "prompt": "a", "width": 64.0}', name="f.jsonl")
    assert (job.id, job.inputs["width"]) == ("42", 64)


def test_rows_as_jobs_may_have_columns_for_templates(tmp_path: Path) -> None:
    """A column that a template of the entry names is no unknown one; an id made of it wins over the column."""
    entry = """{from: f.csv, id: "{{ row['id'] }}-x", file: "{{ shelf }}/{{ job.id }}.{{ ext }}", sizes: [64x64]}"""
    (job,) = jobs_of(tmp_path, entry, "id,prompt,shelf\nm,a,top\n")
    assert (job.id, job.file) == ("m-x-64x64", "top/m-x-64x64")


def test_rows_as_data_never_become_inputs(tmp_path: Path) -> None:
    """A product's own width in millimetres never becomes pixels."""
    (job,) = jobs_of(
        tmp_path, "{from: f.csv, id: '{{ sku }}', prompt: 'a {{ row.width }} mm'}", "sku,width,id\nx,95,y\n"
    )
    assert (job.id, job.inputs) == ("x", {"prompt": "a 95 mm", "width": 1024, "height": 1024})


def test_an_empty_feed_is_said_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header alone is no error, but it is told."""
    monkeypatch.chdir(tmp_path)
    manifest = manifest_of(Path(), BY_SKU, "sku,name\n")
    assert [str(warning) for warning in manifest.warnings] == [
        "m.yaml:2:15: the feed f.csv has no rows (no job comes of it)"
    ]
    assert len(manifest.jobs) == 0
    manifest.jobs.close()


def test_bad_rows_are_skipped_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with a row, all of its jobs are left out; it is counted, and the first ones are told."""
    monkeypatch.chdir(tmp_path)
    feed = b'sku,w\na,64\nb,012\nc\nd,"6" x\n\xff,64\ne/e,64\nf,9\ng,128\n'
    entry = (
        '{from: f.csv, id: "{{ sku }}-{{ v }}", prompt: "{{ v }}", width: "{{ w }}", height: 64, matrix: {v: [1, 2]}}'
    )
    manifest = manifest_of(Path(), entry, feed, top="on_bad_row: skip\n")
    assert [job.id for job in manifest.jobs] == ["a-1", "a-2", "g-1", "g-2"]
    assert manifest.skipped_rows == 6
    (told,) = [str(warning) for warning in manifest.warnings if "skipped" in warning.what]
    assert told == (
        "m.yaml:2:1: 6 rows of feeds are skipped:"
        " f.csv:3:1: `width` takes a whole number, not `012`, from the template at m.yaml:3:73;"
        " f.csv:4:1: this row has 1 cell, the header 2 cells; f.csv:5:1: text follows a closing quote; …"
        " (once they are right, run again for their jobs)"
    )
    manifest.jobs.close()


@pytest.mark.parametrize(
    ("entry", "feed", "told"),
    [
        (BY_SKU, "sku,name\na,b\nA,c\n", "f.csv:3:1: the ids `A` and `a`"),
        (BY_SKU, 'sku,name\na,"b\nc,d\n', "f.csv:2:1: a quoted cell that begins in this row is never closed"),
        (BY_SKU, "sku\na\n", "`prompt` uses `name`, a name that is not known here"),
        ('{from: f.csv, id: "{{ sku }}", prompt: x, width: 9}', "sku\na\n", "`width` is 9"),
        ('{from: f.csv, id: "{{ sku }}", prompt: x, width: "{{ 9 }}"}', "sku\na\n", "`width` is 9"),
    ],
)
def test_what_is_no_fault_of_one_row_is_not_skipped(tmp_path: Path, entry: str, feed: str, told: str) -> None:
    """An id that is taken, a quote that swallows rows, and faults of the manifest itself stay errors."""
    with pytest.raises(ManifestError) as caught:
        manifest_of(tmp_path, entry, feed, top="on_bad_row: skip\n")
    (problem,) = caught.value.problems
    assert told in str(problem)


def test_more_rows_than_a_manifest_may_have_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed of absurd length is counted to its end, and no more jobs are made than a manifest may have."""
    monkeypatch.setattr("runner.manifest.loader.MAX_JOBS", 3)
    feed = "sku,name\n" + "".join(f"s{n},n\n" for n in range(6))
    with pytest.raises(ManifestError, match="6 jobs are more than the 3 that one manifest may have"):
        manifest_of(tmp_path, BY_SKU, feed)


def test_a_feed_that_is_replaced_later_changes_nothing(tmp_path: Path) -> None:
    """Jobs come from the spool: what was checked is what is sent."""
    manifest = manifest_of(tmp_path, BY_SKU, "sku,name\nx,mug\n")
    (tmp_path / "f.csv").unlink()
    assert [job.id for job in manifest.jobs] == ["x"]
    manifest.jobs.close()


def test_hints_are_told_once_with_their_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long prompts and extreme shapes are warned of at the first of their jobs; 16:9 itself is fine."""
    monkeypatch.chdir(tmp_path)
    feed = f"id,prompt,size\na,{'word ' * 500},64x64\nb,x,2048x64\nc,{'word ' * 400},1920x1080\nd,y,64x2048\n"
    manifest = manifest_of(Path(), "{from: f.csv}", feed)
    assert [str(warning) for warning in manifest.warnings] == [
        (
            "f.csv:2:1: 1 job has a prompt of more than about 512 tokens; this is the first"
            " (FLUX.2 Klein may ignore the end of such a prompt)"
        ),
        "f.csv:3:1: 2 jobs have a shape beyond 16:9; this is the first (FLUX.2 Klein crops such pictures)",
    ]
    manifest.jobs.close()


@pytest.mark.slow
def test_memory_does_not_follow_the_rows(tmp_path: Path) -> None:
    """A row leaves behind a small fixed number of bytes, whatever it holds."""
    peaks = []
    for width in (10, 1000):
        feed = "sku,name\n" + "".join(f"s{n},{'x' * width}\n" for n in range(3000))
        tracemalloc.start()
        manifest_of(tmp_path, BY_SKU, feed).jobs.close()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2_500_000 + 600_000  # the feed's text in this test, and buffers


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str]]) -> None:
    """Any cells come through a CSV feed as they were written."""
    file = io.StringIO()
    csv.writer(file).writerows([["n", "a b", "c"], *((number, *row) for number, row in enumerate(rows))])
    entry = '{from: f.csv, id: "{{ n }}", prompt: "<{{ row[\'a b\'] }}|{{ c }}>{% if n %}{% endif %}"}'
    with tempfile.TemporaryDirectory() as folder:
        found = prompts_of(Path(folder), entry, file.getvalue())
    assert found == {str(number): f"<{a}|{c}>" for number, (a, c) in enumerate(rows)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | CELL,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELL, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(JSON, min_size=1, max_size=4), st.sampled_from([(",", ":"), (", ", ": "), (",", " : ")]))
def test_json_comes_through_as_it_is(values: list[object], separators: tuple[str, str]) -> None:
    """Any value of a JSON line reaches an input of an unknown model unchanged, however it is spaced."""
    lines = [json.dumps({"n": n, "v": {"inner": v}}, separators=separators) for n, v in enumerate(values)]
    entry = '{model: a/b, from: f.jsonl, id: "{{ n }}", text: x, v: "{{ v }}"}'
    with tempfile.TemporaryDirectory() as folder:
        found = [job.inputs["v"]["inner"] for job in jobs_of(Path(folder), entry, "\n".join(lines), name="f.jsonl")]
    assert found == values


FRAGMENTS = st.sampled_from(
    [b"sku,name\n", b"a,b\n", b'"', b",", b"\t", b";", b"\r", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"{", b"}",
     b'{"a":', b"1", b"null", b"\\u0000", b"\\ud800", b"[", b"]", b'{"sku":"a","name":"b"}\n', "é".encode()]
)  # fmt: skip


@given(
    st.binary(max_size=40) | st.lists(FRAGMENTS, max_size=20).map(b"".join),
    st.sampled_from(["csv", "tsv", "jsonl"]),
    st.sampled_from(["stop", "skip"]),
)
def test_any_bytes_are_a_feed_or_faults(feed: bytes, suffix: str, policy: str) -> None:
    """Whatever a feed holds, loading gives a manifest or raises ``ManifestError``."""
    with tempfile.TemporaryDirectory() as folder, suppress(ManifestError):
        entry, name = BY_SKU.replace("csv", suffix), f"f.{suffix}"
        manifest_of(Path(folder), entry, feed, name=name, top=f"on_bad_row: {policy}\n").jobs.close()
