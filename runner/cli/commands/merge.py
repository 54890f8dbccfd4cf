"""``runner merge``: one results log made from the results logs of all shards."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.arguments import known_folder, manifest_argument, place_options
from runner.cli.command_help import Command
from runner.cli.console import say
from runner.core.clock import SystemClock, timestamp
from runner.ledger import merge_shards, path_of


@click.command("merge", cls=Command, page="scaling")
@manifest_argument
@place_options
def command(manifest: str, output: Path | None, emulator: bool) -> int:
    """Merge the results logs of MANIFEST's shards into one. No shard may be running.

    Afterwards a run without --shard continues the batch, and the batch can be split again. Pictures are not moved.
    MANIFEST may also be the output folder.

    \b
    Example:
      runner merge output/spring
    """
    folder = known_folder(manifest, output, emulator=emulator)
    count = merge_shards(folder.root, timestamp(SystemClock().now()))
    if count:
        say(f"{path_of(folder.root, None)}: results of {count} shards merged")
    else:
        say(f"{folder.root} is not split into shards; nothing was changed")
    return 0
