"""The page of results: its keys, codes and events are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
from support.guide_examples import GUIDE

import runner
from runner.cli.display.jsonl import FIELDS
from runner.core import models
from runner.core.copies import CopyFile
from runner.core.models import Fault, Output, Record, State
from runner.engine.steps.shipment import CODES
from runner.engine.summary import Report
from runner.ledger.records import decode

PAGE = (GUIDE / "results.md").read_text(encoding="utf-8")
ONLY_IN_TEXTS = {"other_request"}
"""Codes of answers whose message becomes part of another error; they are in no record."""


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the section's table."""
    found = re.findall(r"^\| (`.+) \|$", section(title), re.MULTILINE)
    return [row.split(" | ") for row in found]


def words(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def keys(struct: type[msgspec.Struct]) -> set[str]:
    return set(struct.__struct_encode_fields__)


def test_the_line_on_the_page_is_a_record() -> None:
    """A reader accepts it, once its hash is filled in."""
    example = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0]
    line = example.replace('"sha256": "…"', f'"sha256": "{"0" * 64}"').replace("sha256:…", f"sha256:{'0' * 64}")
    line = line.replace('"request_id": "…"', '"request_id": "r1"').replace("https://…", "https://a.runcomfy.net/b.png")
    assert decode(line.replace("\n", "").encode()).state is State.DONE


def test_each_key_of_a_record_has_a_row_or_is_named_as_the_programs_own() -> None:
    """No key of a line, of an output, of a copy or of an error is left out, and none is invented."""
    table = {word for row in rows("A line") for word in words(row[0])}
    own = words(section("A line").partition("the program's own: ")[2])
    assert table | own >= keys(Record) > table
    assert not table & own
    inner = {row[0]: words(row[1]) for row in rows("A line")}
    assert inner["`outputs`"] == keys(Output) - {"moved_from"}
    assert inner["`copies`"] | {"replaces"} == keys(CopyFile)
    assert inner["`error`"] == keys(Fault)
    assert own == (keys(Record) - table) | {"moved_from", "replaces"}
    assert inner["`state`"] - {"money"} == set(State)


def codes() -> Iterator[str]:
    """The codes that the program itself gives to errors."""
    yield from CODES.values()
    for path in Path(runner.__file__).parent.rglob("*.py"):
        if "emulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code":
                if isinstance(node.value, ast.Constant):
                    yield node.value.value
                elif isinstance(node.value, ast.Name) and hasattr(models, node.value.id):
                    yield getattr(models, node.value.id)


def test_each_error_code_has_a_row() -> None:
    """A script finds every code that is no code of the API."""
    told = {word for row in rows("Error codes") for word in words(row[0])}
    assert told == (set(codes()) | {models.UNEXPLAINED}) - ONLY_IN_TEXTS
    stuck = next(row for row in rows("Error codes") if "*stuck*" in row[2])
    assert words(stuck[0]) == models.STUCK_CODES


def test_the_summary_has_the_keys_of_the_page() -> None:
    """`--json` and the page name the same keys."""
    told = {word for row in rows("Summaries for scripts") for word in words(row[0])}
    assert told == {*Report(copies=1).as_json(), "error"}


def test_the_page_names_each_event() -> None:
    """Events of `--log-format json`."""
    assert [event for event in FIELDS if f"`{event}`" not in section("Summaries for scripts")] == []
