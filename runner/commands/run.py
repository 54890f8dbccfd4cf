"""``runner run``: the main job."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from runner import app
from runner.cli import show_problems
from runner.commands.common import (
    attend,
    find_folder,
    manifest_argument,
    place_options,
    read_manifest,
    run_loop,
)
from runner.console import Progress, set_up_logging, show_report, show_warnings
from runner.download.place import Folder
from runner.errors import ManifestError, RunnerError
from runner.manifest import Manifest, OnUnknown
from runner.summary import Report


@click.command("run")
@manifest_argument
@place_options
@click.option("--concurrency", type=click.IntRange(1, 1000), help="Requests in flight at the API.")
@click.option("--only", metavar="GLOB", help="Only jobs whose id matches.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the first N of the selected jobs.")
@click.option("--on-unknown", type=click.Choice([str(word) for word in OnUnknown]), help="What to do with unknowns.")
@click.option("--api", metavar="URL", help="The API's address, with /v1.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="Say only what needs a person.")
@click.option("--verbose", is_flag=True, help="Say every step of every job.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    concurrency: int | None,
    only: str | None,
    limit: int | None,
    on_unknown: str | None,
    api: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Submit the jobs of MANIFEST, collect and deliver them.

    Repeating the same command goes on where the last run ended, however it ended.

    \b
    Example:
      runner run jobs/demo.yaml --emulator
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    options = app.RunOptions(
        output=output,
        concurrency=concurrency,
        only=only,
        limit=limit,
        on_unknown=OnUnknown(on_unknown) if on_unknown else None,
        emulator=emulator,
        api=api,
    )
    try:
        loaded = read_manifest(manifest)
    except ManifestError as error:
        show_problems(error)
        _collect_all_the_same(find_folder(manifest, output, emulator=emulator), options)
        return error.exit_code
    report = run_loop(lambda: _run(loaded, options, Progress(quiet=quiet)))
    show_report(report, quiet=quiet)
    if as_json:
        click.echo(json.dumps(report.as_json()))
    return report.exit_code


async def _run(manifest: Manifest, options: app.RunOptions, progress: Progress) -> Report:
    show_warnings(manifest.warnings)
    progress.say(f"{manifest.source} → {options.folder(manifest).root}")
    return await attend(
        lambda stop: app.run(manifest, options, observer=progress.see, stop=stop),
        progress,
    )


def _collect_all_the_same(folder: Folder, options: app.RunOptions) -> None:
    """A manifest with faults buys nothing; what is owed from before is brought home nevertheless."""
    with app.reading(folder) as ledger:
        owed = len(ledger.owed(app.api_of(options, os.environ).name))
    if not owed:
        return
    click.echo(f"runner: bringing home {owed} paid results of earlier runs all the same", err=True)
    try:
        report = run_loop(lambda: app.collect(folder, options))
    except RunnerError as error:
        click.echo(f"runner: {error}", err=True)
    else:
        show_report(report, quiet=False)
