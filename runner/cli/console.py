"""What is said in a terminal, for every verb: safely, whoever wrote the words; and what went wrong with a command."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from runner.core.errors import ManifestError, RunnerError
from runner.core.text import DRIVES

if TYPE_CHECKING:
    from runner.core.models import Problem

MAX_PROBLEMS = 200
_CONTROL = re.compile(f"[{DRIVES}]")
_CONTROL_OR_BREAK = re.compile(f"[\n{DRIVES}]")


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
