"""``runner cancel``: cancel what is still queued at the API."""

from __future__ import annotations

import json
from pathlib import Path

import click

from runner.cli.arguments import known_folder, manifest_argument, place_options, same_api_option
from runner.cli.console import say
from runner.cli.display import RunDisplay, make_plain_display
from runner.cli.signals import attend
from runner.core.aio import run_loop
from runner.engine import operations
from runner.engine.maintenance.cancel import CancelResult
from runner.engine.options import RunOptions
from runner.files.output_folder import Folder
from runner.ledger import look


@click.command("cancel")
@manifest_argument
@place_options
@click.option("--api", metavar="URL", help="The API's address, with /v1.")
@same_api_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    manifest: str, output: Path | None, emulator: bool, api: str | None, same_api_as: str | None, as_json: bool
) -> int:
    """Ask the API to cancel every request of MANIFEST that is not finished, and record what it says afterwards.

    Requests that are being served cannot be cancelled; they are collected by the next run. What was cancelled costs
    nothing, and the next run buys it again. MANIFEST may be the output folder itself.

    \b
    Example:
      runner cancel output/spring
    """
    folder = known_folder(manifest, output, emulator=emulator)
    options = RunOptions(emulator=emulator, api=api, same_api_as=same_api_as)
    result = run_loop(lambda: _cancel(folder, options, make_plain_display(quiet=as_json)))
    if as_json:
        click.echo(json.dumps(_as_json(result, folder)))
    else:
        _show(result, manifest)
    return result.exit_code


async def _cancel(folder: Folder, options: RunOptions, watch: RunDisplay) -> CancelResult:
    return await attend(lambda stop: operations.cancel(folder, options, observer=watch.count, stop=stop), watch)


def _as_json(result: CancelResult, folder: Folder) -> dict[str, object]:
    counts = {name: getattr(result, name) for name in ("cancelled", "failed", "owed", "stuck", "unanswered")}
    return {
        **counts,
        "elsewhere": list(result.elsewhere),
        "output": str(folder.root),
        "results": str(look(folder.root).results),
    }


def _show(result: CancelResult, manifest: str) -> None:
    say(f"{result.cancelled:,} cancelled; {result.owed:,} will still be collected")
    if result.failed:
        say(f"{result.failed:,} had failed meanwhile")
    if result.owed:
        say(f"They are bought: `runner collect {manifest}` or the next run brings them home.")
    if result.unanswered:
        say(
            f"{result.unanswered:,} were asked and gave no answer before the end: perhaps they are cancelled. The next "
            f"run finds out, or `runner cancel {manifest}` asks again."
        )
    if result.stuck:
        say(f"{result.stuck:,} are stuck and wait for your word: `runner reconcile {manifest}`")
    for text in result.elsewhere:
        say(text, err=True)
    if result.trouble:
        say(f"What went wrong, for one of them: {result.trouble}", err=True)
