"""Feeds as shops export them: separators, encodings, lists, spreadsheets, prompts a line, folders of photos."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.made_sheets import Cell, sheet_xml, workbook

from runner.core.errors import ManifestError
from runner.manifest import Manifest, load
from runner.manifest.feeds.options import DELIMITERS, ENCODINGS

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
ROWS = [["sku", "name"], ["M1", "Grüne Tasse"], ["M2", "Kanne, groß; blau"]]
FOUND = {"M1": "Grüne Tasse", "M2": "Kanne, groß; blau"}


@contextmanager
def loaded(folder: Path, entry: str) -> Iterator[Manifest]:
    (folder / "m.yaml").write_text(f"model: {KLEIN}\njobs:\n- {entry}\n", encoding="utf-8")
    manifest = load(folder / "m.yaml")
    yield manifest
    manifest.jobs.close()


def read(folder: Path, data: bytes, *, name: str = "f.csv", more: str = "") -> dict[str, str]:
    """The prompt of each job by its id, of a feed with the columns ``sku`` and ``name``."""
    (folder / name).write_bytes(data)
    entry = f'{{from: {name}, id: "{{{{ sku }}}}", prompt: "{{{{ name }}}}"{more}}}'
    with loaded(folder, entry) as manifest:
        return {job.id: job.inputs["prompt"] for job in manifest.jobs}


def table(rows: list[list[str]], separator: str, end: str = "\r\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=end).writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_table_is_read_whatever_exported_it(tmp_path: Path, suffix: str, separator: str, encoding: str) -> None:
    """Separator and encoding are told from the feed itself, whatever the file is called."""
    data = table(ROWS, separator).encode(encoding)
    assert read(tmp_path, data, name=f"f.{suffix}") == FOUND


@pytest.mark.parametrize("written", [name for name in ENCODINGS if name not in ("utf-16-be", "utf-16-le")])
def test_an_encoding_may_be_named(tmp_path: Path, written: str) -> None:
    """In any case and with either dash; the text of such a feed arrives as it was typed."""
    text = "sku,name\nM1,5 cm — 杯\n".encode(ENCODINGS[written], errors="replace")
    expected = text.decode(ENCODINGS[written]).splitlines()[1].removeprefix("M1,")
    assert read(tmp_path, text, more=f", encoding: {written.upper().replace('-', '_')}") == {"M1": expected}


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_16_without_its_mark_is_read_if_it_is_named(tmp_path: Path, order: str) -> None:
    """As some programs write it."""
    data = table(ROWS, ";").encode(f"utf-16-{order}")
    assert read(tmp_path, data, more=f", encoding: utf-16-{order}") == FOUND


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_first_line_of_excel_names_the_separator(tmp_path: Path, sign: str) -> None:
    """`sep=;` is no header, and the numbers of lines in messages are those of the file."""
    assert read(tmp_path, f"sep={sign}\r\n{table(ROWS, sign)}".encode()) == FOUND
    with pytest.raises(ManifestError, match=r"f\.csv:3:1: this row has 1 cell, the header 2 cells"):
        read(tmp_path, f"sep={sign}\nsku{sign}name\nx\n".encode())


@pytest.mark.parametrize("written", DELIMITERS)
def test_a_delimiter_may_be_named(tmp_path: Path, written: str) -> None:
    """For headers in which another sign is more frequent, and for separators that are not told by themselves."""
    sign = DELIMITERS[written]
    data = table([["sku", "name", "a,b,c;d;e"], ["M1", "Mug", ""]], sign)
    assert read(tmp_path, data.replace('"', "" if sign not in ",;" else '"').encode(),
                more=f", delimiter: {json.dumps(written)}") == {"M1": "Mug"}  # fmt: skip


@pytest.mark.parametrize(
    ("header", "row", "found"),
    [
        ("sku;name;Preis, netto", "M1;Mug;3", "Mug"),
        ('sku,name,"size; colour; cut"', "M1,Mug,", "Mug"),
        ('sku;"name";"a\nb,c,d,e"', "M1;Mug;", "Mug"),
        ("sku,name;x", "M1,Mug", None),
    ],
)
def test_the_header_decides_by_what_is_outside_of_quotes(
    tmp_path: Path, header: str, row: str, found: str | None
) -> None:
    """The most frequent sign; of two that are equally frequent, the comma, as ever."""
    if found is None:
        with pytest.raises(ManifestError, match="did you mean `name;x`"):
            read(tmp_path, f"{header}\n{row}\n".encode())
    else:
        assert read(tmp_path, f"{header}\n{row}\n".encode()) == {"M1": found}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ('"A1"\tOak Mug 12" tall', {"A1": 'Oak Mug 12" tall'}),
        ('A1\t"Oak Mug', {"A1": '"Oak Mug'}),
        ('"A1\t12" Mug\nA2\t"Jug"', {'"A1': '12" Mug', "A2": "Jug"}),
        ('A1\t"two\nlines"\nA2\t"so ""good"""', {"A1": "two\nlines", "A2": 'so "good"'}),
        ('A1\t"Mug\nA2\t12"', {"A1": '"Mug', "A2": '12"'}),
        ('A1\t"a\tb"', {"A1": "a\tb"}),
        ('A1\t"two\n\nlines, ""one"" empty"', {"A1": 'two\n\nlines, "one" empty'}),
        ('A1\t"5 cup"s', {"A1": '"5 cup"s'}),
    ],
)
def test_a_quote_between_tabs_that_does_not_close_is_text(tmp_path: Path, lines: str, found: dict[str, str]) -> None:
    """Exports with tabs have inches in them; what Excel puts in quotes is still read as Excel means it."""
    assert read(tmp_path, f"sku\tname\n{lines}\n".encode(), name="f.tsv") == found


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("empty", ["", ",,", "  , ,\t", '"","",""'])
def test_emptied_rows_are_no_rows(tmp_path: Path, empty: str, end: str) -> None:
    """A row whose cells a spreadsheet has emptied makes no job, above and below the header and at the end."""
    lines = [empty, "sku,name,", empty, "M1,Mug,", empty, empty, "M2,Jug,", empty, ""]
    assert read(tmp_path, end.join(lines).encode()) == {"M1": "Mug", "M2": "Jug"}


