"""``runner plan``: the forecast of a run, with its reasons."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from runner.api.config import find_token
from runner.cli.arguments import (
    BudgetType,
    Choice,
    RedoFlags,
    ShardType,
    api_options,
    choice_options,
    manifest_argument,
    place_options,
    read_manifest,
    redo_options,
)
from runner.cli.console import echo, say, show_warnings
from runner.core.aio import run_loop
from runner.core.clock import SystemClock
from runner.core.errors import AccountError
from runner.core.models import Budget, Job
from runner.core.shards import Shard
from runner.engine.billing.prices import DURATION_ADVICE, WithoutDuration
from runner.engine.catalogue import Quote, emulated_entries, quote
from runner.engine.config import RunConfig
from runner.engine.forecast import KEYS, Forecast, make_forecast
from runner.engine.model_info import output_words
from runner.engine.options import RunOptions
from runner.manifest import OnUnknown
from runner.planning.rules import Action


@click.command("plan")
@manifest_argument
@place_options
@choice_options
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Select only the first N of these jobs.")
@click.option("--shard", type=ShardType(), metavar="I/N|auto", help="Select only the jobs of shard I of N.")
@redo_options
@click.option(
    "--on-unknown",
    type=click.Choice([str(choice) for choice in OnUnknown]),
    metavar="MODE",
    help="Purchases of unknown outcome: hold, or resubmit.",
)
@click.option("--budget", type=BudgetType(), help="Limit of the folder's cost: 25.00, or 25.00/day.")
@api_options
@click.option("--offline", is_flag=True, help="Do not contact the catalogue; prices are unknown.")
@click.option("--jobs", is_flag=True, help="Print the decision about each job, with the reason.")
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
    jobs: bool,
    as_json: bool,
) -> int:
    """Show what a run of MANIFEST would do: which jobs it would buy, and at what price. Submits nothing.

    \b
    Example:
      runner plan jobs/demo.yaml --jobs
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
    lines: list[dict[str, str]] = []

    def visit(job: Job, action: Action, reason: str) -> None:
        if jobs and as_json:
            lines.append({"id": job.id, "action": KEYS[action], "reason": reason})
        elif jobs:
            say(f"{LABELS.get(action, action.value):<14} {job.id}: {reason}")

    config = RunConfig.resolve(loaded, options, os.environ)
    forecast = make_forecast(config, loaded.jobs, now=SystemClock().now(), visit=visit)
    entries = emulated_entries(forecast.estimate.models) if emulator and forecast.estimate.models else {}
    prices = None if emulator else _quote(forecast, options, offline=offline)
    found = forecast.as_json(prices, entries)
    found["left_out"] = loaded.left_out_rows
    if as_json:
        echo(json.dumps({**found, **({"jobs": lines} if jobs else {})}))
    else:
        _show(found, prices or Quote(), missing=redo.missing)
    return 0


def _quote(forecast: Forecast, options: RunOptions, *, offline: bool) -> Quote:
    models = forecast.estimate.models
    if offline or not models:
        return Quote(why="--offline" if offline else "")
    try:
        find_token(os.environ)
    except AccountError:
        return Quote(why="no API token: set RUNCOMFY_TOKEN to see prices")
    return run_loop(lambda: quote(models, options, os.environ))


def _price_words(found: dict[str, Any], prices: Quote) -> str:
    """Return in words what the purchases may cost according to the live catalogue."""
    lacking = {one["model"]: one["jobs"] for one in found["without_duration"]}
    if found["from_usd"] is None:
        why = "" if lacking else f" ({prices.why or 'the catalogue has none'})"
        return f"total price unknown{why}"
    unpriced = [model for model in found["unpriced"] if model not in lacking]
    price = f"from ${found['from_usd']:.4f}, reserved up to ${found['up_to_usd']:.4f}"
    why = f" ({prices.why})" if prices.why else ""
    price += f", without {', '.join(unpriced)}, whose price is unknown{why}" if unpriced else ""
    return price + (f", without {sum(lacking.values()):,} whose duration is unknown" if lacking else "")


def _cap_words(found: dict[str, Any]) -> str:
    left = f"; budget {found['budget']}, of which ${found['budget_left_usd']:.4f} is left"
    if found["affordable"] is None:
        return left
    if found["affordable"] < found["buy"]:
        jobs = "the first job" if found["affordable"] == 1 else f"the first {found['affordable']:,} jobs"
        return f"{left}: enough for {jobs} at these reserves" if found["affordable"] else f"{left}: too little for any"
    return f"{left}: enough for all of these"


def _show(found: dict[str, Any], prices: Quote, *, missing: bool) -> None:
    say(f"{'1 job' if found['total'] == 1 else format(found['total'], ',') + ' jobs'} → {found['output']}")
    if found["left_out"]:
        say(f"left out by where: {found['left_out']:,}")
    for action, key in KEYS.items():
        if found[key]:
            meaning = MEANING[action] + (OR_BOUGHT if missing and action is Action.DELIVER else "")
            say(f"  {found[key]:>7,}  {LABELS.get(action, action.value)}: {meaning}")
        if action is Action.BUY and found[key]:
            _show_purchases(found, prices)
    if found["owed_by_others"]:
        say(f"  {found['owed_by_others']:>7,}  paid results of jobs that are not selected: downloaded as well")
    if not found["buy"]:
        say("A run would buy nothing.")
    elif found["not_now"]:
        say(f"The next run would buy nothing yet: {found['not_now']}.")


def _show_purchases(found: dict[str, Any], prices: Quote) -> None:
    priced = {part["model"]: _model_words(part) for part in found.get("models", [])}
    for model, kinds in found["makes"].items():
        makes = f"makes {output_words(kinds)}" if kinds else ""
        words = f"{priced[model]}{makes and f'; {makes}'}" if model in priced else f"{model} {makes}"
        if makes or model in priced:
            say(f"           {words}")
    for one in found.get("without_duration", []):
        lacking = str(WithoutDuration(one["model"], one["jobs"], one["example"]))
        if lacking not in (found["not_now"] or ""):
            say(f"           {lacking}; {DURATION_ADVICE}")
    if "from_usd" in found:
        say(f"           {_price_words(found, prices)}{_cap_words(found) if found['budget'] else ''}")
    if found["after_collecting"]:
        say(f"           {found['after_collecting']:,} of them after the download of an older purchase of the job")


def _model_words(part: dict[str, Any]) -> str:
    usd = part["base_price_usd"]
    if usd is None:
        return f"{part['model']}: {part['buy']:,}, price unknown"
    if part["price_unit"] == "second":
        return f"{part['model']}: {part['buy']:,}, {part['seconds']:,} s in total, from ${usd:g} a second"
    return f"{part['model']}: {part['buy']:,}, from ${usd:g} each"


LABELS = {Action.COLLECT: "download", Action.DELIVER: "download again", Action.HOLD: "on hold"}
"""Actions in words for people, where the key of ``--json`` is not plain."""

MEANING = {
    Action.REUSE: "done; nothing to do",
    Action.COLLECT: "paid, not downloaded yet; no further cost",
    Action.DELIVER: "files are missing; no further cost",
    Action.BUY: "submitted and charged",
    Action.HOLD: "may have been bought; resolve with `runner reconcile`",
    Action.FAILED: "failed with these inputs; change them to try again",
}
OR_BOUGHT = ", or bought again if they are unavailable"
