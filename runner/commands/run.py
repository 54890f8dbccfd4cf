"""``runner run``: the main job."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import click

from runner import app
from runner.commands.common import (
    BudgetType,
    attend,
    find_folder,
    json_even_then,
    manifest_argument,
    place_options,
    read_manifest,
    run_loop,
    spoken,
)
from runner.console import Progress, set_up_logging, show_error, show_report, show_warnings
from runner.download.place import Folder
from runner.errors import ManifestError, RunnerError
from runner.manifest import Manifest, OnUnknown
from runner.model import Budget
from runner.options import RunOptions, api_of, reading
from runner.summary import Report


class Concurrency(click.ParamType["int | Literal['auto']"]):
    """A number of requests in flight, or ``auto``."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        if value == "auto":
            return "auto"
        if not str(value).isdecimal() or not 1 <= int(str(value)) <= 1000:
            self.fail(f"{value!r} is neither a number from 1 to 1000 nor auto", param, ctx)
        return int(str(value))


class ClockTime(click.ParamType[float]):
    """The next time that the local clock shows ``HH:MM``, in seconds since the epoch."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return next_time(str(value), datetime.now().astimezone())
        except ValueError:
            self.fail(f"{value!r} is no time of day; write 06:30", param, ctx)


def next_time(text: str, now: datetime) -> float:
    """When it is ``HH:MM`` next after ``now``. Raises ``ValueError``."""
    hour, minute = (int(part) for part in text.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    return (then if then > now else then + timedelta(days=1)).timestamp()


@click.command("run")
@manifest_argument
@place_options
@click.option("--concurrency", type=Concurrency(), help="Requests in flight at the API: 1 to 1000, or auto.")
@click.option("--only", metavar="GLOB", help="Only jobs whose id matches.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the first N of the selected jobs.")
@click.option("--redo", is_flag=True, help="Buy done jobs anew; wants --only, --missing or --all.")
@click.option("--missing", is_flag=True, help="With --redo: jobs whose files are gone, at the API too.")
@click.option("--all", "every", is_flag=True, help="With --redo: every done job.")
@click.option("--on-unknown", type=click.Choice([str(word) for word in OnUnknown]), help="What to do with unknowns.")
@click.option("--budget", type=BudgetType(), help="USD that this folder may cost, ever or a day: 25.00, 25.00/day.")
@click.option("--until", type=ClockTime(), metavar="HH:MM", help="Stop buying at that time of day.")
@click.option("--api", metavar="URL", help="The API's address, with /v1.")
@click.option("--offline", is_flag=True, help="Ask the catalogue nothing: earlier schemas and prices serve.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="Say only what needs a person.")
@click.option("--verbose", is_flag=True, help="Say every step of every job.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    concurrency: int | Literal["auto"] | None,
    only: str | None,
    limit: int | None,
    redo: bool,
    missing: bool,
    every: bool,
    on_unknown: str | None,
    budget: Budget | None,
    until: float | None,
    api: str | None,
    offline: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Submit the jobs of MANIFEST, collect and deliver them.

    Repeating the same command goes on where the last run ended, however it ended.

    \b
    Example:
      runner run jobs/demo.yaml --emulator
      runner run jobs/demo.yaml --redo --only 'mug-*'
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    options = RunOptions(
        output=output,
        concurrency=concurrency,
        only=only,
        limit=limit,
        redo=redo,
        missing=missing,
        every=every,
        on_unknown=OnUnknown(on_unknown) if on_unknown else None,
        budget=budget,
        until=until,
        emulator=emulator,
        api=api,
        offline=offline,
    )
    with json_even_then(lambda: find_folder(manifest, output, emulator=emulator), wanted=as_json):
        try:
            loaded = read_manifest(manifest, options)
        except ManifestError:
            _collect_all_the_same(find_folder(manifest, output, emulator=emulator), options)
            raise
        report = run_loop(lambda: _run(loaded, options, Progress(quiet=quiet)))
    show_report(report, quiet=quiet, target=spoken(manifest, output, emulator=emulator))
    if as_json:
        click.echo(json.dumps(report.as_json()))
    return report.exit_code


async def _run(manifest: Manifest, options: RunOptions, progress: Progress) -> Report:
    show_warnings(manifest.warnings)
    progress.say(f"{manifest.source} → {options.folder(manifest).root}")
    return await attend(
        lambda stop: app.run(manifest, options, observer=progress.see, stop=stop),
        progress,
    )


def _collect_all_the_same(folder: Folder, options: RunOptions) -> None:
    """A manifest with faults buys nothing; what is owed from before is brought home nevertheless."""
    with reading(folder) as ledger:
        owed = len(ledger.owed(api_of(options, os.environ).name))
    if not owed:
        return
    click.echo(f"runner: bringing home {owed} paid results of earlier runs all the same", err=True)
    try:
        report = run_loop(lambda: app.collect(folder, options))
    except RunnerError as error:
        show_error(error)
    else:
        show_report(report, quiet=False)
