"""``runner run``: submit, poll and download the jobs of a manifest."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import anyio
import click

from runner import __version__
from runner.cli.arguments import (
    BudgetType,
    Choice,
    RedoFlags,
    api_options,
    choice_options,
    find_folder,
    limit_option,
    manifest_argument,
    on_unknown_option,
    place_options,
    read_manifest,
    redo_options,
    shard_option,
)
from runner.cli.command_help import Command
from runner.cli.conclude import ResultsPlace, conclude, output_options
from runner.cli.display import OutputOptions, RunDisplay, make_display
from runner.cli.display.events import Severity
from runner.cli.question import ReplacementQuestion
from runner.cli.signals import attend
from runner.core.aio import run_loop
from runner.core.errors import ManifestError, RunnerError, UsageError
from runner.core.models import Budget, Json
from runner.core.shards import Shard
from runner.core.text import in_words
from runner.engine.config import RunConfig
from runner.engine.options import RunOptions
from runner.engine.stop import Stop
from runner.engine.summary import Report
from runner.files.output_folder import Folder
from runner.ledger import look, open_reader, recognize
from runner.ledger.filesystem import locking_doubt
from runner.manifest import Manifest, OnUnknown
from runner.manifest.problems import Invalid
from runner.manifest.units import duration


class Concurrency(click.ParamType):  # type: ignore[type-arg]  # before 8.4 click's has no parameter
    """Type of a number of requests in flight, 1 to 1000, or ``auto``."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        if value == "auto":
            return "auto"
        if not re.fullmatch(r"[0-9]{1,4}", str(value)) or not 1 <= int(str(value)) <= 1000:
            self.fail(f"{value!r} is neither a number from 1 to 1000 nor auto", param, ctx)
        return int(str(value))


class ClockTime(click.ParamType):  # type: ignore[type-arg]  # before 8.4 click's has no parameter
    """Type of a time of day ``HH:MM``: the moment nearest to now with that local time, in seconds since the epoch."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return nearest_time(str(value), time.time())
        except ValueError:
            self.fail(f"{value!r} is not a time of day; write, for example, 06:30", param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]  # before 8.4 click's has no parameter
    """Type of a duration such as ``4h``, ``90m`` or ``1h30m``, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return duration(str(value))
        except Invalid as invalid:
            self.fail(f"{invalid.what}; {invalid.advice}", param, ctx)


def nearest_time(text: str, now: float) -> float:
    """Return the moment nearest to ``now``, before or after, at which the local clock shows ``HH:MM``.

    The result is in seconds since the epoch. The nearest moment may be in the past: a run that starts late then buys
    nothing, instead of buying until the next day. A time within an hour that the clock skips means the moment as long
    after midnight as on any other day. Raises ``ValueError``.
    """
    shown = time.strptime(text, "%H:%M")
    today = datetime.fromtimestamp(now)  # noqa: DTZ006 - what the clock on the wall shows
    then = today.replace(hour=shown.tm_hour, minute=shown.tm_min, second=0, microsecond=0)
    days = (then - timedelta(days=1), then, then + timedelta(days=1))
    moments = (moment for day in days for moment in _moments(day))
    return min(moments, key=lambda moment: (abs(moment - now), -moment))


def _moments(shown: datetime) -> list[float]:
    """Return the moments at which the local clock shows ``shown``: two if the clock is set back.

    A time within an hour that the clock skips means the moment as long after midnight as on any other day.
    """
    found = [shown.replace(fold=fold).timestamp() for fold in (0, 1)]
    wall = (datetime.fromtimestamp(moment) for moment in found)  # noqa: DTZ006 - what the clock on the wall shows
    real = [moment for moment, seen in zip(found, wall, strict=True) if seen.replace(fold=0) == shown]
    return real or found[:1]


@click.command("run", cls=Command, page="money")
@manifest_argument
@place_options
@click.option("--concurrency", type=Concurrency(), help="Requests in flight at the API: 1 to 1000, or auto.")
@choice_options
@limit_option
@click.option("--buy", type=click.IntRange(min=0), metavar="N", help="Make at most N purchases in this run.")
@shard_option
@click.option("--cluster", metavar="ADDRESS", help="Run on the Dask cluster at ADDRESS, or `local`.")
@redo_options
@on_unknown_option
@click.option("--budget", type=BudgetType(), help="Limit of the folder's cost: 25.00, or 25.00/day.")
@click.option("--until", type=ClockTime(), metavar="HH:MM", help="Stop buying at this time, the nearest to now.")
@click.option("--for", "for_seconds", type=Duration(), metavar="TIME", help="Stop buying after a time: 4h, 90m.")
@click.option("--yes", is_flag=True, help="Replace done pictures without a question.")
@api_options
@click.option("--offline", is_flag=True, help="Use cached schemas and earlier prices.")
@output_options
@click.option("--on-finish", metavar="CMD", help="Run CMD at the end, with the JSON summary as input.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    concurrency: int | Literal["auto"] | None,
    choice: Choice,
    limit: int | None,
    buy: int | None,
    shard: Shard | None,
    cluster: str | None,
    redo: RedoFlags,
    on_unknown: str | None,
    budget: Budget | None,
    until: float | None,
    for_seconds: float | None,
    yes: bool,
    api: str | None,
    same_api_as: str | None,
    offline: bool,
    as_json: bool,
    shown: OutputOptions,
    on_finish: str | None,
) -> int:
    """Submit the jobs of MANIFEST and download the results, or continue a run.

    \b
    Examples:
      runner run jobs/nightly.yaml --quiet --budget 25/day --until 06:30
      runner run jobs/demo.yaml --redo --only 'mug-*'
    """

    def chosen() -> RunOptions:  # in ``conclude``: the hook learns of invalid options too
        return RunOptions(
            output=output,
            concurrency=concurrency,
            only=choice.only,
            only_ids=choice.ids(),
            failed=choice.failed,
            limit=limit,
            buy=buy,
            shard=shard,
            redo=redo.mode(choice),
            on_unknown=OnUnknown(on_unknown) if on_unknown else None,
            budget=budget,
            until=until,
            for_seconds=for_seconds,
            emulator=emulator,
            api=api,
            same_api_as=same_api_as,
            offline=offline,
        )

    place = ResultsPlace(manifest=manifest, output=output, emulator=emulator, shard=shard)
    display = make_display(shown)
    return conclude(
        lambda: _go(manifest, chosen(), cluster, display, yes=yes), display, place, as_json=as_json, on_finish=on_finish
    )


