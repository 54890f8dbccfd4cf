"""``runner status``: the state of a batch. The command takes no lock and changes nothing."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from heapq import nsmallest
from pathlib import Path

import click
import msgspec

from runner.cli.arguments import known_jobs, manifest_argument, place_options, readable_folder
from runner.cli.console import echo, say
from runner.core.clock import SystemClock, epoch
from runner.core.errors import UsageError
from runner.core.models import Job, Record, State
from runner.core.name_sets import NameSet
from runner.engine.billing.costs import exact, spent
from runner.engine.config import name_in_records
from runner.engine.summary import COUNTS, Report, counts_in_words, outcome_of_record
from runner.files.folder_reader import FolderReader
from runner.ledger import Layout, LedgerReader, holders, look, open_reader
from runner.planning.rules import in_force

SHOWN = 20
WATCH_SECONDS = 1.0
CLEAR = "\x1b[H\x1b[2J"
"""Sequence that clears the terminal."""


class FolderStatus(msgspec.Struct):
    """Counts of jobs by the outcome of their purchase in force, and the purchases that need a person."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    spent_usd: Decimal = Decimal(0)
    failed: list[Record] = msgspec.field(default_factory=list)
    """The first ``SHOWN`` failed purchases; ``counts`` has their number."""
    unknown: list[Record] = msgspec.field(default_factory=list)
    owed: list[Record] = msgspec.field(default_factory=list)
    in_flight: int = 0
    """Purchases that the run in progress has submitted; they count as owed or unknown, too."""
    gone: list[str] = msgspec.field(default_factory=list)
    """Ids with purchases that the manifest no longer has."""


