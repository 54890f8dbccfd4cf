"""``runner plan``: the forecast of a run, with its reasons."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from runner.api.config import find_token
from runner.cli.arguments import BudgetType, ShardType, manifest_argument, place_options, read_manifest, same_api_option
from runner.cli.console import say, show_warnings
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
@click.option("--only", metavar="GLOB", help="Only jobs whose id matches.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the first N of the selected jobs.")
@click.option("--shard", type=ShardType(), metavar="I/N|auto", help="Only part I of N, as `run` takes it.")
@click.option("--redo", is_flag=True, help="Plan a redo; wants --only, --missing or --all, as `run` does.")
@click.option("--missing", is_flag=True, help="With --redo: jobs whose files are gone, at the API too.")
@click.option("--all", "every", is_flag=True, help="With --redo: every done job.")
@click.option("--on-unknown", type=click.Choice([str(word) for word in OnUnknown]), help="What to do with unknowns.")
@click.option("--budget", type=BudgetType(), help="USD that this folder may cost, ever or a day: 25.00, 25.00/day.")
@click.option("--api", metavar="URL", help="The API's address, with /v1.")
@same_api_option
@click.option("--offline", is_flag=True, help="Ask the catalogue nothing, neither schemas nor prices.")
@click.option("--jobs", is_flag=True, help="Say for each job what would be done with it, and why.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    only: str | None,
    limit: int | None,
    shard: Shard | None,
    redo: bool,
    missing: bool,
    every: bool,
    on_unknown: str | None,
    budget: Budget | None,
    api: str | None,
    same_api_as: str | None,
    offline: bool,
    jobs: bool,
    as_json: bool,
) -> int:
    """Say what a run of MANIFEST would do: reuse, collect, deliver again, buy, hold. Submits nothing.

    \b
    Example:
      runner plan jobs/demo.yaml --jobs
    """
    options = RunOptions(
        output=output,
        only=only,
        limit=limit,
        shard=shard,
        redo=redo,
        missing=missing,
        every=every,
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
            say(f"{action.value:<13} {job.id}: {reason}")

    config = RunConfig.resolve(loaded, options, os.environ)
    forecast = make_forecast(config, loaded.jobs, now=SystemClock().now(), visit=visit)
    entries = emulated_entries(forecast.estimate.models) if emulator and forecast.estimate.models else {}
    found = forecast.as_json(None if emulator else _quote(forecast, options, offline=offline), entries)
    if as_json:
        click.echo(json.dumps({**found, **({"jobs": lines} if jobs else {})}))
    else:
        _show(found, missing=missing)
    return 0


def _quote(forecast: Forecast, options: RunOptions, *, offline: bool) -> Quote:
    models = forecast.estimate.models
    if offline or not models:
        return Quote()
    try:
        find_token(os.environ)
    except AccountError:
        return Quote()
    return run_loop(lambda: quote(models, options, os.environ))


def _price_words(found: dict[str, Any]) -> str:
    """Return in words what the purchases may cost by the live catalogue."""
    lacking = {one["model"]: one["jobs"] for one in found["without_duration"]}
    if found["from_usd"] is None:
        why = "" if lacking else " (no token, or the catalogue names none)"
        return f"at a price that is not known here{why}"
    unpriced = [model for model in found["unpriced"] if model not in lacking]
    price = f"from ${found['from_usd']:.4f}, reserved up to ${found['up_to_usd']:.4f}"
    price += f", without {', '.join(unpriced)}, whose price is unknown" if unpriced else ""
    return price + (f", without {sum(lacking.values()):,} whose duration is unknown" if lacking else "")


def _cap_words(found: dict[str, Any]) -> str:
    left = f"; the budget is {found['budget']}, and ${found['budget_left_usd']:.4f} of it is left"
    if found["affordable"] is None:
        return left
    if found["affordable"] < found["buy"]:
        return f"{left}: enough for the first {found['affordable']:,} of these by what is reserved"
    return f"{left}: enough for all of these"


def _show(found: dict[str, Any], *, missing: bool) -> None:
    say(f"{found['total']} jobs → {found['output']}")
    for action, key in KEYS.items():
        if found[key]:
            meaning = MEANING[action] + (OR_BOUGHT if missing and action is Action.DELIVER else "")
            say(f"  {found[key]:>7,}  {action.value}: {meaning}")
        if action is Action.BUY and found[key]:
            _show_purchases(found)
    if found["owed_by_others"]:
        say(f"  {found['owed_by_others']:>7,}  paid results of jobs that are not selected here are collected as well")
    if not found["buy"]:
        say("A run would buy nothing.")
    elif found["not_now"]:
        say(f"But the next run would buy nothing: {found['not_now']}.")


def _show_purchases(found: dict[str, Any]) -> None:
    priced = {part["model"]: _model_words(part) for part in found.get("models", [])}
    for model, kinds in found["makes"].items():
        makes = f"makes {output_words(kinds)}" if kinds else ""
        words = f"{priced[model]}{makes and f'; {makes}'}" if model in priced else f"{model} {makes}"
        if makes or model in priced:
            say(f"           {words}")
    for one in found.get("without_duration", []):
        lacking = str(WithoutDuration(one["model"], one["jobs"], one["example"]))
        if lacking not in (found["not_now"] or ""):
            say(f"           {lacking}: {DURATION_ADVICE}, and the price is known")
    if "from_usd" in found:
        say(f"           {_price_words(found)}{_cap_words(found) if found['budget'] else ''}")
    if found["after_collecting"]:
        say(f"           {found['after_collecting']:,} of them once an older purchase of the job is fetched")


def _model_words(part: dict[str, Any]) -> str:
    usd = part["base_price_usd"]
    if usd is None:
        return f"{part['model']}: {part['buy']:,}, price unknown"
    if part["price_unit"] == "second":
        return f"{part['model']}: {part['buy']:,}, {part['seconds']:,} s in all, from ${usd:g} a second"
    return f"{part['model']}: {part['buy']:,}, from ${usd:g} each"


MEANING = {
    Action.REUSE: "done already; nothing is sent",
    Action.COLLECT: "paid for in an earlier run; its result is fetched",
    Action.DELIVER: "files are gone; they are fetched again without buying",
    Action.BUY: "would be submitted, and charged",
    Action.HOLD: "may have been bought; waits for your word (runner reconcile)",
    Action.FAILED: "failed with these inputs; change them to try again",
}
OR_BOUGHT = ", and what the API does not have any more is bought anew"
