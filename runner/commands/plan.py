"""``runner plan``: what a run would do, and why."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from runner.commands.common import manifest_argument, place_options, read_manifest, run_loop
from runner.console import show_warnings
from runner.model import Budget, Job
from runner.money import Estimate
from runner.options import RunOptions, api_of, reading, surveyor_of
from runner.plan import Action, Decision
from runner.survey import Survey, survey

CATEGORIES = (Action.REUSE, Action.COLLECT, Action.DELIVER, Action.BUY, Action.HOLD, Action.FAILED)
KEYS = {action: action.value.replace(" ", "_") for action in CATEGORIES}


@click.command("plan")
@manifest_argument
@place_options
@click.option("--only", metavar="GLOB", help="Only jobs whose id matches.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the first N of the selected jobs.")
@click.option("--api", metavar="URL", help="The API's address, with /v1.")
@click.option("--offline", is_flag=True, help="Do not ask the catalogue for prices.")
@click.option("--jobs", is_flag=True, help="Say for each job what would be done with it, and why.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    only: str | None,
    limit: int | None,
    api: str | None,
    offline: bool,
    jobs: bool,
    as_json: bool,
) -> int:
    """Say what a run of MANIFEST would do: reuse, collect, deliver again, buy, hold. Submits nothing.

    \b
    Example:
      runner plan jobs/demo.yaml --jobs
    """
    options = RunOptions(output=output, only=only, limit=limit, emulator=emulator, api=api)
    loaded = read_manifest(manifest)
    show_warnings(loaded.warnings)
    folder = options.folder(loaded)
    lines: list[dict[str, str]] = []
    estimate = Estimate()

    def visit(job: Job, decision: Decision) -> None:
        if decision.action is Action.BUY:
            estimate.add(job)
        if jobs and as_json:
            lines.append({"id": job.id, "action": KEYS[decision.action.category], "reason": decision.reason})
        elif jobs:
            click.echo(f"{decision.action.category.value:<13} {job.id}: {decision.reason}")

    with reading(folder) as ledger:
        base = api_of(options, os.environ)
        surveyor = surveyor_of(loaded, options, ledger, folder, base)
        found = survey(surveyor, options.selection.of(loaded.jobs), visit)
        others = sum(record.id not in found.collecting and not record.rebuy for record in ledger.owed(base.name))
    known: dict[str, float | None] = {}
    if not (offline or emulator):
        from runner.app import prices  # noqa: PLC0415 - HTTP takes a while to load, and most plans need none

        known = run_loop(lambda: prices(estimate.models, options, os.environ))
    money = {} if emulator else _money(estimate, known, loaded.settings.budget)
    _show(found, others, folder.root, as_json=as_json, lines=lines if jobs else None, money=money)
    return 0


def _money(estimate: Estimate, known: dict[str, float | None], budget: Budget | None) -> dict[str, Any]:
    """What the purchases may cost, by the live catalogue."""
    low, high = estimate.range_usd(known)
    unpriced = estimate.unpriced(known)
    some = len(unpriced) < len(estimate.models)
    cap = f"${budget.usd:g}{' a day' if budget.per_day else ''}" if budget is not None else None
    return {
        "from_usd": round(low, 6) if some else None,
        "up_to_usd": round(high, 6) if some else None,
        "unpriced": unpriced,
        "budget": cap,
    }


def _money_words(money: dict[str, Any]) -> str:
    price = "at a price that is not known here (no token, or the catalogue names none)"
    if money["from_usd"] is not None:
        price = f"from ${money['from_usd']:.4f}, reserved up to ${money['up_to_usd']:.4f}"
        price += f", without {', '.join(money['unpriced'])}" if money["unpriced"] else ""
    return price + (f"; the budget is {money['budget']}" if money["budget"] else "")


def _show(
    found: Survey,
    others: int,
    output: Path,
    *,
    as_json: bool,
    lines: list[dict[str, str]] | None,
    money: dict[str, Any],
) -> None:
    counts = {key: sum(found.actions[a] for a in Action if a.category is action) for action, key in KEYS.items()}
    if as_json:
        listed = {"jobs": lines} if lines is not None else {}
        also = {"owed_by_others": others, **money, "output": str(output)}
        click.echo(json.dumps({"total": sum(counts.values()), **counts, **also, **listed}))
        return
    click.echo(f"{sum(counts.values())} jobs → {output}")
    for action, key in KEYS.items():
        if counts[key]:
            click.echo(f"  {counts[key]:>7,}  {action.value}: {MEANING[action]}")
        if action is Action.BUY and counts[key] and money:
            click.echo(f"           {_money_words(money)}")
    if others:
        click.echo(f"  {others:>7,}  paid results of jobs that are not selected here are collected as well")
    if not counts["buy"]:
        click.echo("A run would buy nothing.")


MEANING = {
    Action.REUSE: "done already; nothing is sent",
    Action.COLLECT: "paid for in an earlier run; its result is fetched",
    Action.DELIVER: "files are gone; they are fetched again without buying",
    Action.BUY: "would be submitted, and charged",
    Action.HOLD: "may have been bought; waits for your word (runner reconcile)",
    Action.FAILED: "failed with these inputs; change them to try again",
}
