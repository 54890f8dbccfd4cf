"""Scalars and notations: the place decides the type, not the spelling."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.manifest import units
from runner.manifest.nodes import Scalar, Style
from runner.manifest.problems import Invalid
from runner.manifest.yaml.scalars import boolean, integer, json_value, number, text


def plain(spelling: str) -> Scalar:
    return Scalar(1, 1, spelling, Style.PLAIN)


def quoted(spelling: str) -> Scalar:
    return Scalar(1, 1, spelling, Style.QUOTED)


TRAPS = [
    "no",
    "off",
    "Yes",
    "012",
    "00123",
    "1e3",
    "2026-11-22",
    "1:30",
    "42",
    "0x1F",
    "1_000",
    ".inf",
    "TRUE",
    "Null",
]


@pytest.mark.parametrize("spelling", TRAPS)
def test_where_text_is_expected_a_plain_scalar_is_the_text(spelling: str) -> None:
    """None of YAML's traps changes a text."""
    assert text(plain(spelling)) == spelling


@pytest.mark.parametrize("word", ["true", "false", "null", "~", ""])
def test_five_words_are_no_text_unless_quoted(word: str) -> None:
    """``true``, ``false``, ``null``, ``~`` and nothing are errors for text, unless quoted."""
    with pytest.raises(Invalid):
        text(plain(word))
    assert text(quoted(word)) == word


@given(st.integers(-(2**63), 2**64 - 1))
def test_whole_numbers_are_read_with_or_without_a_point(value: int) -> None:
    """``1024`` and ``1024.0`` are the same whole number."""
    assert integer(plain(str(value))) == value
    assert integer(plain(f"{value}.0")) == value
    assert json_value(plain(str(value))) == value


@pytest.mark.parametrize(
    ("spelling", "advice"),
    [
        ("012", "write 12"),
        ("0x400", "write 1024"),
        ("0o17", "write 15"),
        ("1e3", "write 1000"),
        ("1_024", "write 1024"),
        ("1,024", "write 1024"),
        ("1___0_", "write 10"),
        ("+5", "write 5"),
        ("5.", "write 5"),
        ("1.5", "write it without a fraction"),
        ("64px", "write 64"),
        ("64 px", "write 64"),
        ("1:30", "write it in digits"),
        ("soup", "write it in digits"),
        ("9" * 5000 + "x", "write it in digits"),
    ],
)
def test_other_spellings_of_numbers_are_errors_that_write_them_right(spelling: str, advice: str) -> None:
    """A number that YAML or a person would read otherwise is not guessed at."""
    with pytest.raises(Invalid) as caught:
        integer(plain(spelling))
    assert caught.value.advice == advice


@given(st.text())
def test_no_spelling_breaks_a_reader(spelling: str) -> None:
    """Every reader returns a value or says what is wrong, for any scalar."""
    for read in (text, integer, number, boolean, json_value):
        for node in (plain(spelling), quoted(spelling)):
            with suppress(Invalid):
                read(node)


@pytest.mark.parametrize(("spelling", "value"), [("1.5", 1.5), ("-0.25", -0.25), ("3", 3), ("7.0", 7.0)])
def test_numbers(spelling: str, value: float) -> None:
    """A decimal number; the type follows the spelling."""
    assert number(plain(spelling)) == value
    assert type(number(plain(spelling))) is type(value)


@pytest.mark.parametrize("spelling", [".5", "1e3", "5.", "1,5", ".nan", "9" * 400 + ".5"])
def test_numbers_that_are_none(spelling: str) -> None:
    """Only plain decimals are numbers."""
    with pytest.raises(Invalid):
        number(plain(spelling))


def test_jsons_spelling_decides_where_nothing_else_does() -> None:
    """Without a schema, types go by JSON's spelling, and quotes make text."""
    assert [json_value(plain(word)) for word in ("true", "null", "12", "1.5", "1e3", "012", "no", "NaN")] == [
        True, None, 12, 1.5, 1000.0, "012", "no", "NaN"]  # fmt: skip
    assert json_value(quoted("12")) == "12"
    with pytest.raises(Invalid, match="too large"):
        json_value(plain("1e999"))


@pytest.mark.parametrize(
    ("spelling", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1h30m5s", 5405),
        ("0.5", 0.5),
        ("2h", 7200),
        ("0", 0),
    ],
)
def test_durations(spelling: str, seconds: float) -> None:
    """Seconds, or hours, minutes and seconds with their letters."""
    assert units.duration(spelling) == seconds


