"""Rules that decide about a job, given its records in the results log. No I/O.

The rules, in the order in which they decide:

1. Owed purchases are polled and downloaded first, whatever the inputs are now.
2. A purchase that may have happened puts the job on hold. ``on_unknown: resubmit`` allows one more purchase, once in a
   job's life. The user may override the hold: ``reconcile --rebuy`` buys again, and so does a redo that chose the job,
   once.
3. Done with the same inputs: reused; moved if the manifest names another file; delivered again if files are gone.
   A purchase that the user accepted without its files stays as it is.
4. An older purchase had the same inputs: its files are restored.
5. The same inputs failed: bought again only if that may help, and at most three times in all; twice if the API gives no
   code for the failure.
6. Everything else is bought: new jobs, changed inputs, and purchases that were refused (``released``) or cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import msgspec

from runner.core.local_inputs import is_reference, parse_reference
from runner.core.models import LOST, UNEXPLAINED, Job, Json, Output, Record, State
from runner.manifest import spelling

NEW = "new"
"""Reason of the decision about a job without purchases."""
MAX_PURCHASES = 3
"""Purchases of one fingerprint, after which a retryable failure is not paid for again."""
MAX_UNEXPLAINED = 2
"""The same limit if the API gives no code for the failure: nothing shows that a retry may help."""


class Action(StrEnum):
    """Action of a run on a job."""

    REUSE = "reuse"
    MOVE = "move"
    """Reused under another file name."""
    RESTORE = "restore"
    """Reused from an older purchase."""
    COLLECT = "collect"
    DELIVER = "deliver again"
    BUY = "buy"
    HOLD = "held"
    FAILED = "failed"

    @property
    def category(self) -> Action:
        """Return the action under which ``plan`` counts this one: restoring and renaming a file count as reuse."""
        return Action.REUSE if self in (Action.MOVE, Action.RESTORE) else self


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Action, reason, and the purchase that the decision is about (None: the purchase is still to be made)."""

    action: Action
    reason: str
    record: Record | None = None
    then: Decision | None = None
    """Decision that follows in the same run once that purchase is downloaded, as far as it can be foreseen."""
    replaces: Record | None = None
    """Done purchase with other inputs whose files the purchase to be made replaces; None: it replaces none."""

    @property
    def buys(self) -> bool:
        """Return True if the job is bought, now or once an older purchase of it is downloaded."""
        return self.action is Action.BUY or (self.then is not None and self.then.buys)


Present = Callable[[Record], bool]
"""Function that returns True if all files of a done purchase are found, in place or in the archive."""


def in_force(history: Sequence[Record]) -> Record | None:
    """Return the purchase that determines the state and files of its job: the newest, unless it led to nothing.

    A purchase that may have happened counts only as long as it is the newest. A later purchase resolves it.
    """
    if not history:
        return None
    newest = newest_made(history) or history[-1]
    if newest.state not in (State.FAILED, State.CANCELLED, State.RELEASED):
        return newest
    return next((record for record in reversed(history) if record.state is State.DONE), newest)


def made(history: Sequence[Record]) -> list[Record]:
    """Return the purchases without the released ones: those were never made, and count as no result and no try."""
    return [record for record in history if record.state is not State.RELEASED]


def newest_made(history: Sequence[Record]) -> Record | None:
    """Return the last purchase of ``made``, without building the list."""
    for record in reversed(history):
        if record.state is not State.RELEASED:
            return record
    return None


def next_purchase(history: Sequence[Record]) -> int:
    """Return the number of the next purchase; the number of a released one, which was never made, is used again."""
    if not history:
        return 1
    newest = history[-1]
    return newest.purchase if newest.state is State.RELEASED else newest.purchase + 1


def decide(job: Job, history: Sequence[Record], *, present: Present, resubmit: bool = False) -> Decision:
    """Return the decision about ``job``; ``history`` has its purchases at this API, oldest first."""
    if not history:
        return Decision(action=Action.BUY, reason=NEW)
    decision = _decide(job, history, present=present, resubmit=resubmit)
    if decision.action is not Action.BUY:
        return decision
    return msgspec.structs.replace(decision, replaces=_replaced(job, history))


def _replaced(job: Job, history: Sequence[Record]) -> Record | None:
    """Return the newest done purchase with files, if its inputs are not those of ``job``; None: there is none."""
    done = (record for record in reversed(history) if record.state is State.DONE)
    newest = next((record for record in done if any(output.path for output in record.outputs)), None)
    return newest if newest is not None and newest.fingerprint != job.fingerprint else None


