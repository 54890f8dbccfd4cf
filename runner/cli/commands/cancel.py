"""``runner cancel``: cancel what is still queued at the API."""

from __future__ import annotations

import json
from pathlib import Path

import click

from runner.cli.arguments import api_options, known_folder, manifest_argument, place_options
from runner.cli.command_help import Command
from runner.cli.console import echo, say
from runner.cli.display import make_plain_display
from runner.cli.signals import attend
from runner.core.aio import run_loop
from runner.core.errors import Locked
from runner.engine import operations
from runner.engine.maintenance.cancel import CancelResult
from runner.engine.options import RunOptions
from runner.files.output_folder import Folder
from runner.ledger import look


@click.command("cancel", cls=Command, page="money")
@manifest_argument
@place_options
@api_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def command(
    manifest: str, output: Path | None, emulator: bool, api: str | None, same_api_as: str | None, as_json: bool
) -> int:
    """Cancel the unfinished requests of MANIFEST, as far as the API allows.

    A cancelled request costs nothing; the next run buys the job again. The API cannot cancel a request that it is
    working on: its result is downloaded by the next run. MANIFEST may also be the output folder.

    \b
    Example:
      runner cancel output/spring
    """
    folder = known_folder(manifest, output, emulator=emulator)
    options = RunOptions(emulator=emulator, api=api, same_api_as=same_api_as)
    watch = make_plain_display(quiet=as_json)
    try:
        result = run_loop(
            lambda: attend(lambda stop: operations.cancel(folder, options, observer=watch.count, stop=stop), watch)
        )
    except Locked as error:
        raise Locked(
            f"{error}. To end that run now, press Ctrl-C there: it buys nothing more and downloads what is in flight; "
            "then cancel what is left."
        ) from None
    if as_json:
        echo(json.dumps(_as_json(result, folder)))
    else:
        _show(result, manifest)
    return result.exit_code


def _as_json(result: CancelResult, folder: Folder) -> dict[str, object]:
    counts = {name: getattr(result, name) for name in ("cancelled", "failed", "owed", "stuck", "unanswered")}
    return {
        **counts,
        "elsewhere": list(result.elsewhere),
        "output": str(folder.root),
        "results": str(look(folder.root).results),
    }


def _show(result: CancelResult, manifest: str) -> None:
    say(f"cancelled: {result.cancelled:,}; paid, not downloaded yet: {result.owed:,}")
    if result.failed:
        say(f"failed in the meantime: {result.failed:,}")
    if result.owed:
        say(f"`runner collect {manifest}` or the next run downloads the paid results.")
    if result.unanswered:
        say(
            f"no answer before the end: {result.unanswered:,}, which may be cancelled or not. The next run finds out, "
            f"or run `runner cancel {manifest}` again."
        )
    if result.stuck:
        say(f"stuck: {result.stuck:,}, paid but unavailable; resolve them with `runner reconcile {manifest}`")
    for text in result.elsewhere:
        say(text, err=True)
    if result.trouble:
        say(f"example of an error: {result.trouble}", err=True)