@given(st.integers(0, 99), st.integers(0, 999), st.integers(0, 9999))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    """What is written is what is waited."""
    assert units.duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize("spelling", ["", "1:30", "10 m", "10min", "-5", "5m1h", "m", "1h30", "012", "1d", "٣"])
def test_durations_that_are_none(spelling: str) -> None:
    """Anything that could be read in two ways is an error."""
    with pytest.raises(Invalid, match="takes a duration"):
        units.duration(spelling)


@pytest.mark.parametrize(
    ("spelling", "per_second"),
    [
        ("5/s", 5),
        ("120/min", 2),
        ("500/h", 500 / 3600),
        ("0.5/s", 0.5),
        ("3 / m", 0.05),
        ("1/hour", 1 / 3600),
    ],
)
def test_rates(spelling: str, per_second: float) -> None:
    """So many submissions in a second, minute or hour."""
    assert units.rate(spelling) == pytest.approx(per_second)


@pytest.mark.parametrize("spelling", ["", "5", "5/day", "/s", "-1/s", "5/2s"])
def test_rates_that_are_none(spelling: str) -> None:
    """A rate without its time is no rate."""
    with pytest.raises(Invalid, match="takes a rate"):
        units.rate(spelling)


@given(st.integers(1, 10**8), st.integers(1, 10**8), st.sampled_from(["x", " x ", "×", " × ", "X", "x ", " ×"]))
def test_sizes(width: int, height: int, times: str) -> None:
    """Width, a cross, height; blanks do not matter."""
    assert units.size(f"{width}{times}{height}") == (width, height)


@pytest.mark.parametrize("spelling", ["", "64", "64x", "0x64", "064x64", "64*64", "64x64x64", "-1x1", "64.0x64"])
def test_sizes_that_are_none(spelling: str) -> None:
    """Anything else is no size."""
    with pytest.raises(Invalid, match="takes a size"):
        units.size(spelling)


@pytest.mark.parametrize(
    ("spelling", "count"),
    [("200MB", 200_000_000), ("2GiB", 2**31), ("1.5kB", 1500), ("1 KiB", 1024), ("100B", 100),
     ("1TB", 10**12),
     ("1000000", 1_000_000)],
)  # fmt: skip
def test_bytes(spelling: str, count: int) -> None:
    """Powers of ten, or of two with an ``i``; bare numbers where they can only be bytes."""
    assert units.byte_count(spelling) == count


@pytest.mark.parametrize("spelling", ["", "200", "2gb", "GB", "-1MB", "1iB", "1e9"])
def test_bytes_that_are_none(spelling: str) -> None:
    """A small number without a unit has two readings, and is an error."""
    with pytest.raises(Invalid):
        units.byte_count(spelling)


@pytest.mark.parametrize(
    ("spelling", "host"),
    [("cdn.example.com", "cdn.example.com"), ("*.Example.com", "*.example.com"), ("8.8.8.8", "8.8.8.8"),
     ("bücher.example", "xn--bcher-kva.example")],
)  # fmt: skip
def test_hosts(spelling: str, host: str) -> None:
    """A host name, or all names below one, in lower case and ASCII."""
    assert units.host(spelling) == host


LOCAL = [
    "localhost",
    "x.localhost",
    "nas.local",
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "10.0.0.1",
]
LOCAL += ["169.254.169.254", "[::1]", "::1", "ａ.localhost", "１２７.0.0.1"]
NO_HOSTS = [
    "",
    "*",
    "*.com",
    "a b",
    "https://a.example",
    "a.example/x",
    "a.example:443",
    "a..b",
    "-a.b",
    "a.*.b",
]


@pytest.mark.parametrize("spelling", LOCAL + NO_HOSTS)
def test_hosts_that_cannot_be_trusted(spelling: str) -> None:
    """Schemes, ports, paths, this machine and private networks, in whatever spelling, are errors."""
    with pytest.raises(Invalid):
        units.host(spelling)


@given(st.text())
def test_no_text_breaks_a_notation(spelling: str) -> None:
    """Every notation returns a value or says how it is written."""
    for read in (units.duration, units.rate, units.size, units.byte_count, units.host):
        with suppress(Invalid):
            read(spelling)
