"""``runner plan``: the forecast of a run, with its reasons."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from runner.api.config import find_token
from runner.cli.arguments import (
    BudgetType,
    Choice,
    RedoFlags,
    api_options,
    choice_options,
    limit_option,
    manifest_argument,
    on_unknown_option,
    place_options,
    read_manifest,
    redo_options,
    shard_option,
)
from runner.cli.command_help import Command
from runner.cli.console import echo, show_warnings
from runner.cli.plan_view import Sent, show_job, show_overview
from runner.core.aio import run_loop
from runner.core.clock import SystemClock
from runner.core.errors import AccountError
from runner.core.models import Budget, Job, Json
from runner.core.shards import Shard
from runner.engine.catalogue import Quote, emulated_entries, quote
from runner.engine.config import RunConfig
from runner.engine.forecast import KEYS, Forecast, Visit, make_forecast
from runner.engine.options import RunOptions
from runner.engine.redo import RedoMode
from runner.manifest import Manifest, OnUnknown
from runner.planning.rules import Action


@click.command("plan", cls=Command, page="money")
@manifest_argument
@place_options
@choice_options
@limit_option
@shard_option
@redo_options
@on_unknown_option
@click.option("--budget", type=BudgetType(), help="Limit of the folder's cost: 25.00, or 25.00/day.")
@api_options
@click.option("--offline", is_flag=True, help="Do not contact the catalogue; prices are unknown.")
@click.option(
    "--sample", type=click.IntRange(min=0), default=3, metavar="N", help="Show what is sent for N jobs. [default: 3]"
)
@click.option("--jobs", is_flag=True, help="Print the decision about each job, and what is sent for it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    choice: Choice,
    limit: int | None,
    shard: Shard | None,
    redo: RedoFlags,
    on_unknown: str | None,
    budget: Budget | None,
    api: str | None,
    same_api_as: str | None,
    offline: bool,
    sample: int,
    jobs: bool,
    as_json: bool,
) -> int:
    """Show what a run of MANIFEST would do: which jobs it would buy, what is sent, and at what price.
    Submits nothing.

    \b
    Example:
      runner plan jobs/demo.yaml --sample 10
    """
    options = RunOptions(
        output=output,
        only=choice.only,
        only_ids=choice.ids(),
        failed=choice.failed,
        limit=limit,
        shard=shard,
        redo=redo.mode(choice),
        on_unknown=OnUnknown(on_unknown) if on_unknown else None,
        budget=budget,
        emulator=emulator,
        api=api,
        same_api_as=same_api_as,
        offline=offline,
    )
    loaded = read_manifest(manifest, options)
    show_warnings(loaded.warnings)
    if as_json:
        _print_json(loaded, options, sample, jobs=jobs)
    else:
        _print_text(loaded, options, sample, jobs=jobs)
    return 0


class _Plan(NamedTuple):
    """A forecast and its price."""

    found: dict[str, Json]
    """Object that ``--json`` prints."""
    quote: Quote | None
    """Answer of the catalogue; None: nothing is charged."""
    sample: list[Sent]
    """The first jobs to be bought."""
    visit: Callable[[Visit], object]
    """Function that makes the forecast again, and passes each job to its argument: there may be a million."""


def _plan(manifest: Manifest, options: RunOptions, sample: int) -> _Plan:
    config, now = RunConfig.resolve(manifest, options, os.environ), SystemClock().now()
    chosen: list[tuple[Job, str, tuple[str, ...]]] = []

    def choose(job: Job, action: Action, reason: str, changed: tuple[str, ...]) -> None:
        if action is Action.BUY and len(chosen) < sample:
            chosen.append((job, reason, changed))

    forecast = make_forecast(config, manifest.jobs, now=now, visit=choose)
    entries = emulated_entries(forecast.estimate.models) if options.emulator and forecast.estimate.models else {}
    answer = None if options.emulator else _quote(forecast, options, offline=options.offline)
    found = {**forecast.as_json(answer, entries), "left_out": manifest.left_out_rows}
    prices = answer.prices if answer is not None else None
    return _Plan(
        found,
        answer,
        [Sent(*about, prices) for about in chosen],
        lambda visit: make_forecast(config, manifest.jobs, now=now, visit=visit),
    )


def _print_text(manifest: Manifest, options: RunOptions, sample: int, *, jobs: bool) -> None:
    plan = _plan(manifest, options, sample)
    prices = plan.quote.prices if plan.quote is not None else None

    def show(job: Job, action: Action, reason: str, changed: tuple[str, ...]) -> None:
        show_job(action, job.id, reason, Sent(job, reason, changed, prices) if action is Action.BUY else None)

    if jobs:
        plan.visit(show)
    missing = options.redo is RedoMode.MISSING
    show_overview(plan.found, plan.quote, [] if jobs else plan.sample, missing=missing)


def _print_json(manifest: Manifest, options: RunOptions, sample: int, *, jobs: bool) -> None:
    """Print one object; with ``jobs``, also the decision about each job, one at a time."""
    plan = _plan(manifest, options, sample)
    shown = [{"id": sent.job.id, "reason": sent.reason, **sent.as_json()} for sent in plan.sample]
    text = json.dumps({**plan.found, "sample": shown})
    if not jobs:
        echo(text)
        return
    prices = plan.quote.prices if plan.quote is not None else None
    separator = ""

    def show(job: Job, action: Action, reason: str, changed: tuple[str, ...]) -> None:
        nonlocal separator
        about: dict[str, Json] = {"id": job.id, "action": KEYS[action], "reason": reason}
        if action is Action.BUY:
            about["sends"] = Sent(job, reason, changed, prices).as_json()
        echo(f"{separator}{json.dumps(about)}", nl=False)
        separator = ", "

    echo(f'{text[:-1]}, "jobs": [', nl=False)
    plan.visit(show)
    echo("]}")


def _quote(forecast: Forecast, options: RunOptions, *, offline: bool) -> Quote:
    models = forecast.estimate.models
    if offline or not models:
        return Quote(why="--offline" if offline else "")
    try:
        find_token(os.environ)
    except AccountError:
        return Quote(why="no API token: set RUNCOMFY_TOKEN to see prices")
    return run_loop(lambda: quote(models, options, os.environ))