def test_lines_in_messages_are_those_of_the_file(tmp_path: Path) -> None:
    """Rows that are none are counted, so that a person finds the one that is meant."""
    with pytest.raises(ManifestError, match=r"f\.csv:6:1: this row has 1 cell"):
        read(tmp_path, b"\n,,\nsku,name\n\n,\nx\n")
    with pytest.raises(ManifestError, match=r"f\.jsonl:4:1: this line is no JSON"):
        read(tmp_path, b'{"sku":"a","name":"b"}\n\n{"sku":"","name":null}\nx\n', name="f.jsonl")


def test_a_list_of_objects(tmp_path: Path) -> None:
    """A JSON file may hold all rows, by itself or below a key; values keep their type."""
    rows = [{"sku": "a", "name": "x", "n": [1]}, {"sku": " ", "name": None}, {"sku": 7, "name": "y"}]
    found = {"a": "x", "7": "y"}
    assert read(tmp_path, json.dumps(rows).encode(), name="f.json") == found
    below = json.dumps({"total": 3, "pro ducts": rows, "more": [1]}, indent=2)
    for encoding in ("utf-8-sig", "utf-16"):
        assert read(tmp_path, below.encode(encoding), name="f.json", more=", at: pro ducts") == found
    with pytest.raises(ManifestError, match=r"f\.json:9:1: the key `sku` is there twice"):
        read(tmp_path, b'[\n{"sku": "a",\n "name": "x"},\n\n{\n"sku": "b",\n"name": "x"},\n\n{"sku": 1, "sku": 2}]',
             name="f.json")  # fmt: skip


def test_a_prompt_a_line(tmp_path: Path) -> None:
    """A text file needs no header and no entry around it."""
    (tmp_path / "p.txt").write_bytes('a mug, "so" {{ it }} said\r\n\r\n  \n  ein Krug; groß\n'.encode("utf-8-sig"))
    with loaded(tmp_path, "{from: p.txt}") as manifest:
        assert [job.inputs["prompt"] for job in manifest.jobs] == ['a mug, "so" {{ it }} said', "  ein Krug; groß"]
    with loaded(tmp_path, '{from: p.txt, prompt: "{{ prompt|trim }}, studio light"}') as manifest:
        assert [job.inputs["prompt"] for job in manifest.jobs][1] == "ein Krug; groß, studio light"


def sheets(*rows: list[Cell], first: int = 1) -> bytes:
    return workbook({"Products": sheet_xml(rows, first=first), "Old ones": sheet_xml([["sku", "name"], ["o", "old"]])})


def test_a_spreadsheet(tmp_path: Path) -> None:
    """The first sheet or the one that is named; what stands there is read as it is shown."""
    values = ["007", " x ", 14.9, 250, 3.0, 0.1 + 0.2, True, 1.23e11]
    rows: list[list[Cell]] = [["sku", "name"], *([f"s{n}", value] for n, value in enumerate(values)), [None, ""]]
    shown = ["007", " x ", "14.9", "250", "3", "0.3", "true", "123000000000"]
    assert list(read(tmp_path, sheets(*rows), name="f.xlsx").values()) == shown
    assert read(tmp_path, sheets(*rows), name="f.xlsx", more=", sheet: Old ones") == {"o": "old"}


def test_rows_of_a_spreadsheet_have_its_numbers(tmp_path: Path) -> None:
    """Empty rows above, between and below are none, and messages name the row that the program shows."""
    rows: list[list[Cell]] = [["sku", "name", None], ["", None, None], ["M1", "Mug", "stray"]]
    with pytest.raises(ManifestError, match=r"f\.xlsx:6:1: the cell `stray` stands in column 3"):
        read(tmp_path, sheets(*rows, first=4), name="f.xlsx")


PHOTOS = ("b.jpg", "a 1.JPG", "c.jpeg", "ä.jpg", ".hidden.jpg", "a.png", "sub/d.jpg", "sub/deep/e.jpg", ".dot/f.jpg")


