"""``runner merge``: one results log made from the results logs of all shards."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.arguments import known_folder, manifest_argument, place_options
from runner.cli.console import say
from runner.core.clock import SystemClock, timestamp
from runner.ledger import merge_shards, path_of


@click.command("merge")
@manifest_argument
@place_options
def command(manifest: str, output: Path | None, emulator: bool) -> int:
    """Make one results manifest of those of MANIFEST's shards. No shard may be running.

    Afterwards a run without --shard goes on where they ended, and the batch can be divided anew. MANIFEST may be the
    output folder itself. The pictures stay where they are.

    \b
    Example:
      runner merge output/spring
    """
    folder = known_folder(manifest, output, emulator=emulator)
    count = merge_shards(folder.root, timestamp(SystemClock().now()))
    if count:
        say(f"{path_of(folder.root, None)}: the results of {count} shards in one")
    else:
        say(f"{folder.root} is not split into shards; nothing was changed")
    return 0
