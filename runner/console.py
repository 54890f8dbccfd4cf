"""What is said on standard error of a manifest and of what went wrong, for every verb."""

from __future__ import annotations

from collections.abc import Iterable

import click

from runner.errors import ManifestError, RunnerError
from runner.model import Problem

MAX_PROBLEMS = 200


def show_warnings(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        click.echo(warning_words(warning), err=True)


def warning_words(warning: Problem) -> str:
    return f"{warning.place}: warning: {warning.what}" + (f" ({warning.advice})" if warning.advice else "")


def show_error(error: RunnerError) -> None:
    """Say what went wrong with a command as a whole."""
    if isinstance(error, ManifestError):
        show_problems(error)
    else:
        click.echo(f"runner: {error}", err=True)


def show_problems(error: ManifestError) -> None:
    """Print a manifest's faults, up to a number that a person reads."""
    for problem in error.problems[:MAX_PROBLEMS]:
        click.echo(str(problem), err=True)
    count = error.count
    more = f", {MAX_PROBLEMS} of them shown" if count > MAX_PROBLEMS else ""
    click.echo(
        f"runner: {count:,} {'fault' if count == 1 else 'faults'} in the manifest{more}; nothing was bought",
        err=True,
    )
