"""``runner report``: one page to choose pictures with. The command takes no lock and changes no result."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from runner.cli.arguments import (
    Choice,
    choice_options,
    known_jobs,
    manifest_argument,
    place_options,
    readable_folder,
)
from runner.cli.command_help import Command
from runner.cli.console import say
from runner.core.clock import SystemClock
from runner.core.errors import UsageError
from runner.core.models import EMULATOR, Record
from runner.ledger import LedgerReader, holders, look, open_reader
from runner.ledger.folders import results_folder
from runner.manifest import JobStore
from runner.planning.rules import in_force
from runner.planning.selection import JobFilter, selected_ids
from runner.report.cards import Card, CardSources, files_of, make_cards
from runner.report.contact_sheet import find_marks, make_proofs, proofs, render_sheet
from runner.report.escaping import Thumbs
from runner.report.older import find_older
from runner.report.page_data import ReportData, Sharing
from runner.report.products import arrange, places_of_jobs, places_of_records
from runner.report.selection import MarkedPicture, Marks, Selection, read_selection
from runner.report.thumbnails import Look, Thumbnails

REPORT = "report.html"
CONTACT_SHEET = "contact-sheet.html"
SHARE = "share.html"
MOST_EMBEDDED = 2000
"""Pictures that are embedded by default; a page with more embedded pictures takes long to open."""


@click.command("report", cls=Command, page="report")
@manifest_argument
@place_options
@choice_options
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
@click.option("--selection", metavar="FILE", type=click.Path(path_type=Path), help="Selection saved by the page.")
@click.option("--contact-sheet", is_flag=True, help="Write the picked pictures of the selection as a page to print.")
@click.option("--share", is_flag=True, help="Write one file to send: proofs of 800 pixels, no addresses, no costs.")
@click.option("--with-prompts", is_flag=True, help="Include the prompts in a file to send.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    choice: Choice,
    to: Path | None,
    thumbnails: str | None,
    selection: Path | None,
    contact_sheet: bool,
    share: bool,
    with_prompts: bool,
) -> int:
    """Write one HTML page to choose the pictures of MANIFEST with.

    The page opens in any browser, without a network. It saves picks and rejections as a selection, and shows the
    commands that go on from there. MANIFEST may also be the output folder. Works during a run, after it, and after a
    crash.

    \b
    Examples:
      runner report output/spring
      runner report output/spring --only 'mug-*' --to mugs.html
      runner report output/spring --selection selection.json --contact-sheet
      runner report jobs/demo.yaml --emulator --to demo.html
    """
    from runner.report.page import check_target, write  # noqa: PLC0415 - loads Jinja2 and pygal; `--help` needs neither

    _check_options(selection, contact_sheet=contact_sheet, share=share, with_prompts=with_prompts)
    chosen = read_selection(selection) if selection is not None else None
    jobs = choice.filter()
    folder = readable_folder(manifest, output, emulator=emulator)
    name = CONTACT_SHEET if contact_sheet else SHARE if share else REPORT
    target = to.absolute() if to is not None else folder.root / name
    check_target(target)
    batch = read_batch(folder.root, manifest, output, jobs, emulator=emulator)
    if contact_sheet and chosen is not None:
        return _write_sheet(batch, chosen, target)
    if share:
        batch = replace(batch, shared=_share(batch, chosen, prompts=with_prompts))
    embedded = sum(seen.thumbnail is not None for seen in batch.sources.looks.values()) <= MOST_EMBEDDED
    size = write(batch, target, Thumbs(thumbnails or ("embed" if embedded else "beside")))
    shown = _counted(len(batch.records), "job")
    if batch.shared is not None:
        shown = _counted(len(batch.shared.proofs), "picture")
    say(f"{target}: {shown}, {size / 1e6:,.1f} MB")
    return 0


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def _check_options(selection: Path | None, *, contact_sheet: bool, share: bool, with_prompts: bool) -> None:
    """Raise ``UsageError`` for options that do not go together."""
    if contact_sheet and share:
        raise UsageError("--contact-sheet and --share are two pages: ask for one at a time")
    if contact_sheet and selection is None:
        raise UsageError("--contact-sheet shows the picked pictures: name the selection that the page has saved, "
                         "with --selection selection.json")  # fmt: skip
    if selection is not None and not (contact_sheet or share):
        raise UsageError("--selection goes with --contact-sheet or --share; the page itself opens a selection by Open…")
    if with_prompts and not share:
        raise UsageError("--with-prompts goes with --share; the page itself always has the prompts")


def _picked(batch: ReportData, chosen: Selection) -> tuple[list[Card], dict[int, MarkedPicture]]:
    """Return all cards and the marks of those that are picked. Raises ``UsageError`` if none is."""
    cards = make_cards(batch.records, batch.sources)
    found = find_marks(cards, Marks(chosen.pictures))
    picked = {number: mark for number, mark in found.items() if mark.mark == "pick"}
    wanted = sum(picture.mark == "pick" for picture in chosen.pictures)
    if not picked:
        raise UsageError(f"the selection picks {_counted(wanted, 'picture')}, and none of them is in {batch.root}")
    if wanted > len(picked):
        say(f"{_counted(wanted - len(picked), 'picked picture')} not found in {batch.root}", err=True)
    return cards, picked


def _write_sheet(batch: ReportData, chosen: Selection, target: Path) -> int:
    from runner.report.page import MARK, moment, write_text  # noqa: PLC0415 - loads Jinja2 and pygal

    cards, picked = _picked(batch, chosen)
    pictures = proofs(cards, picked)
    size = write_text(render_sheet(batch, pictures, MARK, moment(batch.now)), target)
    say(f"{target}: {_counted(len(pictures), 'picture')}, {size / 1e6:,.1f} MB; print it from a browser")
    return 0


def _share(batch: ReportData, chosen: Selection | None, *, prompts: bool) -> Sharing:
    """Return the proofs of all pictures, or of those that ``chosen`` picks."""
    if chosen is None:
        cards = make_cards(batch.records, batch.sources)
    else:
        everything, picked = _picked(batch, chosen)
        cards = [everything[number] for number in picked]
    return Sharing(proofs=make_proofs(batch, cards), prompts=prompts)


def read_batch(root: Path, manifest: str, output: Path | None, selection: JobFilter, *, emulator: bool) -> ReportData:
    """Return the data of the report about the selected jobs of the output folder ``root``.

    Raises ``UsageError`` if a name of ``selection`` matches no job.
    """
    with open_reader(root) as ledger:
        histories = _read(ledger)
        chosen = [record for record in map(in_force, histories.values()) if record is not None]
        jobs = known_jobs(_manifest_of(manifest, root, chosen), emulator=emulator or _is_simulated(chosen))
        places = places_of_jobs(jobs.stored()) if isinstance(jobs, JobStore) else places_of_records(chosen)
        selected = selected_ids(selection, ledger, places)
    if selected is not None:
        histories = {job_id: history for job_id, history in histories.items() if selected(job_id)}
        places = {job_id: place for job_id, place in places.items() if selected(job_id)}
        chosen = [record for record in chosen if selected(record.id)]
    untried = sum(job_id not in histories for job_id in places)
    records, places, products, groups = arrange(chosen, places)
    return ReportData(
        name=root.name,
        root=root,
        records=records,
        products=products,
        purchases=[record for history in histories.values() for record in history],
        sources=CardSources(
            looks=_look(root, records),
            places=places,
            groups=groups,
            older=find_older(root, records, histories),
            busy=bool(holders(look(root))),
        ),
        untried=untried,
        target=shlex.join(_target(manifest, output, emulator=emulator, root=root, records=chosen)),
        now=SystemClock().now(),
    )


def _read(ledger: LedgerReader) -> dict[str, list[Record]]:
    """Return the purchases of each job, the oldest first. Jobs are in the order of first appearance."""
    histories: dict[str, list[Record]] = {}
    for record in ledger.latest():
        histories.setdefault(record.id, []).append(record)
    for history in histories.values():
        history.sort(key=lambda record: record.purchase)
    return histories


def _look(root: Path, records: Sequence[Record]) -> dict[tuple[str, int], Look]:
    """Return the state and the preview of each file, by job id and number of the file."""
    wanted = {
        (record.id, number): output
        for record in records
        for number, output in enumerate(files_of(record), 1)
        if output is not None
    }
    return dict(zip(wanted, Thumbnails(root).look(wanted.values()), strict=True))


def _is_manifest(argument: str) -> bool:
    return Path(argument).is_file() and results_folder(Path(argument)) is None


def _source(records: Sequence[Record]) -> str:
    """Return the manifest that the newest record names, relative to the output folder; ``-``: standard input."""
    return next((record.manifest for record in reversed(records)), "-")


def _manifest_of(argument: str, root: Path, records: Sequence[Record]) -> str:
    """Return the manifest of the batch: the argument, or if only the folder is given, the one that its records name."""
    if _is_manifest(argument) or _source(records) == "-":
        return argument
    return os.path.normpath(root / _source(records))


def _is_simulated(records: Sequence[Record]) -> bool:
    return any(record.api == EMULATOR for record in records)


def _target(manifest: str, output: Path | None, *, emulator: bool, root: Path, records: Sequence[Record]) -> list[str]:
    """Return the arguments that name this batch. If only its folder is given, the records name the manifest."""
    if _is_manifest(manifest):
        words = [manifest] if output is None else [manifest, "--output", str(output)]
    else:
        source = _source(records)
        words = ["MANIFEST" if source == "-" else _near(root / source), "--output", _near(root)]
    return [*words, *(["--emulator"] if emulator or _is_simulated(records) else [])]


def _near(path: Path) -> str:
    """Return ``path`` relative to the working directory if it is below that directory, else the whole path."""
    whole, here = Path(os.path.normpath(path)), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
