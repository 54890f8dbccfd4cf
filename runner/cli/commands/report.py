"""``runner report``: one page with the pictures of a batch. The command takes no lock and changes no result."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click

from runner.cli.arguments import known_folder, known_jobs, manifest_argument, place_options
from runner.cli.console import say
from runner.core.clock import SystemClock
from runner.core.errors import UsageError
from runner.core.models import EMULATOR, Record
from runner.ledger import LedgerReader, open_reader
from runner.ledger.folders import results_folder
from runner.planning.rules import in_force
from runner.report.cards import files_of
from runner.report.escaping import Thumbs
from runner.report.thumbnails import Look, Thumbnails

REPORT = "report.html"
MOST_EMBEDDED = 2000
"""Pictures that are embedded by default; a page with more embedded pictures takes long to open."""


@click.command("report")
@manifest_argument
@place_options
@click.option(
    "--to", type=click.Path(path_type=Path), help="Page to write. [default: report.html in the output folder]"
)
@click.option(
    "--thumbnails",
    type=click.Choice(["embed", "beside"]),
    metavar="MODE",
    help="Embed previews in the page, or put them beside it as files under .runner/thumbnails. [default: embed up to "
    "2,000 pictures]",
)
def command(manifest: str, output: Path | None, emulator: bool, to: Path | None, thumbnails: str | None) -> int:
    """Write one HTML page with the results of MANIFEST: pictures, failures, timings and cost.

    The page opens in any browser, without a network. For pictures that you reject, the page shows the command that
    buys them again. MANIFEST may also be the output folder. Works during a run, after it, and after a crash.

    \b
    Examples:
      runner report output/spring
      runner report jobs/demo.yaml --emulator --to demo.html
    """
    if find_spec("pygal") is None:
        raise UsageError(
            "`runner report` needs the package pygal for its charts, which is not installed: "
            "pip install 'runcomfy-runner[report]'"
        )
    from runner.report.page import ReportData, check_target, write  # noqa: PLC0415 - needs an extra, and is slow to import

    folder = known_folder(manifest, output, emulator=emulator)
    target = to.absolute() if to is not None else folder.root / REPORT
    check_target(target)
    with open_reader(folder.root) as ledger:
        records, purchases = _read(ledger)
        untried = sum(not ledger.history(job.id) for job in known_jobs(manifest, emulator=emulator))
    looks = _look(folder.root, records)
    embedded = sum(look.thumbnail is not None for look in looks.values()) <= MOST_EMBEDDED
    batch = ReportData(
        name=folder.root.name,
        root=folder.root,
        records=records,
        purchases=purchases,
        looks=looks,
        untried=untried,
        command=_run_again(manifest, output, emulator=emulator, root=folder.root, records=records),
        now=SystemClock().now(),
    )
    size = write(batch, target, Thumbs(thumbnails or ("embed" if embedded else "beside")))
    jobs = "1 job" if len(records) == 1 else f"{len(records):,} jobs"
    say(f"{target}: {jobs}, {size / 1e6:,.1f} MB")
    return 0


def _read(ledger: LedgerReader) -> tuple[list[Record], list[Record]]:
    """Return the purchase to show of each job, and all purchases. Jobs are in the order of first appearance."""
    histories: dict[str, list[Record]] = {}
    for record in ledger.latest():
        histories.setdefault(record.id, []).append(record)
    for history in histories.values():
        history.sort(key=lambda record: record.purchase)
    chosen = [record for record in map(in_force, histories.values()) if record is not None]
    return chosen, [record for history in histories.values() for record in history]


def _look(root: Path, records: Sequence[Record]) -> dict[tuple[str, int], Look]:
    """Return the state and the preview of each file, by job id and number of the file."""
    wanted = {
        (record.id, number): output
        for record in records
        for number, output in enumerate(files_of(record), 1)
        if output is not None
    }
    return dict(zip(wanted, Thumbnails(root).look(wanted.values()), strict=True))


def _run_again(manifest: str, output: Path | None, *, emulator: bool, root: Path, records: Sequence[Record]) -> str:
    """Return the command that runs this batch. If only its folder is given, the records name the manifest."""
    words = ["runner", "run"]
    if Path(manifest).is_file() and results_folder(Path(manifest)) is None:
        words += [manifest] if output is None else [manifest, "--output", str(output)]
    else:
        source = next((record.manifest for record in reversed(records)), "-")
        known = "MANIFEST" if source == "-" else _near(root / source)
        words += [known, "--output", _near(root)]
    simulated = emulator or any(record.api == EMULATOR for record in records)
    return shlex.join([*words, *(["--emulator"] if simulated else [])])


def _near(path: Path) -> str:
    """Return ``path`` relative to the working directory if it is below that directory, else the whole path."""
    whole, here = Path(os.path.normpath(path)), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