def photos_of(folder: Path, pattern: str) -> list[str]:
    entry = (
        f'{{from: "{pattern}", id: "{{{{ path|replace(\'/\', \'-\') }}}}", prompt: "{{{{ name }}}}|{{{{ stem }}}}"}}'
    )
    with loaded(folder, entry) as manifest:
        return [job.inputs["prompt"] for job in manifest.jobs]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in PHOTOS:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    (tmp_path / "photos" / "folder.jpg").mkdir()
    (tmp_path / "photos" / "sub" / "up").symlink_to("..")
    return tmp_path


def test_photos_are_a_feed(photos: Path) -> None:
    """One job a picture, in the order of their names, whatever the order on the disk; hidden ones are left alone."""
    assert photos_of(photos, "photos/*.jpg") == ["a 1.JPG|a 1", "b.jpg|b", "ä.jpg|ä"]
    assert photos_of(photos, "photos/?.jpeg") == ["c.jpeg|c"]
    assert photos_of(photos, "photos/s*/*.jpg") == ["d.jpg|d"]
    assert photos_of(photos, "photos/**/*.jpg") == ["a 1.JPG|a 1", "b.jpg|b", "d.jpg|d", "e.jpg|e", "ä.jpg|ä"]
    assert photos_of(photos, f"{photos}/photos/sub/*.jpg") == ["d.jpg|d"]


def test_the_path_of_a_photo_starts_at_the_manifest(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an input that names the same file would be written."""
    monkeypatch.chdir("/")
    with loaded(photos, '{from: "photos/*.jpg", prompt: "{{ path }}"}') as manifest:
        assert [job.inputs["prompt"] for job in manifest.jobs] == ["photos/a 1.JPG", "photos/b.jpg", "photos/ä.jpg"]
    with pytest.raises(ManifestError, match=rf"{photos}/photos/b.jpg: the id `x` is taken by the row at .*/a 1.JPG"):
        load_all(photos, '{from: "photos/*.jpg", id: x, prompt: "{{ path }}"}')


def load_all(folder: Path, entry: str) -> None:
    with loaded(folder, entry):
        pass


def test_no_photo_is_said_aloud(photos: Path) -> None:
    """A folder that is empty tonight is no error; a folder that is not there is one."""
    with loaded(photos, '{from: "photos/*.webp", prompt: "{{ path }}"}') as manifest:
        assert "no picture matches" in str(manifest.warnings[0])
    with pytest.raises(ManifestError, match="there is no folder"):
        load_all(photos, '{from: "fotos/*.jpg", prompt: "{{ path }}"}')


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)
NAME = st.text("aé杯_-1.", max_size=8)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.tuples(
        st.lists(NAME, min_size=width, max_size=width, unique=True),
        st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=4),
    )
)


@given(
    TABLES, st.sampled_from([",", ";", "\t"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]), st.booleans(),
)  # fmt: skip
@example((["é"], [['"'], ["a\tb"]]), "\t", "utf-16", "\r\n", False)
def test_any_table_is_read_back_in_any_dialect(
    table: tuple[list[str], list[list[str]]], separator: str, encoding: str, end: str, marked: bool
) -> None:
    """However a program writes a table, its cells come back as they were, row by row."""
    names, rows = ["n", *(f"c{number} {name}" for number, name in enumerate(table[0]))], table[1]
    file = io.StringIO()
    if marked:
        file.write(f"sep={separator}{end}")
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *([f"r{number}", *row] for number, row in enumerate(rows))])
    refs = ", ".join(f"row[{json.dumps(name, ensure_ascii=False)}]" for name in names[1:])
    entry = {"model": "a/b", "from": "f.csv", "id": "{{ n }}", "prompt": "x", "v": f"{{{{ [{refs}] }}}}"}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "f.csv").write_bytes(file.getvalue().encode(encoding))
        with loaded(Path(name), json.dumps(entry, ensure_ascii=False)) as manifest:
            found = [job.inputs["v"] for job in manifest.jobs]
    assert found == rows


@given(st.binary(max_size=60), st.sampled_from(["json", "txt", "xlsx", "tsv"]), st.sampled_from(["", *ENCODINGS]))
def test_any_bytes_are_rows_or_told(data: bytes, suffix: str, encoding: str) -> None:
    """Whatever a file holds, loading gives a manifest or raises ``ManifestError``."""
    with tempfile.TemporaryDirectory() as folder, suppress(ManifestError):
        more = f", encoding: {encoding}" if encoding and suffix != "xlsx" else ""
        read(Path(folder), data, name=f"f.{suffix}", more=more)


@given(st.integers(0, 10_000), st.integers(0, 40), st.binary(max_size=4))
def test_any_damage_to_a_spreadsheet_is_told(start: int, length: int, data: bytes) -> None:
    """A torn download of a spreadsheet ends in a message, and never in a traceback."""
    book = sheets(["sku", "name"], ["M1", "Mug"])
    start %= len(book)
    with tempfile.TemporaryDirectory() as folder, suppress(ManifestError):
        read(Path(folder), book[:start] + data + book[start + length :], name="f.xlsx")
