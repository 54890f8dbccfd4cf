"""``runner reconcile``: list purchases whose outcome is uncertain, and resolve them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from runner.cli.arguments import (
    api_options,
    known_folder,
    manifest_argument,
    place_options,
    readable_folder,
)
from runner.cli.command_help import Command
from runner.cli.console import echo, say
from runner.core.aio import run_loop
from runner.core.errors import UsageError
from runner.core.models import Record, State
from runner.engine.maintenance.reconcile import (
    OpenPurchases,
    Resolution,
    ResolutionRequest,
    find_open_purchases,
    parse_adopt,
    parse_name,
)
from runner.engine.options import RunOptions
from runner.files.output_folder import Folder
from runner.ledger import holders, look, open_reader

PROMPT_LENGTH = 70


@click.command("reconcile", cls=Command, page="money")
@manifest_argument
@place_options
@click.option("--adopt", multiple=True, metavar="ID=REQUEST_ID", help="Record that it was bought as this request.")
@click.option("--lost", multiple=True, metavar="ID", help="Give it up: not bought, or unavailable; buy the job again.")
@click.option("--rebuy", multiple=True, metavar="ID|all", help="Keep it as spent, and buy the job again, once.")
@click.option("--accept", multiple=True, metavar="ID", help="Close a paid, unavailable one; buy nothing.")
@api_options
@click.option("--offline", is_flag=True, help="Adopt without asking the API about the request.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    adopt: tuple[str, ...],
    lost: tuple[str, ...],
    rebuy: tuple[str, ...],
    accept: tuple[str, ...],
    api: str | None,
    same_api_as: str | None,
    offline: bool,
    as_json: bool,
) -> int:
    """List purchases of MANIFEST whose outcome is uncertain, and resolve them.

    An unknown purchase may have been charged: look for it on RunComfy's Generations page, by time and prompt. A stuck
    purchase is paid, but its result is unavailable. If a job has several such purchases, write ID/PURCHASE for ID.
    MANIFEST may also be the output folder.

    \b
    Examples:
      runner reconcile output/spring
      runner reconcile output/spring --adopt mug-hero=req_8f2a --lost tote
    """
    requests = _read(adopt, lost, rebuy, accept)
    find = known_folder if requests else readable_folder
    folder = find(manifest, output, emulator=emulator)
    if requests:
        options = RunOptions(emulator=emulator, api=api, same_api_as=same_api_as, offline=offline)
        found = run_loop(lambda: _resolve(folder, requests, options))
    else:
        with open_reader(folder.root) as ledger:
            found = find_open_purchases(ledger)
    if as_json:
        echo(json.dumps(_as_json(found, folder)))
    else:
        _show(found, folder, manifest, resolved=len(requests))
    return found.exit_code


async def _resolve(folder: Folder, requests: list[ResolutionRequest], options: RunOptions) -> OpenPurchases:
    from runner.engine import operations  # noqa: PLC0415 - the HTTP client is slow to import, and listing does not need it

    return await operations.reconcile(folder, requests, options)


def _read(
    adopt: tuple[str, ...], lost: tuple[str, ...], rebuy: tuple[str, ...], accept: tuple[str, ...]
) -> list[ResolutionRequest]:
    try:
        adopted = [parse_adopt(text) for text in adopt]
    except ValueError as error:
        raise UsageError(f"{error}. Nothing was recorded.") from None
    named = {Resolution.LOST: lost, Resolution.REBUY: rebuy, Resolution.ACCEPT: accept}
    return [*adopted, *(parse_name(resolution, text) for resolution, texts in named.items() for text in texts)]


def _as_json(found: OpenPurchases, folder: Folder) -> dict[str, object]:
    return {
        "unknown": [_entry(record) for record in found.unknown],
        "stuck": [_entry(record) for record in found.stuck],
        "passed": [_entry(record) for record in found.passed],
        "output": str(folder.root),
    }


def _entry(record: Record) -> dict[str, object]:
    return {
        "id": record.id,
        "purchase": record.purchase,
        "state": record.state.value,
        "intended_at": _when(record),
        "model": record.model,
        "prompt": _prompt(record),
        "reserved_usd": record.reserved_usd,
        "cost_usd": record.cost_usd,
        "request_id": record.request_id,
        "error": record.error.code if record.error else None,
        "message": record.error.message if record.error else None,
        "api": record.api,
    }


def _when(record: Record) -> str:
    """Return the time of the intent; the nearest later time on record if it is unknown."""
    return record.intended_at or record.submitted_at or record.at


def _prompt(record: Record) -> str:
    """Return the prompt on one line of at most ``PROMPT_LENGTH`` characters; all inputs if there is no prompt."""
    given = record.inputs.get("prompt", record.inputs)
    text = " ".join(str(given).split())
    return text if len(text) <= PROMPT_LENGTH else f"{text[: PROMPT_LENGTH - 1]}…"


def _show(found: OpenPurchases, folder: Folder, manifest: str, *, resolved: int) -> None:
    if resolved:
        say(f"Resolved: {resolved}. The next `runner run` applies this.")
    if not found.open:
        say(f"{folder.root}: every purchase is resolved")
    here = shlex.quote(manifest)
    if found.unknown:
        say(f"Unknown outcome, may have been charged: {len(found.unknown):,}")
        say("Look for each one on RunComfy's Generations page, by time and prompt. If it is")
        say(f"  there:      runner reconcile {here} --adopt ID=REQUEST_ID   (downloads it at no cost)")
        say(f"  not there:  runner reconcile {here} --lost ID               (buys the job again)")
        say(f"  uncertain:  runner reconcile {here} --rebuy ID              (counts it as spent, buys again)")
        _list(found.unknown)
    if found.stuck:
        say(f"Stuck, paid but unavailable: {len(found.stuck):,}")
        say("Every run tries to download them again, at no cost. To resolve one:")
        say(f"  close it:   runner reconcile {here} --accept ID   (counts as spent; not bought again)")
        say(f"  give it up: runner reconcile {here} --lost ID     (counts as spent; bought again)")
        say(f"  buy again:  runner reconcile {here} --rebuy ID    (the same, and the download is still tried)")
        _list(found.stuck)
    if found.passed:
        say(f"Unknown outcome, job bought again since or in the next run: {len(found.passed):,} (counted as spent)")
        _list(found.passed)
    busy = holders(look(folder.root))
    if busy and any(record.state is State.SUBMITTING for record in found.open):
        say(f"A run is in progress ({'; '.join(busy)}): purchases in state submitting may still be resolved.", err=True)


def _list(records: tuple[Record, ...]) -> None:
    for record in records:
        reserve = f"${record.reserved_usd:.4f}" if record.reserved_usd is not None else "price unknown"
        request = f", request {record.request_id}" if record.request_id else ""
        why = f": {record.error.code}: {record.error.message}" if record.error else ""
        say(f"  {record.id}/{record.purchase}  {_when(record)}  {record.model}  {reserve}{request}{why}")
        say(f"      {_prompt(record)}")
