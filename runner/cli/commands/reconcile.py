"""``runner reconcile``: list purchases whose outcome is uncertain, and resolve them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from runner.cli.arguments import known_folder, manifest_argument, place_options, same_api_option
from runner.cli.console import say
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


@click.command("reconcile")
@manifest_argument
@place_options
@click.option("--adopt", multiple=True, metavar="ID=REQUEST_ID", help="It was bought, as this request; collect it.")
@click.option("--lost", multiple=True, metavar="ID", help="Nothing was made, or it cannot be had; buy it anew.")
@click.option("--rebuy", multiple=True, metavar="ID|all", help="Leave it as it is, as spent, and buy it anew, once.")
@click.option("--accept", multiple=True, metavar="ID", help="Close what cannot be had as it is. Nothing is bought.")
@click.option("--api", metavar="URL", help="The API's address, with /v1, to ask about what is adopted.")
@same_api_option
@click.option("--offline", is_flag=True, help="Adopt unseen: do not ask the API whether it knows the request.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
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
    """List the open purchases of MANIFEST's results, and resolve them.

    Unknown ones may have been bought: look for them on RunComfy's Generations page, by time and prompt. The API is
    asked whether it knows a request before it is adopted. Stuck ones are paid, and cannot be downloaded as things are.
    MANIFEST may be the output folder itself. Where a job has several open purchases, write ID/PURCHASE for ID.

    \b
    Example:
      runner reconcile output/spring
      runner reconcile output/spring --adopt mug-hero=req_8f2a --lost tote --rebuy all
    """
    requests = _read(adopt, lost, rebuy, accept)
    folder = known_folder(manifest, output, emulator=emulator)
    if requests:
        options = RunOptions(emulator=emulator, api=api, same_api_as=same_api_as, offline=offline)
        found = run_loop(lambda: _settle(folder, requests, options))
    else:
        with open_reader(folder.root) as ledger:
            found = find_open_purchases(ledger)
    if as_json:
        click.echo(json.dumps(_as_json(found, folder)))
    else:
        _show(found, folder, manifest, settled=len(requests))
    return found.exit_code


async def _settle(folder: Folder, requests: list[ResolutionRequest], options: RunOptions) -> OpenPurchases:
    from runner.engine import operations  # noqa: PLC0415 - the HTTP client is slow to import, and listing does not need it

    return await operations.reconcile(folder, requests, options)


def _read(
    adopt: tuple[str, ...], lost: tuple[str, ...], rebuy: tuple[str, ...], accept: tuple[str, ...]
) -> list[ResolutionRequest]:
    try:
        adopted = [parse_adopt(text) for text in adopt]
    except ValueError as error:
        raise UsageError(f"{error}. Nothing was settled.") from None
    named = {Resolution.LOST: lost, Resolution.REBUY: rebuy, Resolution.ACCEPT: accept}
    return [*adopted, *(parse_name(word, text) for word, texts in named.items() for text in texts)]


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


def _show(found: OpenPurchases, folder: Folder, manifest: str, *, settled: int) -> None:
    if settled:
        say(f"Settled: {settled}. The next `runner run` goes by it.")
    if not found.open:
        say(f"{folder.root}: no question is open")
    here = shlex.quote(manifest)
    if found.unknown:
        say(f"Unknown, perhaps bought: {len(found.unknown):,}. Look at RunComfy's Generations page; then")
        say(f"  there:      runner reconcile {here} --adopt ID=REQUEST_ID")
        say(f"  not there:  runner reconcile {here} --lost ID")
        say(f"  never mind: runner reconcile {here} --rebuy ID   (counts as spent, and is bought once more)")
        _list(found.unknown)
    if found.stuck:
        say(f"Stuck, paid and not to be had as things are: {len(found.stuck):,}. Every run asks again; or")
        say(f"  close it:   runner reconcile {here} --accept ID  (counts as spent, and is not bought again)")
        say(f"  give up:    runner reconcile {here} --lost ID    (counts as spent, and is bought once more)")
        say(f"  meanwhile:  runner reconcile {here} --rebuy ID   (the same, but still asked after)")
        _list(found.stuck)
    if found.passed:
        say(f"Never answered, and bought anew since or next: {len(found.passed):,} (they count as spent)")
        _list(found.passed)
    busy = holders(look(folder.root))
    if busy and any(record.state is State.SUBMITTING for record in found.open):
        say(f"A run is going on ({'; '.join(busy)}): those in state submitting may be on their way.", err=True)


def _list(records: tuple[Record, ...]) -> None:
    for record in records:
        reserve = f"${record.reserved_usd:.4f}" if record.reserved_usd is not None else "no price known"
        request = f", request {record.request_id}" if record.request_id else ""
        why = f": {record.error.code}: {record.error.message}" if record.error else ""
        say(f"  {record.id}/{record.purchase}  {_when(record)}  {record.model}  {reserve}{request}{why}")
        say(f"      {_prompt(record)}")