def _go(target: str, options: RunOptions, cluster: str | None, display: RunDisplay, *, yes: bool) -> Report:
    """Read the manifest and run it. Raises ``RunnerError``."""
    try:
        loaded = read_manifest(target, options)
    except ManifestError as error:
        try:
            error.did = _collect_all_the_same(target, options, display)
        except RunnerError as other:  # the problems of the manifest are reported in any case
            display.say(str(other), weight=Severity.ALERT, level="error", message=str(other))
        raise
    config = RunConfig.resolve(loaded, options, os.environ)
    if cluster is not None:
        return _on_cluster(config, loaded, options, cluster, display, yes=yes)
    return run_loop(lambda: _run(config, loaded, display, yes=yes))


async def _run(config: RunConfig, manifest: Manifest, display: RunDisplay, *, yes: bool) -> Report:
    from runner.engine import operations  # noqa: PLC0415 - loads the HTTP client, which `--help` does not need

    _begin(config, manifest, display, f" (shard {config.shard})" if config.shard is not None else "")
    if config.shard is not None:
        _warn_of_locks(config.folder.root, display)

    async def work(stop: Stop) -> Report:
        confirm = ReplacementQuestion(display, stop, yes=yes)
        return await operations.run_jobs(config, manifest, observer=display, stop=stop, confirm=confirm)

    return await attend(work, display)


def _begin(config: RunConfig, manifest: Manifest, display: RunDisplay, where: str) -> None:
    display.warn(manifest.warnings)
    source, root = str(manifest.source), config.folder.root
    display.say(f"{source} → {root}{where}", "run_started", manifest=source, output=str(root), version=__version__)
    if config.until is not None:
        display.say(until_words(config.until, time.time()))


def until_words(until: float, now: float) -> str:
    """Return in words which moment ``--until`` means."""
    moment = datetime.fromtimestamp(until).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006 - what the clock on the wall shows
    if until > now:
        return f"buying until {moment}, {in_words(until - now)} from now"
    return f"{moment} was {in_words(now - until)} ago: this run buys nothing, and downloads paid results"


def _warn_of_locks(root: Path, display: RunDisplay) -> None:
    if doubt := locking_doubt(root):
        text = f"{doubt}. Shards on several machines could buy jobs twice; see `runner guide scaling`."
        display.say(text, weight=Severity.ALERT, level="warning", message=text)


def _on_cluster(
    config: RunConfig, manifest: Manifest, options: RunOptions, address: str, display: RunDisplay, *, yes: bool
) -> Report:
    """Run the manifest on the workers of a cluster; each worker resolves ``options`` itself.

    Raises ``UsageError`` if the extra is not installed.
    """
    try:
        from runner.cluster import coordinator, dask_client  # noqa: PLC0415 - needs an extra, and takes 1 s to import
    except ImportError as error:
        raise UsageError(f"--cluster needs an extra: pip install 'runcomfy-runner[dask]' ({error})") from error

    async def work(stop: Stop) -> Report:
        confirm = ReplacementQuestion(display, stop, yes=yes)
        return await coordinator.run(
            config, manifest, options, address, observer=display, say=display.say, stop=stop, confirm=confirm
        )

    _begin(config, manifest, display, f" (on the cluster at {address})")
    if address != dask_client.LOCAL:
        _warn_of_locks(config.folder.root, display)
    return anyio.run(attend, work, display)


def _collect_all_the_same(target: str, options: RunOptions, display: RunDisplay) -> dict[str, Json] | None:
    """Download the owed results of earlier runs even though the manifest is invalid; buy nothing.

    Return the ``--json`` object of the download; None if nothing is owed.
    """
    folder = find_folder(target, options.output, emulator=options.emulator)
    if not look(folder.root).found:
        options = replace(options, shard=None)
    owed = _count_owed(folder, options)
    if not owed:
        return None
    from runner.engine import operations  # noqa: PLC0415 - loads the HTTP client, which `--help` does not need

    display.say(f"the manifest has problems; downloading {owed:,} paid results of earlier runs first")
    report = run_loop(
        lambda: attend(lambda stop: operations.collect(folder, options, observer=display, stop=stop), display)
    )
    display.say(f"downloaded: {report.done:,}; paid, not downloaded yet: {report.owed + report.unknown:,}")
    return report.as_json()


def _count_owed(folder: Folder, options: RunOptions) -> int:
    with open_reader(folder.root) as ledger:
        recognize(options.api_base(os.environ).name, ledger, same_as=options.same_api)
        owed = ledger.owed(options.api_base(os.environ).name)
        return sum(options.shard is None or options.shard.owns(record.id) for record in owed)
