"""``runner collect``: download results that are paid but not downloaded yet. The output folder alone is enough."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.arguments import ShardType, api_options, known_folder, manifest_argument, place_options
from runner.cli.command_help import Command
from runner.cli.conclude import ResultsPlace, conclude, output_options
from runner.cli.display import OutputOptions, RunDisplay, make_display
from runner.cli.signals import attend
from runner.core.aio import run_loop
from runner.core.shards import Shard
from runner.engine.options import RunOptions
from runner.engine.summary import Report
from runner.files.output_folder import Folder


@click.command("collect", cls=Command, page="money")
@manifest_argument
@place_options
@click.option("--shard", type=ShardType(), metavar="I/N|auto", help="Download only the results of shard I of N.")
@api_options
@output_options
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    shard: Shard | None,
    api: str | None,
    same_api_as: str | None,
    as_json: bool,
    shown: OutputOptions,
) -> int:
    """Download results that are paid, not downloaded yet. Buys nothing.

    MANIFEST may also be the output folder: its results log is enough.

    \b
    Example:
      runner collect output/spring
    """
    options = RunOptions(emulator=emulator, api=api, same_api_as=same_api_as, shard=shard)
    place = ResultsPlace(manifest=manifest, output=output, emulator=emulator, shard=shard)
    display = make_display(shown)

    def go() -> Report:
        folder = known_folder(manifest, output, emulator=emulator)
        return run_loop(lambda: _collect(folder, options, display))

    return conclude(go, display, place, as_json=as_json)


async def _collect(folder: Folder, options: RunOptions, display: RunDisplay) -> Report:
    from runner.engine import operations  # noqa: PLC0415 - loads the HTTP client, which `--help` does not need

    display.say(f"downloading paid results in {folder.root}")
    return await attend(lambda stop: operations.collect(folder, options, observer=display, stop=stop), display)
