"""Output in a terminal that is safe whoever wrote the text, and errors of a command."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from runner.core.errors import ManifestError, RunnerError
from runner.core.text import CONTROL, DRIVES

if TYPE_CHECKING:
    from runner.core.models import Problem, Record

MAX_PROBLEMS = 200

_CONTROL = re.compile(f"[{DRIVES}]")

_CONTROL_OR_BREAK = re.compile(f"[\n{DRIVES}]")

MAX_TEXT = 300

_QUERY = re.compile(r"(\bhttps?://[^\s?#'\"]+)[?#][^\s'\"]*")

_LONG = 12
"""A text input shorter than this is no prompt that anyone would recognise."""


def say(line: str, *, err: bool = False) -> None:
    """Print one line. Its words may be a stranger's: none of them drives the terminal or begins a line of its own."""
    click.echo(_CONTROL_OR_BREAK.sub("\ufffd", line), err=err)


def say_all(text: str, *, err: bool = False) -> None:
    """The same for a text of several lines."""
    click.echo(_CONTROL.sub("\ufffd", text), err=err)


def show_warnings(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        say_all(warning_words(warning), err=True)


def warning_words(warning: Problem) -> str:
    return f"{warning.place}: warning: {warning.what}" + (f" ({warning.advice})" if warning.advice else "")


def show_error(error: RunnerError) -> None:
    """Say what went wrong with a command as a whole."""
    if isinstance(error, ManifestError):
        show_problems(error)
    else:
        say_all(f"runner: {error}", err=True)


def show_problems(error: ManifestError) -> None:
    """Print a manifest's faults, up to a number that a person reads."""
    for problem in error.problems[:MAX_PROBLEMS]:
        say_all(str(problem), err=True)
    count = error.count
    more = f", {MAX_PROBLEMS} of them shown" if count > MAX_PROBLEMS else ""
    click.echo(
        f"runner: {count:,} {'fault' if count == 1 else 'faults'} in the manifest{more}; nothing was bought",
        err=True,
    )


def plain(text: str, record: Record | None = None) -> str:
    """``text`` on one line, without control characters, what follows ``?`` in addresses, and ``record``'s prompts."""
    for value in record.inputs.values() if record is not None else ():
        if isinstance(value, str) and len(value) >= _LONG:
            text = text.replace(value, "…")
    text = _QUERY.sub(r"\1?…", CONTROL.sub(" ", text)).strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
