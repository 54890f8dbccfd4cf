"""Summary of a run: counts, costs, and the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.core.models import ACCEPTED, PARTIAL, Halt, Record, State
from runner.planning.rules import Action, Decision

HALTED = 1
"""Exit code of a run that stopped buying because too many jobs failed."""

MAX_CAUSES = 50
MAX_EXAMPLES = 20

COUNTS = ("done", "skipped", "failed", "cancelled", "unknown", "owed", "left", "missing")
COUNT_WORDS = {"skipped": "done before", "owed": "paid (not downloaded yet)", "missing": "with missing files"}
"""Counts in words, where the name is not plain."""


_ENDS = {State.DONE: "done", State.FAILED: "failed", State.CANCELLED: "cancelled"}


_WARNINGS = {
    "size": "another size than requested",
    PARTIAL: "unavailable outputs",
    ACCEPTED: "unavailable outputs, closed with reconcile --accept",
}


def warning_words(warning: str) -> str:
    """Return the warning of a done purchase in words, to follow "with"."""
    return _WARNINGS.get(warning, f"another {warning} than requested")


def counts_in_words(counts: Mapping[str, int], *, stuck: int) -> str:
    """Return the counts that are not zero: ``7 done, 2 left``. ``stuck``: how many of the unknown ones are stuck."""
    found = {name: counts.get(name, 0) for name in COUNTS}
    found["unknown"] -= stuck
    words = [f"{count:,} {COUNT_WORDS.get(name, name)}" for name, count in found.items() if count]
    return ", ".join([*words, *([f"{stuck:,} stuck"] if stuck else [])])


def outcome_of_record(record: Record) -> str:
    """Return the outcome under which a purchase is counted at the end of a run."""
    if record.rebuy and (record.owed or record.open):
        return "left"
    if record.owed:
        return "unknown" if record.stuck else "owed"
    if record.open:
        return "unknown"
    return _ENDS.get(record.state, "left")


def outcome_of_decision(decision: Decision) -> str:
    """Return the outcome of a job for which a decision was made and nothing was done yet."""
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
    """Jobs with the same outcome and error: their number and one example."""

    outcome: str
    """One of ``COUNTS``; ``done`` for jobs with a warning: another size, or missing outputs."""
    code: str
    http_status: int | None
    count: int
    example: Record


class FailureCauses:
    """Counts of failures and warnings by outcome, error code and HTTP status, with the first of each as an example."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int | None], tuple[int, Record]] = {}

    def add(self, record: Record, outcome: str) -> None:
        """Count ``record``. The API may send any code, so causes beyond ``MAX_CAUSES`` are counted together."""
        key = _key(record, outcome)
        if key not in self._found and len(self._found) >= MAX_CAUSES:
            key = outcome, "other", None
        count, example = self._found.get(key, (0, record))
        self._found[key] = count + 1, example

    def count(self, cause: FailureCause) -> None:
        """Add a cause that another run has counted."""
        key = cause.outcome, cause.code, cause.http_status
        count, example = self._found.get(key, (0, cause.example))
        self._found[key] = count + cause.count, example

    def drop(self, record: Record, outcome: str) -> None:
        """Remove ``record`` from the counts, because it turned out to have ended otherwise."""
        key = _key(record, outcome)
        count, example = self._found.get(key, (0, record))
        self._found[key] = count - 1, example

    def listed(self) -> tuple[FailureCause, ...]:
        """Return the causes, the most frequent first."""
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
    """Reason why a run stopped buying, and the exit code for this reason alone."""

    reason: str
    exit_code: int
    remedy: str = ""
    """Condition or option of the next run; empty: ``exit_code`` says enough."""


def most_serious(reasons: Iterable[Stopped]) -> Stopped | None:
    """Return the reason whose exit code takes precedence, then the earliest; None: there are no reasons."""
    return min(reasons, key=lambda stopped: _rank(stopped.exit_code), default=None)


