"""``runner collect``: bring home what is owed, from the folder alone."""

from __future__ import annotations

import json
from pathlib import Path

import click

from runner import app
from runner.commands.common import (
    attend,
    json_even_then,
    known_folder,
    manifest_argument,
    place_options,
    run_loop,
    spoken,
)
from runner.console import Progress, set_up_logging, show_report
from runner.download.place import Folder
from runner.options import RunOptions
from runner.summary import Report


@click.command("collect")
@manifest_argument
@place_options
@click.option("--api", metavar="URL", help="The API's address, with /v1.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="Say only what needs a person.")
@click.option("--verbose", is_flag=True, help="Say every step of every job.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    api: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Bring home what is paid for and not delivered, and buy nothing.

    MANIFEST may be the output folder itself: the results manifest holds all that is needed.

    \b
    Example:
      runner collect output/spring
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    folder = known_folder(manifest, output, emulator=emulator)
    options = RunOptions(emulator=emulator, api=api)
    with json_even_then(lambda: folder, wanted=as_json):
        report = run_loop(lambda: _collect(folder, options, Progress(quiet=quiet)))
    show_report(report, quiet=quiet, target=spoken(manifest, output, emulator=emulator))
    if as_json:
        click.echo(json.dumps(report.as_json()))
    return report.exit_code


async def _collect(folder: Folder, options: RunOptions, progress: Progress) -> Report:
    return await attend(lambda stop: app.collect(folder, options, observer=progress.see, stop=stop), progress)