def changed_inputs(job: Job, record: Record) -> tuple[str, ...]:
    """Return the names of the inputs that differ between ``job`` and an older purchase of it, in the job's order.

    ``model`` stands for another model.
    """
    names = dict.fromkeys((*job.inputs, *record.inputs))
    changed = (name for name in names if job.inputs.get(name) != record.inputs.get(name))
    return ("model", *changed) if job.model != record.model else tuple(changed)


def _decide(job: Job, history: Sequence[Record], *, present: Present, resubmit: bool) -> Decision:
    owed = next((record for record in history if record.owed and not record.rebuy), None)
    if owed is not None:
        return Decision(action=Action.COLLECT, reason=_owed_reason(owed, job), record=owed)
    newest = newest_made(history)
    if newest is not None and newest.question and not _may_resubmit(history, resubmit=resubmit):
        return _held(newest)
    again = _why_again(job, newest, history)
    if again:
        return Decision(action=Action.BUY, reason=again)
    force = in_force(history)
    if force is not None and force.state is State.DONE and force.fingerprint == job.fingerprint:
        return _reuse(job, force, present)
    return _take_back_or_buy(job, history, present)


def _why_again(job: Job, newest: Record | None, history: Sequence[Record]) -> str:
    """Return why the user wants the job to be bought again, whatever its purchases led to; empty: no such request."""
    if newest is not None and newest.rebuy and newest.fingerprint == job.fingerprint and (newest.open or newest.owed):
        return f"purchase {newest.purchase} counts as spent, and is bought again (reconcile --rebuy)"
    number = wanted_redo(history, job.fingerprint)
    return f"done, and bought again (redo {number})" if number else ""


def wanted_redo(history: Sequence[Record], fingerprint: str) -> int:
    """Return the number of the redo that still has to buy these done inputs again; 0: none."""
    done = _newest_done(history, fingerprint)
    if done is None or not done.redo:
        return 0
    answers = (record for record in made(history) if not _given_up(record))
    served = max((record.redone for record in answers), default=0)
    return done.redo if done.redo > served else 0


def redo_pending(history: Sequence[Record], fingerprint: str, number: int) -> bool:
    """Tell whether redo ``number`` is pending for this job: chosen, and not bought or not at an end."""
    if all(record.redo != number for record in history):
        return False
    newest = newest_made(history)
    return (newest is not None and (newest.owed or newest.open)) or wanted_redo(history, fingerprint) == number


def _newest_done(history: Sequence[Record], fingerprint: str) -> Record | None:
    for record in reversed(history):
        if record.state is State.DONE and record.fingerprint == fingerprint:
            return record
    return None


def _given_up(record: Record) -> bool:
    return record.error is not None and record.error.code == LOST


def _owed_reason(record: Record, job: Job) -> str:
    stuck = f"; stuck: {record.error.message}" if record.stuck and record.error else ""
    changed = "; its inputs changed, and are bought afterwards" if record.fingerprint != job.fingerprint else ""
    return f"purchase {record.purchase} is paid, not downloaded yet{stuck}{changed}"


def _may_resubmit(history: Sequence[Record], *, resubmit: bool) -> bool:
    return resubmit and sum(record.open for record in history) == 1


def _held(newest: Record) -> Decision:
    reason = f"purchase {newest.purchase} may have been bought; resolve with `runner reconcile`"
    return Decision(action=Action.HOLD, reason=reason, record=newest)


def _reuse(job: Job, force: Record, present: Present) -> Decision:
    if _is_closed_without_files(force):
        return _accepted(force)
    if not present(force):
        return Decision(action=Action.DELIVER, reason="done, but files are missing", record=force)
    if (force.file, force.numbered_at) != (job.file, job.numbered_at):
        return Decision(action=Action.MOVE, reason=f"done; file renamed from {force.file}", record=force)
    return Decision(action=Action.REUSE, reason="done", record=force)


def _is_closed_without_files(record: Record) -> bool:
    return record.accepted and all(output.path is None for output in record.outputs)


def _accepted(record: Record) -> Decision:
    reason = f"purchase {record.purchase} is closed (reconcile --accept)"
    return Decision(action=Action.REUSE, reason=reason, record=record)


def _take_back_or_buy(job: Job, history: Sequence[Record], present: Present) -> Decision:
    same = [record for record in history if record.fingerprint == job.fingerprint]
    older = _newest_done(history, job.fingerprint)
    if older is not None and _is_closed_without_files(older):
        return _accepted(older)
    if older is not None:
        reason = f"same inputs as purchase {older.purchase}"
        action = Action.RESTORE if present(older) else Action.DELIVER
        return Decision(action=action, reason=reason, record=older)
    tries = made(same)
    if tries and tries[-1].state is State.FAILED:
        return _after_failure(tries)
    return Decision(action=Action.BUY, reason=_why_buy(job, history, same))


