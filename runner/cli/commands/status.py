"""``runner status``: the state of a batch. The command takes no lock and changes nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import click

from runner.cli.arguments import (
    Choice,
    choice_options,
    find_folder,
    known_jobs,
    manifest_argument,
    place_options,
    readable_folder,
)
from runner.cli.command_help import Command
from runner.cli.conclude import ResultsPlace
from runner.cli.console import echo, say
from runner.cli.status_view import FolderStatus, read_status, show
from runner.core.errors import UsageError
from runner.core.models import Job
from runner.core.name_sets import NameSet
from runner.engine.config import name_in_records
from runner.engine.summary import COUNTS, Report
from runner.files.folder_reader import FolderReader
from runner.ledger import Layout, holders, look, open_reader
from runner.ledger.readers import only
from runner.planning.selection import JobFilter, selected_ids

WATCH_SECONDS = 1.0
CLEAR = "\x1b[H\x1b[2J"
"""Sequence that clears the terminal."""


@click.command("status", cls=Command, page="nightly")
@manifest_argument
@place_options
@choice_options
@click.option("--gone", is_flag=True, help="List the jobs that are no longer in the manifest.")
@click.option("--watch", is_flag=True, help="Show the state again and again until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def command(
    manifest: str, output: Path | None, emulator: bool, choice: Choice, gone: bool, watch: bool, as_json: bool
) -> int:
    """Show the state of MANIFEST's batch: counts, cost, failures and purchases that need attention.

    Ends with the commands that help. MANIFEST may also be the output folder. Works during a run, after it, and after a
    crash.

    \b
    Examples:
      runner status output/spring
      runner status jobs/demo.yaml --watch
      runner status jobs/spring.yaml --only 'mug-*'
    """
    if watch and as_json:
        raise UsageError("--watch redraws for a person, and --json prints one object; give one of them")
    chosen = choice.filter()
    folder = readable_folder(manifest, output, emulator=emulator)
    emulator = emulator or folder.root != find_folder(manifest, output, emulator=False).root
    typed = ResultsPlace(manifest=manifest, output=output, emulator=emulator).typed()
    jobs = known_jobs(manifest, emulator=emulator)
    at_terminal = sys.stdout is not None and sys.stdout.isatty()

    def print_text(*, clear: bool) -> None:
        standing, layout = _look(manifest, folder, jobs, chosen)
        if clear:
            echo(CLEAR, nl=False)
        show(standing, layout, typed, gone=gone)

    try:
        while watch and holders(look(folder.root)):
            print_text(clear=at_terminal)
            say("Ctrl-C ends this display, not the run")
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return 0
    if as_json:
        echo(json.dumps(_as_json(*_look(manifest, folder, jobs, chosen))))
    else:
        print_text(clear=watch and at_terminal)
    return 0


def _look(manifest: str, folder: FolderReader, jobs: Iterable[Job], chosen: JobFilter) -> tuple[FolderStatus, Layout]:
    """Return the status of the jobs that ``chosen`` selects. Raises ``UsageError`` if a name selects none."""
    layout = look(folder.root)
    with open_reader(folder.root) as whole:
        selected = selected_ids(chosen, whole, (job.id for job in jobs))
        ledger = only(whole, selected)
        standing = read_status(ledger, folder, at_work=bool(holders(layout)))
        known = NameSet()
        for job in jobs:
            known.add(job.id)
            if selected is None or selected(job.id):
                standing.counts["left"] += not ledger.history(job.id)
        if len(known):
            name = name_in_records(Path(manifest), folder.root)  # a folder may hold jobs of other manifests
            gone = (record.id for record in ledger.latest() if record.manifest == name and record.id not in known)
            standing.gone = list(dict.fromkeys(gone))
    return standing, layout


def _as_json(standing: FolderStatus, layout: Layout) -> dict[str, object]:
    about = Report(spent_usd=float(standing.spent_usd), output=str(layout.root), results=str(layout.results))
    return {
        **about.as_json(),
        "total": standing.counts.total(),
        "in_flight": standing.in_flight,
        "gone": len(standing.gone),
        **{name: standing.counts[name] for name in COUNTS},
        "oldest_owed_seconds": round(standing.oldest(), 3),
        "held_by": "; ".join(holders(layout)) or None,
        "open": [{"id": r.id, "state": r.state.value, "request_id": r.request_id} for r in standing.unknown],
        "shards": len(layout.shards),
    }
