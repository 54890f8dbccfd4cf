"""Terminal output that is safe for untrusted text, and output of a command's errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from runner.core.errors import ManifestError, OutputError, RunnerError
from runner.core.text import CONTROL, DRIVES

if TYPE_CHECKING:
    from runner.core.models import Problem, Record

MAX_PROBLEMS = 200

_CONTROL = re.compile(f"[{DRIVES}]")

_CONTROL_OR_BREAK = re.compile(f"[\n{DRIVES}]")

MAX_TEXT = 300

_QUERY = re.compile(r"(\bhttps?://[^\s?#'\"]+)[?#][^\s'\"]*")

_LONG = 12
"""Characters of a text input from which on it is treated as a prompt and removed; a shorter one reveals no prompt."""


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text that needs no replacements. Raises ``OutputError`` if standard output cannot be written.

    A standard error that cannot be written is ignored: there is no other place for a message.
    """
    try:
        click.echo(text, err=err, nl=nl)
    except BrokenPipeError:  # the reader has read enough, as `| head` does; click ends the process
        raise
    except OSError as error:
        if not err:
            raise OutputError(f"standard output cannot be written: {error.strerror}") from None


def say(line: str, *, err: bool = False) -> None:
    """Print one line of untrusted text.

    Line breaks and the characters that control a terminal are replaced with U+FFFD.
    """
    echo(printable(line), err=err)


def printable(line: str) -> str:
    """Return one line of untrusted text with its control characters and line breaks replaced with U+FFFD."""
    return _CONTROL_OR_BREAK.sub("\ufffd", line)


def say_all(text: str, *, err: bool = False) -> None:
    """Print untrusted text of several lines. Only the characters that control a terminal are replaced with U+FFFD."""
    echo(_CONTROL.sub("\ufffd", text), err=err)


def show_warnings(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        say_all(warning_words(warning), err=True)


def warning_words(warning: Problem) -> str:
    return f"{warning.place}: warning: {warning.what}" + (f" ({warning.advice})" if warning.advice else "")


def show_error(error: RunnerError) -> None:
    """Print the error that ended a command."""
    if isinstance(error, ManifestError):
        show_problems(error)
    else:
        say_all(f"runner: {error}", err=True)


def show_problems(error: ManifestError) -> None:
    """Print the problems of a manifest, ``MAX_PROBLEMS`` at most, and their total number."""
    for problem in error.problems[:MAX_PROBLEMS]:
        say_all(str(problem), err=True)
    count = error.count
    more = f", {MAX_PROBLEMS} of them shown" if count > MAX_PROBLEMS else ""
    echo(
        f"runner: {count:,} {'problem' if count == 1 else 'problems'} in the manifest{more}; nothing was bought",
        err=True,
    )


def plain(text: str, record: Record | None = None) -> str:
    """Return ``text`` on one line of at most ``MAX_TEXT`` characters, without private parts.

    Control characters become blanks. The query or fragment of every address, and the long text inputs (prompts) of
    ``record``, are each replaced with an ellipsis.
    """
    for value in record.inputs.values() if record is not None else ():
        if isinstance(value, str) and len(value) >= _LONG:
            text = text.replace(value, "…")
    text = _QUERY.sub(r"\1?…", CONTROL.sub(" ", text)).strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
