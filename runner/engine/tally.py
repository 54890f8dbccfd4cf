"""Tally of a run: the outcome of each job, the cost of the run, and examples of failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from runner.core.models import INTERNAL, Record, State
from runner.core.name_sets import NameSet
from runner.engine.scheduler import WorkItem
from runner.engine.summary import (
    COUNTS,
    MAX_EXAMPLES,
    FailureCauses,
    Report,
    Stopped,
    outcome_of_decision,
    outcome_of_record,
)
from runner.planning.rules import Action, Decision

_FINISHED = (State.DONE, State.FAILED, State.CANCELLED, State.UNKNOWN)
_FAILED = (State.FAILED, State.UNKNOWN)
"""States that count as failed for ``halt:``. An unknown outcome counts too, since it may cost as much."""


class Tally:
    """Counts of jobs by outcome. Every selected job has exactly one outcome, from the survey to the report."""

    def __init__(self) -> None:
        self.cost_usd = 0.0
        self.finished = 0
        """Jobs that ended in this run, also with a purchase that is in doubt, or paid and impossible to deliver."""
        self.failed = 0
        self.bugs = 0
        """Jobs whose steps met a bug of the runner."""
        self.notes: list[str] = []
        """Notes for the user at the end, independent of the counts."""
        self.missing = NameSet()
        """Ids of done jobs whose files could not be found anywhere in this run."""
        self._counts = Counter[str]()
        self._examples: list[Record] = []
        self._copies = self._copies_failed = 0
        self._causes = FailureCauses()
        self._open: dict[str, WorkItem] = {}
        self._ended: dict[str, Record] = {}
        """Owed purchases that turned out to have ended without a picture. Their jobs may be bought again."""

    @property
    def counts(self) -> dict[str, int]:
        """Return the current number of jobs by outcome."""
        return {name: self._counts[name] for name in COUNTS}

    def enter(self, decision: Decision) -> None:
        """Count a job by the decision about it."""
        self._counts[outcome_of_decision(decision)] += 1
        if decision.action in (Action.HOLD, Action.FAILED) and decision.record is not None:
            self._remember(decision.record, outcome_of_decision(decision))

    def enter_owed(self, record: Record) -> None:
        """Count an owed purchase of a job that is not selected. The purchase is downloaded nevertheless."""
        self._counts[outcome_of_record(record)] += 1

    def decide_again(self, decision: Decision) -> None:
        """Move a job from ``left`` to the outcome of ``decision``, after its old purchase was downloaded."""
        if decision.action is not Action.COLLECT:
            self._move("left", outcome_of_decision(decision))

    def choose(self, outcome: str) -> None:
        """Move a done job from ``outcome`` to ``left``, because it is bought again."""
        self._move(outcome, "left")

    def _move(self, before: str, after: str) -> None:
        self._counts[before] -= 1
        self._counts[after] += 1

    def leave(self, outcome: str) -> None:
        """Move all jobs under ``outcome`` to ``left``, because an interruption came before a redo looked at them."""
        self._counts["left"] += self._counts.pop(outcome, 0)

    def begin(self, job_id: str, work: WorkItem) -> None:
        self._open[job_id] = work

    def finish(self, work: WorkItem, record: Record | None) -> None:
        """Move an item to its final outcome. ``record``: its last record; None: nothing was done."""
        if not work.counted:
            return
        if self._open.get(work.job_id) is work:
            del self._open[work.job_id]
        if record is None:
            return
        outcome = _outcome(work, record)
        self._change(work, outcome)
        if work.job is None and outcome in ("failed", "cancelled"):
            self._ended[record.id] = record
        if outcome == "missing":
            self.missing.add(record.id)
        undelivered = work.fresh and record.has_own_trouble
        self.finished += undelivered or record.state in _FINISHED
        self.failed += undelivered or record.state in _FAILED
        self.bugs += record.error is not None and record.error.code == INTERNAL
        if record.state is not State.DONE or record.error is not None or record.warning is not None:
            self._remember(record, outcome)

    def _change(self, work: WorkItem, outcome: str) -> None:
        """Move a job to ``outcome`` from its current outcome.

        Its owed purchase may have ended without a picture before. That record is then no longer an example of a
        failure, because the job ended otherwise.
        """
        ended = self._ended.pop(work.job_id, None)
        self._move(work.before if ended is None else outcome_of_record(ended), outcome)
        if ended is not None:
            self._causes.drop(ended, outcome_of_record(ended))
            self._examples = [record for record in self._examples if record is not ended]

    def correct(self, before: Record, after: Record) -> None:
        """Replace ``before`` by ``after``: a purchase that was counted turned out to have ended otherwise."""
        self._move(outcome_of_record(before), outcome_of_record(after))
        self._causes.drop(before, outcome_of_record(before))
        self._remember(after, outcome_of_record(after))

    def close(self, newest: Callable[[str], Record | None]) -> None:
        """Count the jobs that an interruption left unfinished by their newest record in the ledger."""
        for job_id, work in self._open.items():
            record = newest(job_id)
            if record is not None and work.job is not None and record.fingerprint == work.job.fingerprint:
                self._change(work, outcome_of_record(record))
        self._open.clear()

    def count_copies(self, made: int, failed: int, problems: Mapping[str, str]) -> None:
        """Set the numbers of copies that were made, and that could not be made."""
        self._copies, self._copies_failed = made, failed
        if failed:
            path, why = next(iter(problems.items()))
            what = "1 copy" if failed == 1 else f"{failed:,} copies"
            self.notes.append(f"{what} could not be made, such as {path}: {why}")

    def report(self, *, spent_usd: float, seconds: float, output: str, results: str, stopped: Stopped | None) -> Report:
        """Return the report of the run."""
        return Report(
            **self.counts,
            cost_usd=round(self.cost_usd, 9),
            bugs=self.bugs,
            copies=self._copies,
            copies_failed=self._copies_failed,
            spent_usd=spent_usd,
            seconds=seconds,
            output=output,
            results=results,
            stopped=stopped,
            notes=tuple(self.notes),
            examples=tuple(self._examples),
            causes=self._causes.listed(),
        )

    def _remember(self, record: Record, outcome: str) -> None:
        self._causes.add(record, outcome)
        if len(self._examples) < MAX_EXAMPLES:
            self._examples.append(record)


def _outcome(work: WorkItem, record: Record) -> str:
    """Return the outcome of an item by its last record.

    A done record with an error is one whose files could not be downloaded again.
    """
    if record.state is State.DONE and record.error is not None:
        return "owed" if record.error.retryable else "missing"
    return work.ends_as if work.ends_as and not record.owed else outcome_of_record(record)
