"""State of a folder as ``runner status`` prints it: counts, what needs a person, and the commands that help."""

from __future__ import annotations

import shlex
from collections import Counter
from decimal import Decimal
from heapq import nsmallest

import msgspec

from runner.cli.console import say
from runner.cli.display.summary import Step, Typed, counted
from runner.core.clock import SystemClock, epoch
from runner.core.models import Record, State
from runner.core.name_sets import NameSet
from runner.engine.billing.costs import exact, spent
from runner.engine.summary import counts_in_words, outcome_of_record
from runner.files.folder_reader import FolderReader
from runner.ledger import Layout, LedgerReader, holders
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
    in_flight: int = 0
    """Purchases that the run in progress has submitted."""
    also_counted: Counter[str] = msgspec.field(default_factory=Counter)
    """Those of them that ``counts`` has as owed or unknown."""
    gone: list[str] = msgspec.field(default_factory=list)
    """Ids with purchases that the manifest no longer has."""

    def oldest(self) -> float:
        """Return for how many seconds the oldest paid result is not downloaded."""
        now = SystemClock().now()
        return max((_age(record, now) for record in self.owed), default=0.0)


def read_status(ledger: LedgerReader, folder: FolderReader, *, at_work: bool) -> FolderStatus:
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
            _add(standing, record, folder, at_work=at_work)
        elif seen.add(record.id):
            _add(standing, in_force(ledger.history(record.id)) or record, folder, at_work=at_work)
    return standing


def _is_in_flight(record: Record) -> bool:
    """Tell whether the run in progress waits for the answer or the end of this purchase."""
    return record.state in (State.SUBMITTING, State.SUBMITTED) and record.error is None and not record.rebuy


def _add(standing: FolderStatus, record: Record, folder: FolderReader, *, at_work: bool) -> None:
    outcome = outcome_of_record(record)
    if outcome == "done" and not folder.present(record):
        outcome = "missing"
    standing.counts[outcome] += 1
    standing.also_counted[outcome] += at_work and _is_in_flight(record)
    if outcome == "failed" and len(standing.failed) < SHOWN:
        standing.failed.append(record)
    if outcome == "unknown":
        standing.unknown.append(record)


def _age(record: Record, now: float) -> float:
    try:
        return max(0.0, now - epoch(record.submitted_at or record.at))
    except ValueError:
        return 0.0


def show(standing: FolderStatus, layout: Layout, typed: Typed, *, gone: bool) -> None:
    """Print the status and the commands that help; with ``gone``, also the jobs that left the manifest."""
    busy = holders(layout)
    total = standing.counts.total()
    stuck = [record for record in standing.unknown if record.stuck]
    unknown = [record for record in standing.unknown if not record.stuck]
    owed = standing.owed
    if busy:
        owed = [record for record in owed if not _is_in_flight(record)]
        unknown = [record for record in unknown if not _is_in_flight(record)]
    counts = counts_in_words(standing.counts - standing.also_counted, stuck=len(stuck))
    if standing.in_flight:
        counts = ", ".join(filter(None, [f"{standing.in_flight:,} in flight", counts]))
    parts = f" in {len(layout.shards)} shards" if layout.shards else ""
    say(f"{layout.root}: {'1 job' if total == 1 else f'{total:,} jobs'}{parts}: {counts or 'none'}")
    say(f"Spent: ${standing.spent_usd:.4f} (purchases without a bill count at their reserve)")
    for holder in busy:
        say(f"In use by {holder}")
    if not busy and (standing.owed or standing.counts["left"]):
        say("No run is in progress.")
    after = ", after this run" if busy else ""
    _list("Failed", standing.failed, standing.counts["failed"])
    _list(f"Unknown outcome, may have been charged; resolve with `runner reconcile`{after}", unknown, len(unknown))
    _list(f"Stuck, paid but unavailable; resolve with `runner reconcile`{after}", stuck, len(stuck))
    _list_owed(owed, standing.oldest(), at_work=bool(busy))
    _show_gone(standing.gone, every=gone)
    for step in () if busy else next_steps(standing, layout, typed):
        for line in str(step).splitlines():
            say(line)


def next_steps(standing: FolderStatus, layout: Layout, typed: Typed) -> list[Step]:
    """Return the commands that help when no run is in progress: one for each group of jobs that needs one."""
    counts, owed = standing.counts, len(standing.owed)
    target = typed.target or shlex.quote(str(layout.root))
    steps = []
    if counts["unknown"]:
        stuck = sum(record.stuck for record in standing.unknown)
        unknown = counts["unknown"] - stuck
        groups = {f"{unknown:,} of unknown outcome": unknown, f"{stuck:,} stuck": stuck}
        why = f"resolves {' and '.join(words for words, count in groups.items() if count)}; on hold until then"
        steps.append(Step(command=f"runner reconcile {target}", why=why))
    downloads = f"downloads {counted(owed, 'paid result')} at no cost"
    waiting = counts["left"] + counts["cancelled"]
    if waiting:
        run = typed.run + (" --shard I/N, for each shard" if layout.shards and "--shard" not in typed.run else "")
        buys = f"buys {counted(waiting, 'waiting job')}"
        steps.append(Step(command=run, why=f"{downloads}, and {buys}" if owed else buys))
    elif owed:
        steps.append(Step(command=f"runner collect {target}", why=f"{downloads}, and buys nothing"))
    if counts["missing"]:
        why = f"downloads the missing files of {counted(counts['missing'], 'job')} again, at no cost"
        steps.append(Step(command=f"runner verify {target} --repair", why=why))
    if counts["failed"]:
        why = f"tries {counted(counts['failed'], 'failed job')} again; first correct the inputs that the API refused"
        steps.append(Step(command=f"{typed.run} --failed", why=why))
    if not steps and counts.total():
        steps.append(Step(command=f"runner report {target}", why="writes one page with every picture"))
    return steps


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
    who = "; the run in progress downloads them" if at_work else ""
    say(f"Paid, not downloaded yet: {len(owed):,}, the oldest for {_span(oldest)}{who}:")
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
