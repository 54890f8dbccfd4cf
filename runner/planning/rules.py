"""Rules that decide what to do with a job, given what the results log knows of it. No I/O.

The rules, in the order in which they decide:

1. What is owed is collected first, whatever the inputs say now.
2. A purchase that may have happened holds the job; ``on_unknown: resubmit`` lets it pass once in a job's life.
   The user's word passes it: ``reconcile --rebuy`` buys anew, and so does a redo that chose the job, once.
3. Done with these very inputs: reused; moved if the manifest names another file; delivered again if files are gone.
4. An older purchase had these very inputs: its files are taken back.
5. These inputs failed: bought again only if that may help, and at most three times in all; twice without a code.
6. Everything else is bought: new jobs, changed inputs, what was refused before (``released``) or cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from runner.core.models import LOST, NO_CODE, Job, Output, Record, State
from runner.manifest import spelling

MAX_PURCHASES = 3
"""Of one fingerprint: after so many, a failure that might heal is not paid for again."""
MAX_WITHOUT_CODE = 2
"""The same where the API says no code: nothing then shows that it might heal."""


class Action(StrEnum):
    """What a run does with a job."""

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
        """How ``plan`` counts it: taking back and renaming a file is reuse."""
        return Action.REUSE if self in (Action.MOVE, Action.RESTORE) else self


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """``action``, why, and the purchase that it is about (None for one that is still to be made)."""

    action: Action
    reason: str
    record: Record | None = None
    then: Decision | None = None
    """What follows in the same run once that record is collected, as far as it can be told before."""

    @property
    def buys(self) -> bool:
        """Tell whether the job is bought, now or once an older purchase of it is home."""
        return self.action is Action.BUY or (self.then is not None and self.then.buys)


Present = Callable[[Record], bool]
"""Whether all files of a done purchase can be found, in their place or set aside."""


def in_force(history: Sequence[Record]) -> Record | None:
    """The purchase that tells of its job and decides what its files are: the newest, unless that brought nothing.

    One that is perhaps bought is seen as long as it is the newest: what was bought anew since is no question any more.
    """
    if not history:
        return None
    newest = newest_made(history) or history[-1]
    if newest.state not in (State.FAILED, State.CANCELLED, State.RELEASED):
        return newest
    return next((record for record in reversed(history) if record.state is State.DONE), newest)


def made(history: Sequence[Record]) -> list[Record]:
    """Purchases without the released: those were never made, and so answer no question and count as no try."""
    return [record for record in history if record.state is not State.RELEASED]


def newest_made(history: Sequence[Record]) -> Record | None:
    """The last of ``made``: it is asked for each of a million jobs."""
    for record in reversed(history):
        if record.state is not State.RELEASED:
            return record
    return None


def next_purchase(history: Sequence[Record]) -> int:
    """The number of the next purchase; a released one was never made, so its number is used again."""
    if not history:
        return 1
    newest = history[-1]
    return newest.purchase if newest.state is State.RELEASED else newest.purchase + 1


def decide(job: Job, history: Sequence[Record], *, present: Present, resubmit: bool = False) -> Decision:
    """What to do with ``job``; ``history`` holds its purchases at this API, oldest first."""
    if not history:
        return Decision(action=Action.BUY, reason="new")
    owed = next((record for record in history if record.owed and not record.rebuy), None)
    if owed is not None:
        return Decision(action=Action.COLLECT, reason=_owed_reason(owed, job), record=owed)
    newest = newest_made(history)
    if newest is not None and newest.question and not _may_resubmit(history, resubmit=resubmit):
        return _held(newest)
    word = _users_word(job, newest, history)
    if word:
        return Decision(action=Action.BUY, reason=word)
    force = in_force(history)
    if force is not None and force.state is State.DONE and force.fingerprint == job.fingerprint:
        return _reuse(job, force, present)
    return _take_back_or_buy(job, history, present)


def _users_word(job: Job, newest: Record | None, history: Sequence[Record]) -> str:
    """Why the job is bought anew whatever its purchases brought, because the user said so; else empty."""
    if newest is not None and newest.rebuy and newest.fingerprint == job.fingerprint and (newest.open or newest.owed):
        return f"purchase {newest.purchase} is left as it is and bought anew, as you said (reconcile --rebuy)"
    number = wanted_redo(history, job.fingerprint)
    return f"done, and to be bought anew (redo {number})" if number else ""


def wanted_redo(history: Sequence[Record], fingerprint: str) -> int:
    """The number of the redo that has yet to buy these done inputs anew; 0 for none."""
    done = _newest_done(history, fingerprint)
    if done is None or not done.redo:
        return 0
    answers = (record for record in made(history) if not _given_up(record))
    served = max((record.redone for record in answers), default=0)
    return done.redo if done.redo > served else 0


def redo_pending(history: Sequence[Record], fingerprint: str, number: int) -> bool:
    """Tell whether redo ``number`` still waits for this job: chosen, and not bought or not at an end."""
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
    changed = "; its inputs changed since, and are bought afterwards" if record.fingerprint != job.fingerprint else ""
    return f"purchase {record.purchase} is paid and not delivered{stuck}{changed}"


def _may_resubmit(history: Sequence[Record], *, resubmit: bool) -> bool:
    return resubmit and sum(record.open for record in history) == 1


def _held(newest: Record) -> Decision:
    reason = f"purchase {newest.purchase} may have been bought; see `runner reconcile`"
    return Decision(action=Action.HOLD, reason=reason, record=newest)


def _reuse(job: Job, force: Record, present: Present) -> Decision:
    if not present(force):
        return Decision(action=Action.DELIVER, reason="done, but files are gone", record=force)
    if (force.file, force.numbered_at) != (job.file, job.numbered_at):
        return Decision(action=Action.MOVE, reason=f"done; file renamed from {force.file}", record=force)
    return Decision(action=Action.REUSE, reason="done", record=force)


def _take_back_or_buy(job: Job, history: Sequence[Record], present: Present) -> Decision:
    same = [record for record in history if record.fingerprint == job.fingerprint]
    older = _newest_done(history, job.fingerprint)
    if older is not None:
        reason = f"inputs are those of purchase {older.purchase} again"
        action = Action.RESTORE if present(older) else Action.DELIVER
        return Decision(action=action, reason=reason, record=older)
    tries = made(same)
    if tries and tries[-1].state is State.FAILED:
        return _after_failure(tries)
    return Decision(action=Action.BUY, reason=_why_buy(history, same))


def _after_failure(tries: Sequence[Record]) -> Decision:
    newest = tries[-1]
    why = newest.error.message if newest.error else "no reason given"
    if _given_up(newest):
        return Decision(action=Action.BUY, reason=f"purchase {newest.purchase}: {why}")
    if newest.error is None or not newest.error.retryable:
        return Decision(action=Action.FAILED, reason=f"failed with these inputs: {why}", record=newest)
    if len(tries) >= (MAX_WITHOUT_CODE if newest.error.code == NO_CODE else MAX_PURCHASES):
        return Decision(action=Action.FAILED, reason=f"bought {len(tries)} times, failed: {why}", record=newest)
    return Decision(action=Action.BUY, reason=f"failed, may work now: {why}")


def _why_buy(history: Sequence[Record], same: Sequence[Record]) -> str:
    newest = newest_made(history)
    if newest is not None and newest.open:
        return f"purchase {newest.purchase} is unknown; on_unknown: resubmit buys once more"
    if not same:
        return "inputs changed"
    return {State.RELEASED: "refused before, nothing was bought", State.CANCELLED: "cancelled before"}.get(
        same[-1].state, "not bought yet"
    )


def as_bought(job: Job, history: Sequence[Record]) -> Job:
    """``job`` with the inputs of a purchase that was written alike and only read by another schema, or by none.

    A schema of the catalogue may be away for a night, or change: that must not look like inputs which the user changed.
    Failures count only if the schema is away: read otherwise, the same text may be what the model wanted.
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
    """Tell whether something was had for the money, or will be."""
    return record.state is State.DONE or record.owed