def _rank(exit_code: int) -> int:
    """Return the rank of an exit code in the order of precedence. Codes without a rank share the last one."""
    order = (64, 65, 73, 77, 69)
    return order.index(exit_code) if exit_code in order else len(order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Result of a run. ``spent_usd`` is for the whole folder and counts purchases without a bill at their reserve."""

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
    """Jobs whose steps met a bug of the runner in this run."""
    copies: int = 0
    """Copies and sidecars that were made."""
    copies_failed: int = 0
    """Copies and sidecars that could not be made; the next run tries again."""
    bad_rows: int = 0
    """Rows of feeds that were skipped due to ``on_bad_row: skip``."""
    left_out_rows: int = 0
    """Rows of feeds that were left out by `where:`."""
    notes: tuple[str, ...] = ()
    """Notes for the user, independent of the counts."""
    examples: tuple[Record, ...] = ()
    """Examples of records with a failure or a warning, at most ``MAX_EXAMPLES``."""
    causes: tuple[FailureCause, ...] = ()
    """All failures and warnings, by cause."""

    @property
    def counts(self) -> dict[str, int]:
        """Return the eight counts by name."""
        return {name: getattr(self, name) for name in COUNTS}

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in COUNTS)

    @property
    def exit_code(self) -> int:
        """Return the exit code, the first of these that applies.

        - the code of the reason that prevented the run from continuing
        - 70: a bug of the runner. It precedes 75, because another run does not help
        - 75: work is left
        - 2: the outcome of a purchase is unknown
        - 1: failures
        - 0

        A picture that is missing everywhere is only a warning: its job is done, and nothing more can be done.
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
        return 1 if self.failed or self.cancelled or self.bad_rows or self.copies_failed or stopped == HALTED else 0

    def with_rows(self, *, bad: int, left_out: int) -> Report:
        """Return the report with the numbers of rows of feeds that made no jobs, and a note about the ``bad`` ones.

        ``left_out``: rows left out by `where:`.
        """
        notes = self.notes
        if bad:
            rows = "1 row of a feed was" if bad == 1 else f"{bad:,} rows of feeds were"
            notes = (*notes, f"{rows} skipped; see the warnings at the beginning")
        return replace(self, bad_rows=bad, left_out_rows=left_out, notes=notes)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``--json`` prints. Its field names are stable."""
        counts = {name: getattr(self, name) for name in ("total", *COUNTS)}
        copies = {"copies": self.copies, "copies_failed": self.copies_failed}
        money = {"cost_usd": round(self.cost_usd, 9), "spent_usd": round(self.spent_usd, 9)}
        return {
            **counts,
            **money,
            **(copies if any(copies.values()) else {}),
            "seconds": round(self.seconds, 3),
            "output": self.output,
            "results": self.results,
        }


def combine(reports: Sequence[Report]) -> Report:
    """Return one report of runs that each did a part of the jobs. ``spent_usd`` of the folder is left to the caller."""
    counts: dict[str, Any] = {name: sum(getattr(report, name) for report in reports) for name in COUNTS}
    causes = FailureCauses()
    for cause in (cause for report in reports for cause in report.causes):
        causes.count(cause)
    return Report(
        **counts,
        cost_usd=sum(report.cost_usd for report in reports),
        bugs=sum(report.bugs for report in reports),
        copies=sum(report.copies for report in reports),
        copies_failed=sum(report.copies_failed for report in reports),
        stopped=most_serious(report.stopped for report in reports if report.stopped is not None),
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
        examples=tuple(example for report in reports for example in report.examples)[:MAX_EXAMPLES],
        causes=causes.listed(),
    )


def halted(halt: Halt | None, *, failed: int, finished: int) -> bool:
    """Tell whether so many finished jobs failed that buying stops. A share applies from 20 finished jobs on."""
    if halt is None:
        return False
    if halt.count is not None:
        return failed >= halt.count
    return finished >= 20 and failed >= (halt.share or 0.0) * finished
