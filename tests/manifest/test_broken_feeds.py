"""Broken feeds: for each, every problem with its exact text and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import ManifestError
from runner.manifest import load

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
BY_SKU = '{from: f.%s, id: "{{ sku }}", prompt: "a {{ name }}"}'


def told(folder: Path, entry: str, feed: bytes, name: str) -> list[str]:
    """What is said of an entry and its feed; the manifest is called ``m.yaml``, and the entry is its third line."""
    (folder / name).write_bytes(feed)
    (folder / "m.yaml").write_text(f"model: {KLEIN}\njobs:\n- {entry}\n")
    with pytest.raises(ManifestError) as caught:
        load("m.yaml")
    lines = [str(problem).replace(KLEIN, "KLEIN_ID") for problem in caught.value.problems]
    return [line.replace(str(folder.resolve()), "TMP").replace(str(folder), "TMP") for line in lines]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


TABLES = {
    b"": [": this feed is empty (its first line names the columns)"],
    b"\n\n": [": this feed is empty (its first line names the columns)"],
    b" , \na,b\n": [":1:1: the first line names no column (the first line names the columns)"],
    b"\xff\xfes\x00k\x00u\x00,\x00n\x00a\x00m\x00e\x00\n\x00": [": this feed is UTF-16 (save it as UTF-8)"],
    b"sku;name\na;b\n": [":1:1: the columns are separated by `;`, not by commas (save the feed with commas)"],
    b"sku\tname\na\tb\n": [":1:1: the columns are separated by tabs, not by commas (save the feed with commas)"],
    b"sku|name\na|b\n": [":1:1: the columns are separated by `|`, not by commas (save the feed with commas)"],
    b"sku,name,sku\na,b,c\n": [":1:1: the column `sku` is there twice, as number 1 and 3 (rename one or delete it)"],
    b"sku,name,\na,b,\nb,c,d\n": [
        (
            ":3:1: the cell `d` stands in column 3, which has no name (name the column in the first "
            "line, or empty the cell)"
        )
    ],
    b"sku,name\na\n\nb,c,d\n": [
        ":2:1: this row has 1 cell, the header 2 cells (an empty cell has its comma, too)",
        ":4:1: this row has 3 cells, the header 2 cells (quote a cell that holds a comma)",
    ],
    b'sku,name\na,"5" cup\nb,c\n': [
        (':2:1: text follows a closing quote (a quote inside a quoted cell is written twice: "5"" cup")')
    ],
    b'sku,name\na,"5 cup\nb,c\n': [
        (
            ":2:1: a quoted cell that begins in this row is never closed (a quote inside a quoted "
            'cell is written twice: "5"" cup")'
        )
    ],
    b'sku,"name\na,b\n': [
        (
            ":1:1: a quoted cell that begins in this row is never closed (a quote inside a quoted "
            'cell is written twice: "5"" cup")'
        )
    ],
    b'sku,name\na,"b\nc" d\ne,f\n': [
        (':2:1: text follows a closing quote (a quote inside a quoted cell is written twice: "5"" cup")')
    ],
    b"sku,name\na,caf\xe9\nb,\xff\n": [
        (":2:1: byte 0xE9 is not UTF-8 (save the feed as UTF-8; it looks like Latin-1 or Windows-1252)"),
        (":3:1: byte 0xFF is not UTF-8 (save the feed as UTF-8; it looks like Latin-1 or Windows-1252)"),
    ],
    b"sku,\xff\na,b\n": [
        (":1:1: byte 0xFF is not UTF-8 (save the feed as UTF-8; it looks like Latin-1 or Windows-1252)")
    ],
    b"sku,name\na,b\x00\n": [":2:1: this row holds the character U+0000 (NUL) (delete it)"],
    b"sku,name\ra,b\r": [
        (":1:1: this line holds a lone carriage return (save the feed with LF or CRLF at the end of each line)")
    ],
    b"sku,name\na,b\rc,d\n": [
        (":2:1: this line holds a lone carriage return (save the feed with LF or CRLF at the end of each line)")
    ],
    b"sku,name\na,b\nB,c\nA,d\na,e\n": [
        (
            ":4:1: the ids `A` and `a`, of the row at f.csv:2:1, differ in case only (they are one on "
            "many disks: choose another)"
        ),
        ":5:1: the id `a` is taken by the row at f.csv:2:1 (ids are unique)",
    ],
    b"sku,name\na/b,c\n.,c\n,c\n": [
        ":2:1: the id `a/b` has a slash or backslash, from the template at m.yaml:3:21",
        (":3:1: the id `.` has the part `.`, which leads elsewhere, from the template at m.yaml:3:21"),
        ":4:1: the id is empty, from the template at m.yaml:3:21",
    ],
    b"sku,title\na,b\n": ["m.yaml:3:42: `prompt` uses `name`, a name that is not known here (known: sku, title)"],
}


@pytest.mark.parametrize("feed", TABLES)
def test_a_fault_of_a_table_is_told_at_its_row(tmp_path: Path, feed: bytes) -> None:
    """What is wrong with a CSV feed is told with the line that the row begins in, and with what to do."""
    lines = told(tmp_path, BY_SKU % "csv", feed, "f.csv")
    assert [line.removeprefix("f.csv") for line in lines] == TABLES[feed]


TABBED = {
    b"sku,name\na,b\n": [":1:1: the columns are separated by commas, not by tabs (save the feed with tabs)"],
    b"sku\tname\na\tb\tc\nd\n": [
        ":2:1: this row has 3 cells, the header 2 cells (quote a cell that holds a tab)",
        ":3:1: this row has 1 cell, the header 2 cells (an empty cell has its tab, too)",
    ],
}


@pytest.mark.parametrize("feed", TABBED)
def test_a_tsv_feed_has_tabs(tmp_path: Path, feed: bytes) -> None:
    """The same rules hold where tabs separate the columns."""
    lines = told(tmp_path, BY_SKU % "tsv", feed, "f.tsv")
    assert [line.removeprefix("f.tsv") for line in lines] == TABBED[feed]


JSON_LINES = {
    b"[1]\n": [(':1:1: this line is no object but `[1]` (one object a line: {"sku": "mug-01", "name": "Mug"})')],
    b'{"sku": 1\n{"sku": x}\n': [
        (':1:1: this line is no JSON: input data was truncated (one object a line: {"sku": "mug-01", "name": "Mug"})'),
        (
            ':2:1: this line is no JSON: invalid character at column 9 (one object a line: {"sku": '
            '"mug-01", "name": "Mug"})'
        ),
    ],
    b'{"sku":"a","name":"b","sku":"c"}\n{"sku" :"a","name":{"x":1,"x":2}}\n': [
        ":1:1: the key `sku` is there twice (keep one)",
        ":2:1: the key `x` is there twice (keep one)",
    ],
    b'{"sku":"a","name":null}\n{"sku":"b","name":[1]}\n{"sku":"c","name":{}}\n{"sku":"d","title":1}\n{}\n': [
        (
            ":1:1: `prompt` cannot be filled in: `name` is null; `|default(…)` stands in for it, from "
            "the template at m.yaml:3:44"
        ),
        (
            ':2:1: `prompt` prints a list, from the template at m.yaml:3:44 (`|join(", ")` or '
            "`|tojson` makes a text of it)"
        ),
        (
            ':3:1: `prompt` prints a mapping, from the template at m.yaml:3:44 (`|join(", ")` or '
            "`|tojson` makes a text of it)"
        ),
        (
            ":4:1: `prompt` uses `name`, a name that is not known here, in the template at "
            "m.yaml:3:44 (known: sku, title)"
        ),
        ":5:1: `prompt` uses `name`, and the row has no columns, in the template at m.yaml:3:44",
        ":5:1: `id` uses `sku`, and the row has no columns, in the template at m.yaml:3:23",
    ],
    b'{"sku":"a","name":"\\u0000"}\n': [":1:1: this row holds the character U+0000 (NUL) (delete it)"],
    b'{"sku":"a","name":NaN}\n{"sku":"b","name":"\\ud83d"}\n{"sku":"c","name":1e999}\n': [
        (
            ':1:1: this line is no JSON: invalid character at column 19 (one object a line: {"sku": '
            '"mug-01", "name": "Mug"})'
        ),
        (':2:1: this line is no JSON: input data was truncated (one object a line: {"sku": "mug-01", "name": "Mug"})'),
        (':3:1: this line is no JSON: number out of range (one object a line: {"sku": "mug-01", "name": "Mug"})'),
    ],
    b'{"sku":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}\n': [
        ":1:1: more than 32 levels of lists and objects (no feed needs that)"
    ],
    b"\xff\n": [(":1:1: byte 0xFF is not UTF-8 (save the feed as UTF-8; it looks like Latin-1 or Windows-1252)")],
    b'{"sku":"a","name":{"q":1}} x\n': [
        (
            ':1:1: this line is no JSON: trailing characters at column 29 (one object a line: {"sku": '
            '"mug-01", "name": "Mug"})'
        )
    ],
}


@pytest.mark.parametrize("feed", JSON_LINES)
def test_a_fault_of_a_json_line_is_told_at_its_line(tmp_path: Path, feed: bytes) -> None:
    """Each line is one object without doubled keys, and null, lists and mappings have no text."""
    lines = told(tmp_path, BY_SKU % "jsonl", feed, "f.jsonl")
    assert [line.removeprefix("f.jsonl") for line in lines] == JSON_LINES[feed]


PATHS = {
    "f.xlsx": ["takes a .csv, .tsv or .jsonl file, not `f.xlsx` (save the sheet as CSV UTF-8)"],
    "f.json": [("takes a .csv, .tsv or .jsonl file, not `f.json` (write one object a line and call it .jsonl)")],
    "f": [("takes a .csv, .tsv or .jsonl file, not `f` (write the path of a .csv, .tsv or .jsonl file)")],
    "f.csv.gz": ["takes a .csv, .tsv or .jsonl file, not `f.csv.gz` (unpack it first)"],
    '"*.csv"': ["takes one feed, not a pattern: `*.csv` (write one entry for each feed)"],
    "[a.csv]": ["takes one feed, not a list (write one entry for each feed)"],
    "https://a.b/c.csv": ["takes a file of this machine, not `https://a.b/c.csv` (download the feed first)"],
    '""': ["is empty (write a text, or leave the key out)"],
    "nowhere.csv": [("names `nowhere.csv`, and there is no such file (paths start at the manifest; looked in TMP)")],
    "x/f.csv": ["names `x/f.csv`, and there is no folder TMP/x (paths start at the manifest)"],
    '"a\\tb.csv"': ["has a control character (write the path of a .csv, .tsv or .jsonl file)"],
    "f.tsv": ["names `f.tsv`, and there is no such file (did you mean `F.csv`?)"],
    "{a: b}": ["takes a text, not a mapping (put the text in quotes)"],
}


@pytest.mark.parametrize("path", PATHS)
def test_what_from_cannot_be(tmp_path: Path, path: str) -> None:
    """Other formats, lists, patterns, addresses and files that are not there are told with what works."""
    lines = told(tmp_path, f"{{prompt: a, from: {path}}}", b"a\n", "F.csv")
    assert [line.removeprefix("m.yaml:3:21: `from` ") for line in lines] == PATHS[path]


COLUMNS = {
    ("{model: a/b, from: f.csv, matrix: {width: [64, 128], seed: [1, 2]}}", b"id,prompt\nm,a\n"): [
        (
            "1:1: the column `id` leaves out `seed`, a key of the matrix: its jobs would share one"
            " (write an id in the entry: \"{{ row['id'] }}-{{ seed }}\")"
        )
    ],
    ("{from: f.csv}", b"id,promt\na,b\n"): [
        ("1:1: the column `promt` is neither a key of a job nor an input of KLEIN_ID (did you mean `prompt`?)")
    ],
    ("{from: f.csv}", b"id,colour\na,b\n"): [
        (
            "1:1: the column `colour` is neither a key of a job nor an input of KLEIN_ID (give the "
            "entry a `prompt:` of its own, and columns are data)"
        ),
        (
            "1:1: there is no column `prompt`, and the entry sets none (write `prompt:` in the entry, "
            "with the columns as {{ names }}, or name a column `prompt`)"
        ),
    ],
    ("{from: f.csv}", b"id,prompt,colour,model\na,b,c,d\n"): [
        (
            "1:1: the column `colour` is neither a key of a job nor an input of KLEIN_ID (give the "
            "entry a `prompt:` of its own, and columns are data)"
        ),
        "1:1: the column `model` cannot set what belongs to the entry (rename the column)",
    ],
    ("{from: f.csv, width: 64}", b"id,prompt,width\na,b,64\n"): [
        ("1:1: the column `width` sets what the entry sets too (rename the column, or take the key out of the entry)")
    ],
    ("{from: f.csv}", b"prompt,size,width\na,64x64,64\n"): [
        "1:1: the column `size` stands beside `width`; that sets it too (keep one of them)"
    ],
    ("{from: f.csv, size: 64x64}", b"prompt,width\na,64\n"): [
        ("1:1: the column `width` sets what the entry sets too (rename the column, or take the key out of the entry)")
    ],
    ("{from: f.csv}", b"id,prompt,width,size\n"): [
        "1:1: the column `size` stands beside `width`; that sets it too (keep one of them)"
    ],
    ("{from: f.csv}", b"id,prompt,width\na/b,b,64\nb,,64\nc,d,012\nd,e,9\n"): [
        "2:1: `id` has a slash or backslash (folders go into `file`)",
        "3:1: `prompt` is empty",
        "4:1: `width` takes a whole number, not `012` (write 12)",
        "5:1: `width` is 9; the model takes 64 to 2048",
    ],
    ("{from: f.csv}", b"id,prompt,size,file\na,b,big,x\nb,c,,../x\n"): [
        "2:1: `size` takes a size, not `big` (write width x height in pixels: 1024x768)",
        "3:1: `file` has the part `..`, which leads elsewhere",
    ],
    ("{from: f.csv}", b"prompt\na\na\n"): [
        (
            "3:1: the same model and inputs as the row at f.csv:2:1, and no ids to tell them apart "
            "(delete one; to buy both, write `repeat: 2` or give them ids)"
        )
    ],
    ('{from: f.csv, matrix: {view: [x]}, prompt: "{{ view }}"}', b"id,view\na,b\n"): [
        "1:1: the column `view` is a key of the matrix, too (rename one of them)"
    ],
    ('{from: f.csv, prompt: "{{ size }} {{ job.size }}"}', b"size\nXL\n"): [
        (
            "m.yaml:3:25: `prompt` uses `size`, which is a column of the feed and a name of the job "
            '(write row["size"] or job.size)'
        )
    ],
    ('{from: f.csv, prompt: "{{ self }}"}', b"self\nXL\n"): [
        ('m.yaml:3:25: `prompt` uses `self`, which templates keep for themselves (write row["self"])')
    ],
    ('{from: f.csv, prompt: a, id: "{{ n }}", width: "{{ w }}"}', b"n,w\na,9\nb,012\nc,\nd,x\n"): [
        "2:1: `width` is 9; the model takes 64 to 2048, from the template at m.yaml:3:50",
        ("3:1: `width` takes a whole number, not `012`, from the template at m.yaml:3:50 (write 12)"),
        (
            "4:1: `width` has an empty cell for its value, from the template at m.yaml:3:50 (fill it, "
            "or write {{ name|default(1024, true) }})"
        ),
        "5:1: `width` takes a whole number, not `x`, from the template at m.yaml:3:50",
    ],
    ('{from: f.csv, prompt: a, id: "{{ n }}", size: "{{ w }}"}', b"n,w\na,64x9\nb,big\n"): [
        "2:1: `height` is 9; the model takes 64 to 2048, from the template at m.yaml:3:49",
        (
            "3:1: `size` takes a size, not `big`, from the template at m.yaml:3:49 (write width x "
            "height in pixels: 1024x768)"
        ),
    ],
    ('{from: f.csv, prompt: a, id: "{{ n }}", file: "{{ w }}"}', b"n,w\na,../b\nb,x\nc,X\n"): [
        ("2:1: the file `../b` has the part `..`, which leads elsewhere, from the template at m.yaml:3:49"),
        ("4:1: the file `X` is also that of the row at f.csv:3:1 (give each job a file of its own)"),
    ],
    ("{from: f.csv, prompt: a, id: mug}", b"n\na\nb\n"): [
        "3:1: the id `mug` is taken by the row at f.csv:2:1 (ids are unique)"
    ],
}


@pytest.mark.parametrize(("entry", "feed"), COLUMNS)
def test_what_columns_and_cells_cannot_be(tmp_path: Path, entry: str, feed: bytes) -> None:
    """A fault of a column is told at the header, that of a cell at its row, with the template that it went through."""
    lines = told(tmp_path, entry, feed, "f.csv")
    assert [line.removeprefix("f.csv:") for line in lines] == COLUMNS[entry, feed]


BIG = {
    b"sku,name\na," + b"x" * 131_073: (
        "2:1: a cell is longer than 131,072 characters: a quote is opened and not closed"
        ' (a quote inside a quoted cell is written twice: "5"" cup")'
    ),
    b"sku,name\na," + b"y" * 100_001: (
        "2:1: `prompt` produces more than 100,000 characters, from the template at m.yaml:3:42"
    ),
    b"sku,name\n" + b"z" * 10_000_001: "2:1: this line is longer than 10,000,000 bytes (a feed has one row a line)",
}


@pytest.mark.parametrize("feed", BIG, ids=["cell", "text", "line"])
def test_what_is_too_long_is_refused(tmp_path: Path, feed: bytes) -> None:
    """Cells, rendered texts and lines have bounds, so that no feed fills the memory."""
    assert told(tmp_path, BY_SKU % "csv", feed, "f.csv") == [f"f.csv:{BIG[feed]}"]


def test_a_json_line_that_nests_too_deep(tmp_path: Path) -> None:
    """Nesting beyond what the decoder takes is told like any other fault."""
    (line,) = told(tmp_path, BY_SKU % "jsonl", b"[" * 3000, "f.jsonl")
    assert line.startswith("f.jsonl:1:1: this line nests too deep (one object a line")


def test_a_folder_is_no_feed(tmp_path: Path) -> None:
    """A folder with the name of a feed is told as such."""
    (tmp_path / "d.csv").mkdir()
    assert told(tmp_path, "{prompt: a, from: d.csv}", b"", "f.csv") == [
        "m.yaml:3:21: `from` takes a file, and `d.csv` is none (write the path of a .csv, .tsv or .jsonl file)"
    ]


def test_a_feed_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that its reader may not open is told by name, and is no fault of the disk."""

    def refuse(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("runner.manifest.feeds.Feed._open_file", refuse)
    assert told(tmp_path, "{prompt: a, from: f.csv}", b"a\n", "f.csv") == [
        "f.csv: this feed cannot be read: Permission denied"
    ]


def test_a_feed_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails in the middle of a feed is told with the line that was read last."""

    class Failing:
        lines = iter([b"sku,name\n", b"a,b\n"])

        def readline(self, _limit: int) -> bytes:
            for line in self.lines:
                return line
            raise OSError(5, "Input/output error")

        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *_args: object) -> None:
            pass

    monkeypatch.setattr("runner.manifest.feeds.Feed._open_file", lambda _self: Failing())
    assert told(tmp_path, BY_SKU % "csv", b"", "f.csv") == [
        "f.csv:2:1: this feed cannot be read further: Input/output error"
    ]


def test_more_jobs_than_a_manifest_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed of absurd length is counted to its end, and no more jobs are made than a manifest may have."""
    monkeypatch.setattr("runner.manifest.loader.MAX_JOBS", 3)
    feed = b"sku,name\n" + b"".join(b"s%d,n\n" % n for n in range(6))
    assert told(tmp_path, BY_SKU % "csv", feed, "f.csv") == [
        "m.yaml:2:1: 6 jobs are more than the 3 that one manifest may have (split it)"
    ]
