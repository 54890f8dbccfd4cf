"""Survey: one pass over all jobs that decides, counts and looks for conflicts.

Nothing is bought before the pass is through. The decisions are not kept: the run asks for each again when its turn
comes, because by then the ledger knows more.
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
"""What is decided once and for the whole run, unless a redo chooses the job."""
PLACING = (Action.BUY, Action.MOVE, Action.RESTORE, Action.DELIVER)
"""What puts files where others may stand."""


class SurveyResult(msgspec.Struct, kw_only=True):
    """What a run would do with the selected jobs."""

    collecting: set[str] = msgspec.field(default_factory=set)
    """Ids of selected jobs with something owed."""
    changed: set[str] = msgspec.field(default_factory=set)
    """Those to be decided about again once that is home: their inputs are others by now, or a newer purchase is there,
    or the user wants them bought beside it."""
    doubtful: Counter[str] = msgspec.field(default_factory=Counter)
    """Jobs, by model, that may only look new or changed because the schema they were read by is away."""
    renamed: int = 0
    """Jobs that take over the records of an id which is gone from the manifest."""
    elsewhere: int = 0
    """Jobs that would, were those records not another shard's: held."""
    taken_over: set[str] = msgspec.field(default_factory=set)
    """Those ids, as far as something of them is owed."""
    unsettled: bytearray = msgspec.field(default_factory=bytearray)
    """A byte for each job, in their order: 0 where there is nothing to do, and nothing that this run does for other
    jobs can change that; else 1."""


def survey(planner: Planner, jobs: Iterable[Job], visit: Callable[[Job, Decision], None]) -> SurveyResult:
    """Decide about every job, tell ``visit`` each decision, and raise ``ConflictError`` with all that is in the way."""
    found = _Surveying(planner)
    unsettled = found.survey.unsettled
    if conflict := planner.conflicts.other_api():
        found.conflicts.note(conflict)
        found.conflicts.raise_any()
    for job in jobs:
        history = planner.history(job)
        old_id = planner.renamed_from(job, history)
        decision = planner.decide_renamed(job, old_id) if old_id else planner.decide(job, history)
        if old_id or decision.action is not Action.REUSE:  # of a million jobs most are done, and that is all of it
            decision = found.note(job, old_id, decision)
        unsettled.append(old_id is not None or decision.action not in SETTLED)
        visit(job, decision)
    found.conflicts.raise_any()
    return found.survey


class _Surveying:
    """What the pass has come upon so far."""

    def __init__(self, planner: Planner) -> None:
        self.survey = SurveyResult()
        self.conflicts = ConflictReport()
        self._planner = planner
        self._owed = planner.owed()
        self._pursued = planner.pursued()

    def note(self, job: Job, old_id: str | None, decision: Decision) -> Decision:
        """Keep what is to be known of a decision, and return it with what follows; ``old_id`` is a renamed job's."""
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
        """Tell whether the job is to be decided about again once what is owed of it is home."""
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
    """Why nothing may be bought while ``SurveyResult.doubtful`` jobs cannot be told from changed ones."""
    models = ", ".join(f"{count:,} of {model}" for model, count in sorted(jobs.items()))
    return (
        f"the input schema that earlier purchases were read by is away, and without it jobs look new or changed "
        f"({models}); try again when the catalogue can be asked, or buy into another output folder"
    )
