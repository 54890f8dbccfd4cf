"""Rows that are none: what `where` leaves out, and what is told of empty cells before they cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.core.errors import ManifestError
from runner.manifest import Manifest, load

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
FEED = "sku,title,colour,stock\na,Mug,red,1\nb,,blue,0\nc,Jug,,FALSE\nd,,,\n"


@contextmanager
def loaded(folder: Path, entry: str, feed: str = FEED, *, name: str = "f.csv", top: str = "") -> Iterator[Manifest]:
    (folder / name).write_text(feed)
    (folder / "m.yaml").write_text(f"{top}model: {KLEIN}\njobs:\n- {{from: {name}, {entry}}}\n")
    manifest = load(folder / "m.yaml")
    yield manifest
    manifest.jobs.close()


def warnings_of(folder: Path, entry: str, feed: str = FEED) -> list[str]:
    with loaded(folder, entry, feed) as manifest:
        return [problem.what.replace(f"{folder}/", "") for problem in manifest.warnings]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("{{ title }}", "ac"),
        ("{{ stock }}", "a"),
        ("{{ row['stock'] == '0' }}", "b"),
        (" {% if colour %} 1 {% endif %} ", "ab"),
        ("{{ 0 }}", ""),
        ("{{ title|length - 3 }}", "bd"),
        ("{{ title or colour }}", "abc"),
        ("{{ missing|default(title) }}", "ac"),
    ],
)
def test_where_says_of_which_rows_jobs_are_made(tmp_path: Path, where: str, kept: str) -> None:
    """Rows for which it is empty, `false` or `0` make no job; they are counted, and are no faults."""
    with loaded(tmp_path, f'id: "{{{{ sku }}}}", prompt: "a mug of {{{{ sku }}}}", where: "{where}"') as manifest:
        assert "".join(job.id for job in manifest.jobs) == kept
        assert (manifest.left_out_rows, manifest.skipped_rows, manifest.warnings) == (4 - len(kept), 0, ())


def test_nothing_else_is_asked_of_rows_that_are_left_out(tmp_path: Path) -> None:
    """Neither their ids nor their values nor their names: they are not meant to be jobs."""
    feed = '{"sku": "a", "w": 64, "ok": true}\n{"sku": "a", "w": "wide", "ok": false}\n{"ok": 0}\n'
    entry = 'id: "{{ sku }}", prompt: a mug, width: "{{ w }}", where: "{{ ok }}"'
    with loaded(tmp_path, entry, feed, name="f.jsonl") as manifest:
        assert [job.id for job in manifest.jobs] == ["a"]
        assert manifest.left_out_rows == 2


def test_rows_as_jobs_may_be_left_out_by_a_column_of_its_own(tmp_path: Path) -> None:
    """A column that only `where` names is no unknown key of a job."""
    with loaded(tmp_path, 'where: "{{ ok }}"', "prompt,ok\na mug,1\na jug,0\n") as manifest:
        assert [job.inputs["prompt"] for job in manifest.jobs] == ["a mug"]


def test_columns_and_matrix_keys_may_be_called_like_the_keys_of_a_feed(tmp_path: Path) -> None:
    """`where`, `at` and `sheet` are good names for places, and stay free for them."""
    entry = 'id: "{{ at }}-{{ where }}", prompt: "a mug, {{ at }}, {{ where }}", matrix: {where: [beach, hall]}'
    with loaded(tmp_path, entry, "at\nnoon\n") as manifest:
        assert [job.id for job in manifest.jobs] == ["noon-beach", "noon-hall"]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("{{ title }} on wood, {{ sku }}", "`title`, which is empty in 2 rows, the first at f.csv:3:1"),
        ("{{ title|upper|trim }}: {{ sku[:3] }}", "`title`, which is empty in 2 rows, the first at f.csv:3:1"),
        ("{{ row['title'] ~ sku }}", "`title`, which is empty in 2 rows, the first at f.csv:3:1"),
        ("{{ sku }} {{ stock }}", "`stock`, which is empty in the row at f.csv:5:1"),
        ("{{ sku }} {% if sku == 'b' %}{{ title }}{% endif %}", "`title`, which is empty in the row at f.csv:3:1"),
        ("{{ title|default('thing', true) }} {{ sku }}", None),
        ("{{ title|default('thing') }} {{ sku }}", None),
        ("{% if title %}{{ title }}{% else %}thing{% endif %} {{ sku }}", None),
        ("{% if title %}{{ title }}{% endif %}{{ sku }}", None),
        ("{{ title or 'thing' }} {{ sku }}", None),
        ("{{ title if title else 'thing' }} {{ sku }}", None),
        ("{{ 'no' if title == '' else 'a' }} {{ sku }}", None),
        ("{{ title|length }} {{ sku }}", None),
    ],
)
def test_an_empty_cell_that_is_printed_is_told_before_it_costs(tmp_path: Path, prompt: str, told: str | None) -> None:
    """Once for each template, with the column, the number of rows and the first; unless the template says what else."""
    found = warnings_of(tmp_path, f'id: "{{{{ sku }}}}", prompt: "{prompt}"')
    assert found == ([f"`prompt` prints {told}"] if told else [])


def test_rows_that_are_left_out_have_no_empty_cells(tmp_path: Path) -> None:
    """`where` silences the warning, as it mends what the warning is about."""
    assert warnings_of(tmp_path, 'id: "{{ sku }}", prompt: "{{ title }} {{ sku }}", where: "{{ title }}"') == []


def test_a_row_counts_once_whatever_is_made_of_it(tmp_path: Path) -> None:
    """Sizes, copies and keys of a matrix are jobs of one row."""
    entry = 'id: "{{ sku }}", prompt: "{{ title }} {{ sku }}", sizes: [64x64, 96x96], repeat: 3'
    assert warnings_of(tmp_path, entry) == ["`prompt` prints `title`, which is empty in 2 rows, the first at f.csv:3:1"]


@pytest.mark.parametrize(
    "prompt", ["{{ title }}, {{ colour }}!", "a photo of {{ title }}", "{{ title|upper }} - {{ job.size }}"]
)
def test_a_prompt_of_which_nothing_is_left_is_an_error(tmp_path: Path, prompt: str) -> None:
    """Nobody means to buy the words around a name that is not there; with `where` the other rows are bought."""
    entry = f'id: "{{{{ sku }}}}", prompt: "{prompt}"'
    with (
        pytest.raises(ManifestError, match=r"f\.csv:5:1: `prompt` is nothing but the template's own words"),
        loaded(tmp_path, entry),
    ):
        pass
    with loaded(tmp_path, f'{entry}, where: "{{{{ title }}}}"') as manifest:
        assert [job.id for job in manifest.jobs] == ["a", "c"]
    with loaded(tmp_path, entry, top="on_bad_row: skip\n") as manifest:
        assert "d" not in [job.id for job in manifest.jobs]
        assert manifest.skipped_rows >= 1


def test_jobs_do_not_depend_on_the_number_of_their_row(tmp_path: Path) -> None:
    """Rows that come or go, empty ones among them, change nothing about the others: no run buys them again."""
    entries = ['prompt: "a {{ title }}"', 'id: "{{ title }}", prompt: "a {{ title }}", file: "x/{{ title }}.png"']
    for entry in entries:
        found = []
        for feed in ("title,n\n,\n\nMug,1\n,\nJug,2\n,\n", "title,n\nMug,1\nJug,2\n", "\n\ntitle;n\nMug;1\n\nJug;2"):
            with loaded(tmp_path, entry, feed) as manifest:
                found.append([(job.id, job.fingerprint, job.file, job.inputs) for job in manifest.jobs])
        assert found[0] == found[1] == found[2]
        assert len(found[0]) == 2
