"""``runner copies``: make the copies and sidecars of a manifest that are missing or stale."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import click

from runner.cli.arguments import (
    Choice,
    choice_options,
    manifest_argument,
    place_options,
    read_manifest,
    readable_folder,
)
from runner.cli.command_help import Command
from runner.cli.console import echo, say, show_warnings
from runner.cli.display import make_plain_display
from runner.cli.signals import attend
from runner.core.aio import run_loop
from runner.core.errors import one_error
from runner.engine.maintenance.make_copies import CopiesResult, make_copies
from runner.engine.options import RunOptions
from runner.engine.publishing.publisher import Publisher
from runner.files.output_folder import Folder
from runner.manifest import Manifest
from runner.planning.selection import JobFilter

PROGRESS_SECONDS = 10.0


@click.command("copies", cls=Command, page="copies")
@manifest_argument
@place_options
@choice_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def command(manifest: str, output: Path | None, emulator: bool, choice: Choice, as_json: bool) -> int:
    """Make the copies and sidecars of MANIFEST that are missing or stale.

    They are made from the downloaded originals: nothing is bought, and no network is used. A run makes them as well;
    this command is for changes of `copies:`. Exits with 1 if a copy could not be made.

    \b
    Examples:
      runner copies jobs/spring.yaml
      runner copies jobs/spring.yaml --only 'mug-*'
    """
    loaded = read_manifest(manifest, RunOptions(offline=True, emulator=emulator))
    show_warnings(loaded.warnings)
    folder = readable_folder(manifest, output, emulator=emulator)
    chosen = choice.filter()
    result = run_loop(lambda: _make(folder, loaded, chosen))
    if as_json:
        numbers = {"copies": result.made, "copies_failed": result.failed}
        echo(json.dumps({**numbers, "output": str(folder.root)}))
    else:
        _tell(result, folder, asked=loaded.jobs.publishes)
    return result.exit_code


async def _make(folder: Folder, manifest: Manifest, chosen: JobFilter) -> CopiesResult:
    with one_error():
        async with anyio.create_task_group() as group:
            result = await attend(
                lambda stop: make_copies(
                    folder, manifest.jobs, chosen, stop=stop, watch=lambda publisher: group.start_soon(_show, publisher)
                ),
                make_plain_display(),
            )
            group.cancel_scope.cancel()
    return result


async def _show(publisher: Publisher) -> None:
    """Print the progress from time to time, until cancelled."""
    while True:
        await anyio.sleep(PROGRESS_SECONDS)
        say(f"runner: {publisher.made:,} made so far", err=True)


def _tell(result: CopiesResult, folder: Folder, *, asked: bool) -> None:
    if not asked:
        say("the manifest asks for no copies: it has neither `copies:` nor `sidecar:`")
        return
    failed = f", {result.failed:,} could not be made" if result.failed else ""
    nothing = "nothing is missing or stale" if not failed else "nothing made"
    say(f"{folder.root}: {f'{result.made:,} made' if result.made else nothing}{failed}")
    if result.interrupted:
        say("runner: interrupted; run the same command again to continue", err=True)
