"""``runner status``: the state of a batch. The command takes no lock and changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from heapq import nsmallest
from pathlib import Path

import click
import msgspec

from runner.cli.arguments import known_folder, known_jobs, manifest_argument, place_options
from runner.cli.console import echo, say
from runner.core.clock import SystemClock, epoch
from runner.core.models import Record
from runner.core.name_sets import NameSet
from runner.engine.billing.costs import exact, spent
from runner.engine.summary import COUNTS, Report, counts_in_words, outcome_of_record
from runner.files.folder_reader import FolderReader
from runner.ledger import Layout, LedgerReader, holders, look, open_reader
from runner.planning.rules import in_force

SHOWN = 20


class FolderStatus(msgspec.Struct):
    """Counts of jobs by the outcome of their purchase in force, and the purchases that need a person."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    spent_usd: Decimal = Decimal(0)
    failed: list[Record] = msgspec.field(default_factory=list)
    """The first ``SHOWN`` failed purchases; ``counts`` has their number."""
    unknown: list[Record] = msgspec.field(default_factory=list)
    owed: list[Record] = msgspec.field(default_factory=list)


@click.command("status")
@manifest_argument
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def command(manifest: str, output: Path | None, emulator: bool, as_json: bool) -> int:
    """Show the state of MANIFEST's batch: counts, cost, failures and purchases that need attention.

    MANIFEST may also be the output folder. Works during a run, after it, and after a crash.

    \b
    Example:
      runner status output/spring
    """
    folder = known_folder(manifest, output, emulator=emulator)
    with open_reader(folder.root) as ledger:
        standing = _read(ledger, folder)
        standing.counts["left"] += sum(not ledger.history(job.id) for job in known_jobs(manifest, emulator=emulator))
    layout = look(folder.root)
    now = SystemClock().now()
    oldest = max((_age(record, now) for record in standing.owed), default=0.0)
    if as_json:
        echo(json.dumps(_as_json(standing, oldest, layout)))
    else:
        _show(standing, oldest, layout)
    return 0


def _read(ledger: LedgerReader, folder: FolderReader) -> FolderStatus:
    """Return the status of the folder. Of a job with several purchases, the one in force counts."""
    standing, again = FolderStatus(), NameSet()
    for record in ledger.latest():
        standing.spent_usd += exact(spent(record))
        if record.purchase > 1:
            again.add(record.id)
        if record.owed and not record.rebuy and not record.stuck:
            standing.owed.append(record)
    seen = NameSet()
    for record in ledger.latest():
        if record.id not in again:
            _add(standing, record, folder)
        elif seen.add(record.id):
            _add(standing, in_force(ledger.history(record.id)) or record, folder)
    return standing


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
        **{name: standing.counts[name] for name in COUNTS},
        "oldest_owed_seconds": round(oldest, 3),
        "held_by": "; ".join(holders(layout)) or None,
        "open": [{"id": r.id, "state": r.state.value, "request_id": r.request_id} for r in standing.unknown],
        "shards": len(layout.shards),
    }


def _show(standing: FolderStatus, oldest: float, layout: Layout) -> None:
    busy = holders(layout)
    stuck = [record for record in standing.unknown if record.stuck]
    unknown = [record for record in standing.unknown if not record.stuck]
    counts = counts_in_words(standing.counts, stuck=len(stuck))
    total = standing.counts.total()
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
    _list_owed(standing.owed, oldest, at_work=bool(busy))


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