@click.command("status")
@manifest_argument
@place_options
@click.option("--gone", is_flag=True, help="List the jobs that are no longer in the manifest.")
@click.option("--watch", is_flag=True, help="Show the state again and again until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def command(manifest: str, output: Path | None, emulator: bool, gone: bool, watch: bool, as_json: bool) -> int:
    """Show the state of MANIFEST's batch: counts, cost, failures and purchases that need attention.

    MANIFEST may also be the output folder. Works during a run, after it, and after a crash.

    \b
    Example:
      runner status output/spring
      runner status jobs/demo.yaml --watch
    """
    if watch and as_json:
        raise UsageError("--watch redraws for a person, and --json prints one object; give one of them")
    folder = readable_folder(manifest, output, emulator=emulator)
    jobs = known_jobs(manifest, emulator=emulator)
    try:
        while watch and holders(look(folder.root)):
            _print(manifest, folder, jobs, gone=gone, clear=sys.stdout is not None and sys.stdout.isatty())
            say("Ctrl-C ends this display, not the run")
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return 0
    if as_json:
        standing, layout = _look(manifest, folder, jobs)
        echo(json.dumps(_as_json(standing, _oldest(standing), layout)))
    else:
        _print(manifest, folder, jobs, gone=gone, clear=watch and sys.stdout is not None and sys.stdout.isatty())
    return 0


def _print(manifest: str, folder: FolderReader, jobs: Iterable[Job], *, gone: bool, clear: bool) -> None:
    standing, layout = _look(manifest, folder, jobs)
    if clear:
        echo(CLEAR, nl=False)
    _show(standing, _oldest(standing), layout)
    _show_gone(standing.gone, every=gone)


def _look(manifest: str, folder: FolderReader, jobs: Iterable[Job]) -> tuple[FolderStatus, Layout]:
    layout = look(folder.root)
    with open_reader(folder.root) as ledger:
        standing = _read(ledger, folder, at_work=bool(holders(layout)))
        known = NameSet()
        for job in jobs:
            known.add(job.id)
            standing.counts["left"] += not ledger.history(job.id)
        if len(known):
            name = name_in_records(Path(manifest), folder.root)  # a folder may hold jobs of other manifests
            gone = (record.id for record in ledger.latest() if record.manifest == name and record.id not in known)
            standing.gone = list(dict.fromkeys(gone))
    return standing, layout


def _oldest(standing: FolderStatus) -> float:
    now = SystemClock().now()
    return max((_age(record, now) for record in standing.owed), default=0.0)


def _read(ledger: LedgerReader, folder: FolderReader, *, at_work: bool) -> FolderStatus:
    """Return the status of the folder. Of a job with several purchases, the one in force counts."""
    standing, again = FolderStatus(), NameSet()
    for record in ledger.latest():
        standing.spent_usd += exact(spent(record))
        if record.purchase > 1:
            again.add(record.id)
        standing.in_flight += at_work and _is_in_flight(record)
        if record.owed and not record.rebuy and not record.stuck:
            standing.owed.append(record)
    seen = NameSet()
    for record in ledger.latest():
        if record.id not in again:
            _add(standing, record, folder)
        elif seen.add(record.id):
            _add(standing, in_force(ledger.history(record.id)) or record, folder)
    return standing


def _is_in_flight(record: Record) -> bool:
    """Tell whether the run in progress waits for the answer or the end of this purchase."""
    return record.state in (State.SUBMITTING, State.SUBMITTED) and record.error is None and not record.rebuy


def _add(standing: FolderStatus, record: Record, folder: FolderReader) -> None:
    outcome = outcome_of_record(record)
    if outcome == "done" and not folder.present(record):
        outcome = "missing"
    standing.counts[outcome] += 1
    if outcome == "failed" and len(standing.failed) < SHOWN:
        standing.failed.append(record)
    if outcome == "unknown":
        standing.unknown.append(record)


def _age(record: Record, now: float) -> float:
    try:
        return max(0.0, now - epoch(record.submitted_at or record.at))
    except ValueError:
        return 0.0


def _as_json(standing: FolderStatus, oldest: float, layout: Layout) -> dict[str, object]:
    about = Report(spent_usd=float(standing.spent_usd), output=str(layout.root), results=str(layout.results))
    return {
        **about.as_json(),
        "total": standing.counts.total(),
        "in_flight": standing.in_flight,
        "gone": len(standing.gone),
        **{name: standing.counts[name] for name in COUNTS},
        "oldest_owed_seconds": round(oldest, 3),
        "held_by": "; ".join(holders(layout)) or None,
        "open": [{"id": r.id, "state": r.state.value, "request_id": r.request_id} for r in standing.unknown],
        "shards": len(layout.shards),
    }


def _show(standing: FolderStatus, oldest: float, layout: Layout) -> None:
    busy = holders(layout)
    total = standing.counts.total()
    stuck = [record for record in standing.unknown if record.stuck]
    unknown = [record for record in standing.unknown if not record.stuck]
    owed = standing.owed
    if busy:
        flying = sum(map(_is_in_flight, owed))
        owed = [record for record in owed if not _is_in_flight(record)]
        unknown = [record for record in unknown if not _is_in_flight(record)]
        standing.counts["owed"] -= flying
        standing.counts["unknown"] -= standing.in_flight - flying
    counts = counts_in_words(standing.counts, stuck=len(stuck))
    if standing.in_flight:
        counts = ", ".join(filter(None, [f"{standing.in_flight:,} in flight", counts]))
    parts = f" in {len(layout.shards)} shards" if layout.shards else ""
    say(f"{layout.root}: {'1 job' if total == 1 else f'{total:,} jobs'}{parts}: {counts or 'none'}")
    say(f"Spent: ${standing.spent_usd:.4f} (purchases without a bill count at their reserve)")
    for holder in busy:
        say(f"In use by {holder}")
    if not busy and (standing.owed or standing.counts["left"]):
        same = "`runner run … --shard` of each shard" if layout.shards else "the same `runner run`"
        say(f"No run is in progress: {same} again continues the last run")
    _list("Failed", standing.failed, standing.counts["failed"])
    _list("Unknown outcome, may have been charged; resolve with `runner reconcile`", unknown, len(unknown))
    _list("Stuck, paid but unavailable; resolve with `runner reconcile`", stuck, len(stuck))
    _list_owed(owed, oldest, at_work=bool(busy))


def _show_gone(gone: list[str], *, every: bool) -> None:
    """Print how many jobs are no longer in the manifest; with ``every``, also which."""
    if not gone:
        return
    hint = "" if every else "; --gone lists them"
    say(f"{len(gone):,} no longer in the manifest (nothing is deleted{hint}){':' if every else ''}")
    for job_id in gone if every else ():
        say(f"  {job_id}")


def _list_owed(owed: list[Record], oldest: float, *, at_work: bool) -> None:
    """Print the purchases that are paid and not downloaded yet, the oldest first, each with its age."""
    if not owed:
        return
    who = "the run in progress downloads them" if at_work else "a run or `runner collect` downloads them at no cost"
    say(f"Paid, not downloaded yet: {len(owed):,}, the oldest for {_span(oldest)}; {who}:")
    now = SystemClock().now()
    for record in nsmallest(SHOWN, owed, key=lambda record: record.submitted_at or record.at):
        why = f": {record.error.message}" if record.error else ""
        say(f"  {record.id} (request {record.request_id}), for {_span(_age(record, now))}{why}")
    if len(owed) > SHOWN:
        say(f"  … and {len(owed) - SHOWN:,} more")


def _span(seconds: float) -> str:
    """Return an age in words: ``40 s``, ``12 min``, ``5 h``, ``3 days``."""
    for size, unit in ((172_800, "days"), (7200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / (size / 2):,.0f} {unit}"
    return f"{seconds:.0f} s"


def _list(title: str, records: list[Record], count: int) -> None:
    if count:
        say(f"{title}:")
    for record in records[:SHOWN]:
        why = record.error.message if record.error else record.state.value
        request = f" (request {record.request_id})" if record.request_id else ""
        say(f"  {record.id}{request}: {why}")
    if count > SHOWN:
        say(f"  … and {count - SHOWN:,} more")