def _after_failure(tries: Sequence[Record]) -> Decision:
    newest = tries[-1]
    why = newest.error.message if newest.error else "no reason given"
    if _given_up(newest):
        return Decision(action=Action.BUY, reason=f"purchase {newest.purchase}: {why}")
    if newest.error is None or not newest.error.retryable:
        return Decision(action=Action.FAILED, reason=f"failed with these inputs: {why}", record=newest)
    if len(tries) >= (MAX_UNEXPLAINED if newest.error.code == UNEXPLAINED else MAX_PURCHASES):
        return Decision(action=Action.FAILED, reason=f"bought {len(tries)} times, failed: {why}", record=newest)
    return Decision(action=Action.BUY, reason=f"failed, tried again: {why}")


def _changed_files(job: Job, record: Record) -> list[str]:
    """Return the paths that ``record`` names with other bytes than ``job``; at most three."""
    earlier = dict(_files_in(record.inputs))
    changed = [path for path, sha256 in _files_in(job.inputs) if earlier.get(path, sha256) != sha256]
    return list(dict.fromkeys(changed))[:3]


def _files_in(inputs: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield path and SHA-256 of each file of this machine."""
    for value in inputs.values():
        yield from (
            parse_reference(item) for item in (value if isinstance(value, list) else [value]) if is_reference(item)
        )


def _why_buy(job: Job, history: Sequence[Record], same: Sequence[Record]) -> str:
    newest = newest_made(history)
    if newest is not None and newest.open:
        return f"purchase {newest.purchase} is unknown; bought once more (on_unknown: resubmit)"
    if not same:
        others = _changed_files(job, history[-1]) if history else []
        return f"inputs changed: another file is at {', '.join(others)}" if others else "inputs changed"
    return {State.RELEASED: "refused before, not charged", State.CANCELLED: "cancelled before"}.get(
        same[-1].state, "not bought yet"
    )


def as_bought(job: Job, history: Sequence[Record]) -> Job:
    """Return ``job`` with the inputs of a purchase that was written alike but read with another schema, or with none.

    A schema of the catalogue may be unavailable for a while, or change. That must not look like inputs changed by the
    user. Failures count only if the schema is unavailable: read differently, the same text may be what the model
    wanted.
    """
    alike = [record for record in history if record.fingerprint == job.fingerprint and _stands(record)]
    if not alike:
        candidates = [record for record in history if _may_be_read_otherwise(job, record)]
        wanted = spelling(job.model, job.inputs) if candidates else ""
        alike = [record for record in candidates if spelling(record.model, record.inputs) == wanted]
    if not alike:
        return job
    found, checked = alike[-1], job.checked or alike[-1].checked
    return msgspec.structs.replace(job, inputs=found.inputs, fingerprint=found.fingerprint, checked=checked)


def _may_be_read_otherwise(job: Job, record: Record) -> bool:
    if record.model != job.model or not (job.checked or record.checked):
        return False
    return not job.checked or _stands(record)


def _stands(record: Record) -> bool:
    """Tell whether the purchase has brought a result, or will."""
    return record.state is State.DONE or record.owed


def will_buy(job: Job, decision: Decision) -> bool:
    """Tell whether ``job`` is bought now, or once its owed purchase is downloaded."""
    changed = decision.record is not None and decision.record.fingerprint != job.fingerprint
    return decision.action is Action.BUY or (decision.action is Action.COLLECT and changed)


def revive(
    job: Job, record: Record, history: Sequence[Record], *, archive_path: Callable[[Record, Output], str]
) -> Record:
    """Return a done purchase as the record to deliver for the current ``job``.

    The purchase in force keeps its number. An older one returns as a new purchase that cost nothing: the newest
    purchase decides, and ``restored_from`` names the paid one. ``archive_path`` returns the archive path of an output.
    """
    force = in_force(history)
    if force is not None and force.purchase == record.purchase:
        return msgspec.structs.replace(record, file=job.file, numbered_at=job.numbered_at)
    outputs = tuple(
        msgspec.structs.replace(output, moved_from=archive_path(record, output)) if output.path else output
        for output in record.outputs
    )
    return msgspec.structs.replace(
        record,
        purchase=next_purchase(history),
        restored_from=record.restored_from or record.purchase,
        renamed_from=None,
        renamed_purchase=None,
        reserved_usd=None,
        priced_seconds=None,
        cost_usd=None,
        redo=0,
        redo_chosen=False,
        redo_closed=False,
        redone=0,
        rebuy=False,
        file=job.file,
        numbered_at=job.numbered_at,
        outputs=outputs,
        copies=(),
    )
