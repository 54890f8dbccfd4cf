"""Summary of a run: counts, money, and the exit code that tells what is left to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.core.models import ACCEPTED, PARTIAL, Halt, Record, State
from runner.planning.rules import Action, Decision

HALTED = 1
"""The exit code of a run that stopped buying because too much failed."""

MAX_CAUSES = 50
MAX_EXAMPLES = 20

COUNTS = ("done", "skipped", "failed", "cancelled", "unknown", "owed", "left", "missing")


_ENDS = {State.DONE: "done", State.FAILED: "failed", State.CANCELLED: "cancelled"}


_WARNINGS = {
    "size": "another size than asked for",
    PARTIAL: "some of its outputs missing",
    ACCEPTED: "its outputs missing, closed with reconcile --accept",
}


def warning_words(warning: str) -> str:
    """What is odd about a done purchase, to be read after "with"."""
    return _WARNINGS.get(warning, f"another {warning} than asked for")


def outcome_of_record(record: Record) -> str:
    """Under which count a purchase stands at the end of a run."""
    if record.rebuy and (record.owed or record.open):
        return "left"
    if record.owed:
        return "unknown" if record.stuck else "owed"
    if record.open:
        return "unknown"
    return _ENDS.get(record.state, "left")


def outcome_of_decision(decision: Decision) -> str:
    """Under which count a job stands that the run has not touched: what was decided, nothing of it done."""
    match decision.action:
        case Action.REUSE:
            return "skipped"
        case Action.HOLD:
            return "unknown"
        case Action.FAILED:
            return "failed"
        case Action.COLLECT if decision.record is not None:
            return outcome_of_record(decision.record)
    return "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCause:
    """Why some jobs ended as they did: how many of one error, and one of them."""

    outcome: str
    """One of ``COUNTS``; ``done`` for what came with a warning: another size, or some outputs missing."""
    code: str
    http_status: int | None
    count: int
    example: Record


class FailureCauses:
    """Counts what ended badly by outcome, error code and HTTP status, with the first of each as an example."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int | None], tuple[int, Record]] = {}

    def add(self, record: Record, outcome: str) -> None:
        """Count ``record``. Codes are the API's words: those beyond ``MAX_CAUSES`` are counted together."""
        key = _key(record, outcome)
        if key not in self._found and len(self._found) >= MAX_CAUSES:
            key = outcome, "other", None
        count, example = self._found.get(key, (0, record))
        self._found[key] = count + 1, example

    def count(self, cause: FailureCause) -> None:
        """Add what another run has counted."""
        key = cause.outcome, cause.code, cause.http_status
        count, example = self._found.get(key, (0, cause.example))
        self._found[key] = count + cause.count, example

    def drop(self, record: Record, outcome: str) -> None:
        """``record`` was counted and turned out to have ended otherwise."""
        key = _key(record, outcome)
        count, example = self._found.get(key, (0, record))
        self._found[key] = count - 1, example

    def listed(self) -> tuple[FailureCause, ...]:
        """The most frequent first."""
        found = [
            FailureCause(outcome=outcome, code=code, http_status=status, count=count, example=example)
            for (outcome, code, status), (count, example) in self._found.items()
            if count > 0
        ]
        return tuple(sorted(found, key=lambda cause: -cause.count))


def _key(record: Record, outcome: str) -> tuple[str, str, int | None]:
    if record.error is None:
        return outcome, record.warning or "", None
    return outcome, record.error.code, record.error.http_status


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Why a run bought no more, and the exit code that this alone would give."""

    reason: str
    exit_code: int


def most_serious(reasons: Iterable[Stopped]) -> Stopped | None:
    """The one whose exit code comes first, then the earliest."""
    return min(reasons, key=lambda stopped: _rank(stopped.exit_code), default=None)


def _rank(exit_code: int) -> int:
    """Where an exit code stands in their order of precedence; the rest come last together."""
    order = (64, 65, 73, 77, 69)
    return order.index(exit_code) if exit_code in order else len(order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The end of a run. ``spent_usd`` counts the whole folder, open questions at their reserve."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    cancelled: int = 0
    unknown: int = 0
    owed: int = 0
    left: int = 0
    missing: int = 0
    cost_usd: float = 0.0
    spent_usd: float = 0.0
    seconds: float = 0.0
    output: str = ""
    results: str = ""
    stopped: Stopped | None = None
    bugs: int = 0
    """Jobs whose steps met a bug of the runner's own in this run."""
    bad_rows: int = 0
    """Rows of feeds that were left out, as ``on_bad_row: skip`` asks."""
    notes: tuple[str, ...] = ()
    """What a person should know, whatever the counts."""
    examples: tuple[Record, ...] = ()
    """A few records that ended badly."""
    causes: tuple[FailureCause, ...] = ()
    """All that ended badly, by cause."""

    @property
    def counts(self) -> dict[str, int]:
        """The eight, by name."""
        return {name: getattr(self, name) for name in COUNTS}

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in COUNTS)

    @property
    def exit_code(self) -> int:
        """The first that applies: what made it unable to go on; 70 bug; 75 work left; 2 money question; 1 failures; 0.

        A bug comes before the work that it left: to run again does not help.

        A picture that is missing everywhere is a warning: its job is done and nothing more can be done for it.
        """
        stopped = self.stopped.exit_code if self.stopped is not None else 0
        if stopped not in (0, HALTED, 75):
            return stopped
        if self.bugs:
            return 70
        if self.owed or (self.left and stopped != HALTED):
            return 75
        if self.unknown:
            return 2
        return 1 if self.failed or self.cancelled or self.bad_rows or stopped == HALTED else 0

    def with_bad_rows(self, count: int) -> Report:
        """The report of a run whose manifest left out so many rows."""
        if not count:
            return self
        rows = "1 row of a feed was" if count == 1 else f"{count:,} rows of feeds were"
        notes = (*self.notes, f"{rows} left out: see the warning at the beginning")
        return replace(self, bad_rows=count, notes=notes)

    def as_json(self) -> dict[str, object]:
        """The object that ``--json`` prints; its field names are a promise."""
        counts = {name: getattr(self, name) for name in ("total", *COUNTS)}
        money = {"cost_usd": round(self.cost_usd, 9), "spent_usd": round(self.spent_usd, 9)}
        return {
            **counts,
            **money,
            "seconds": round(self.seconds, 3),
            "output": self.output,
            "results": self.results,
        }


def combine(reports: Sequence[Report]) -> Report:
    """One report of runs that each did a part. What the folder as a whole has spent is for others to say."""
    counts: dict[str, Any] = {name: sum(getattr(report, name) for report in reports) for name in COUNTS}
    causes = FailureCauses()
    for cause in (cause for report in reports for cause in report.causes):
        causes.count(cause)
    return Report(
        **counts,
        cost_usd=sum(report.cost_usd for report in reports),
        bugs=sum(report.bugs for report in reports),
        stopped=most_serious(report.stopped for report in reports if report.stopped is not None),
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
        examples=tuple(example for report in reports for example in report.examples)[:MAX_EXAMPLES],
        causes=causes.listed(),
    )


def halted(halt: Halt | None, *, failed: int, finished: int) -> bool:
    """Tell whether so much of what finished in this run failed that buying should stop; a share counts from 20 on."""
    if halt is None:
        return False
    if halt.count is not None:
        return failed >= halt.count
    return finished >= 20 and failed >= (halt.share or 0.0) * finished
