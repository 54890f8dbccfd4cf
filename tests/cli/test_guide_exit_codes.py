"""The page of exit codes: its codes, their order and its messages are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from support.guide_examples import GUIDE

import runner
from runner.core import errors
from runner.engine.maintenance.verify import FindingKind
from runner.engine.summary import Report, Stopped, most_serious

PAGE = (GUIDE / "exit-codes.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (\d+): .*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
NOT_OURS = {"No such option", "batch.yaml:12:5: …"}
"""A message of click, and the form of the problems of a manifest."""
EXITS = {
    name: kind.exit_code for name, kind in vars(errors).items() if isinstance(kind, type) and "exit_code" in vars(kind)
}


class Text(NamedTuple):
    """A text in the code, with NUL for each value that is filled in."""

    text: str
    code: int | None
    """Exit code of the error that it is raised with, or of the stop; None: the text is passed on."""


def texts_in(node: ast.AST, code: int | None = None) -> Iterator[Text]:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        last = node.args[-1] if node.args else None
        if name in ("buying", "interrupt"):
            given = last.value if isinstance(last, ast.Constant) and isinstance(last.value, int) else 75
            code = given if len(node.args) < 3 else None
        elif name.removeprefix("errors.") in EXITS:
            code = EXITS[name]
    if isinstance(node, ast.JoinedStr):
        yield Text("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values), code)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield Text(node.value, code)
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts_in(child, code)


@cache
def texts() -> list[Text]:
    modules = (path for path in Path(runner.__file__).parent.rglob("*.py") if "emulator" not in path.parts)
    return [text for path in modules for text in texts_in(ast.parse(path.read_text(encoding="utf-8")))]


def messages() -> Iterator[tuple[int, str]]:
    """The messages of each section: what stands in backticks in the first column, warnings and notes."""
    for code, section in SECTIONS:
        for cell in re.findall(r"^\| (?!message|---)(.+?) \|", section, re.MULTILINE):
            yield from ((int(code), message) for message in re.findall(r"`([^`]+)`", cell))
        yield from ((int(code), message) for message in re.findall(r"(?:A warning:|the note) `([^`]+)`", section))


@pytest.mark.parametrize(("code", "message"), [pair for pair in messages() if pair[1] not in NOT_OURS])
def test_each_message_is_one_of_the_program(code: int, message: str) -> None:
    """The words between `…` stand in one text of the code, and an error with this text has this exit code."""
    parts = filter(None, (part.strip(" :,") for part in message.split("…")))
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    found = [text for text in texts() if pattern.search(text.text)]
    assert found
    codes = {text.code for text in found if text.code is not None}
    assert len(message) < 12 or not codes or code in codes  # `failed` is a word of many texts


def test_the_codes_stand_in_the_order_of_precedence() -> None:
    """Of several, a run ends with the first on the page."""
    told = [int(code) for code, _ in SECTIONS]
    stops = [Stopped(reason="", exit_code=code) for code in (69, 77, 73, 65, 64)]
    reports = [Report(stopped=most_serious(stops[: 5 - number])) for number in range(5)]
    reports += [
        Report(bugs=1, owed=1),
        Report(owed=1, unknown=1),
        Report(unknown=1, failed=1),
        Report(failed=1),
        Report(),
    ]
    assert [report.exit_code for report in reports] == told
    assert set(EXITS.values()) - {70} <= set(told)


def test_each_finding_of_verify_is_named() -> None:
    """The row of `verify` has all that it reports of files."""
    assert [kind for kind in FindingKind if f"`{kind.value}`" not in PAGE] == []
