"""Survey: one pass over all jobs that decides, counts and looks for conflicts.

Nothing is bought before the pass is complete. The decisions are not kept. The run makes each decision again at the
job's turn, because the ledger has more records by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from runner.core.models import Job
from runner.planning.conflicts import ConflictReport
from runner.planning.planner import Planner
from runner.planning.rules import Action, Decision

SETTLED = (Action.REUSE, Action.HOLD, Action.FAILED)
"""Actions that are final for the whole run, unless a redo chooses the job."""
PLACING = (Action.BUY, Action.MOVE, Action.RESTORE, Action.DELIVER)
"""Actions that put files at paths where other files may be."""


class SurveyResult(msgspec.Struct, kw_only=True):
    """Planned actions of a run on the selected jobs."""

    collecting: set[str] = msgspec.field(default_factory=set)
    """Ids of selected jobs with owed purchases."""
    changed: set[str] = msgspec.field(default_factory=set)
    """Ids of jobs that need another decision after the download: their inputs have changed, a newer purchase is done,
    or the user wants another purchase beside the owed one."""
    doubtful: Counter[str] = msgspec.field(default_factory=Counter)
    """Number of jobs, by model, that may only look new or changed because the schema of earlier purchases is
    unavailable."""
    renamed: int = 0
    """Jobs that take over the records of an id that is gone from the manifest."""
    elsewhere: int = 0
    """Jobs on hold because such records belong to another shard."""
    taken_over: set[str] = msgspec.field(default_factory=set)
    """Old ids of renamed jobs with owed purchases."""
    unsettled: bytearray = msgspec.field(default_factory=bytearray)
    """One byte per job in manifest order: 1 if the job may need work in this run."""


def survey(planner: Planner, jobs: Iterable[Job], visit: Callable[[Job, Decision], None]) -> SurveyResult:
    """Decide about every job and pass each decision to ``visit``. Raises ``ConflictError`` with all conflicts."""
    found = _Surveying(planner)
    unsettled = found.survey.unsettled
    if conflict := planner.conflicts.other_api():
        found.conflicts.note(conflict)
        found.conflicts.raise_any()
    for job in jobs:
        history = planner.history(job)
        old_id = planner.renamed_from(job, history)
        decision = planner.decide_renamed(job, old_id) if old_id else planner.decide(job, history)
        if old_id or decision.action is not Action.REUSE:  # most of a million jobs are done and need nothing more
            decision = found.note(job, old_id, decision)
        unsettled.append(old_id is not None or decision.action not in SETTLED)
        visit(job, decision)
    found.conflicts.raise_any()
    return found.survey


class _Surveying:
    """Findings of the pass so far."""

    def __init__(self, planner: Planner) -> None:
        self.survey = SurveyResult()
        self.conflicts = ConflictReport()
        self._planner = planner
        self._owed = planner.owed()
        self._pursued = planner.pursued()

    def note(self, job: Job, old_id: str | None, decision: Decision) -> Decision:
        """Record a decision, and return it with its follow-up; ``old_id`` is the id before a rename."""
        self._count(job, old_id, decision)
        if self._is_changed(job, decision):
            self.survey.changed.add(job.id)
            if decision.action is Action.COLLECT:
                decision = msgspec.structs.replace(decision, then=self._planner.decide_then(job, old_id))
        self._look_for_conflicts(job, old_id, decision)
        return decision

    def _count(self, job: Job, old_id: str | None, decision: Decision) -> None:
        found = self.survey
        found.renamed += old_id is not None
        if old_id in self._owed:
            found.taken_over.add(old_id)
        found.elsewhere += decision.action is Action.HOLD and decision.record is None
        if decision.action is Action.COLLECT and decision.record is not None:
            found.collecting.add(job.id)
        if not old_id and self._planner.is_doubtful(job, decision):
            found.doubtful[job.model] += 1

    def _is_changed(self, job: Job, decision: Decision) -> bool:
        """Tell whether the job needs another decision after its owed purchase is downloaded."""
        if decision.action is Action.BUY:
            return job.id in self._pursued
        if decision.action is not Action.COLLECT or decision.record is None:
            return False
        return decision.record.fingerprint != job.fingerprint or self._planner.superseded(decision.record)

    def _look_for_conflicts(self, job: Job, old_id: str | None, decision: Decision) -> None:
        conflicts = self._planner.conflicts
        if conflict := conflicts.ownership(job, decision):
            self.conflicts.note(conflict)
        if decision.action in PLACING and not old_id:
            for path in conflicts.foreign_files(job):
                elsewhere, spelling = conflicts.is_of_another_shard(path), conflicts.other_spelling(path)
                self.conflicts.note_path(path, job, another_shard=elsewhere, other_spelling=spelling)


def doubt_about_schemas(jobs: Counter[str]) -> str:
    """Return why nothing may be bought while the jobs in ``SurveyResult.doubtful`` may be unchanged."""
    models = ", ".join(f"{count:,} of {model}" for model, count in sorted(jobs.items()))
    return (
        f"the input schema of earlier purchases is unavailable, and without it jobs may only look new or changed "
        f"({models}); try again when the catalogue can be reached, or use another output folder"
    )