def will_buy(job: Job, decision: Decision) -> bool:
    """Tell whether ``job`` is bought now, or once what is owed of it is home."""
    changed = decision.record is not None and decision.record.fingerprint != job.fingerprint
    return decision.action is Action.BUY or (decision.action is Action.COLLECT and changed)


def revive(job: Job, record: Record, history: Sequence[Record], *, aside: Callable[[Record, Output], str]) -> Record:
    """A done purchase as it is to be delivered for ``job`` as that stands now.

    The one in force keeps its number. An older one comes back as a new purchase that cost nothing: the newest decides,
    and ``restored_from`` says where it was paid. ``aside`` tells where its files were put.
    """
    force = in_force(history)
    if force is not None and force.purchase == record.purchase:
        return msgspec.structs.replace(record, file=job.file, numbered_at=job.numbered_at)
    outputs = tuple(
        msgspec.structs.replace(output, moved_from=aside(record, output)) if output.path else output
        for output in record.outputs
    )
    return msgspec.structs.replace(
        record,
        purchase=next_purchase(history),
        restored_from=record.restored_from or record.purchase,
        renamed_from=None,
        renamed_purchase=None,
        reserved_usd=None,
        cost_usd=None,
        redo=0,
        redo_chosen=False,
        redo_closed=False,
        redone=0,
        rebuy=False,
        file=job.file,
        numbered_at=job.numbered_at,
        outputs=outputs,
    )
