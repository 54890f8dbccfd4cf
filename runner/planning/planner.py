"""The planner: what to do with each job of a manifest, by the rules, the ledger and the disk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec

from runner.core.models import Job, Record, State
from runner.files.folder_reader import FolderReader
from runner.ledger import EMPTY, LedgerReader
from runner.manifest import JobStore, bundled_models, spelling
from runner.planning.conflicts import Conflicts
from runner.planning.renames import RenameIndex
from runner.planning.rules import Action, Decision, as_bought, decide, will_buy


class UnreadPurchases(msgspec.Struct):
    """Purchases that no job of the manifest claims, of models whose schema comes and goes."""

    ids: dict[str, str] = msgspec.field(default_factory=dict)
    """By how their inputs were written."""
    models: set[str] = msgspec.field(default_factory=set)
    """Those of which some were read by a schema."""


class Planner:
    """Decides about jobs with what ledger and disk know."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        ledger: LedgerReader,
        folder: FolderReader,
        api: str,
        manifest: str,
        resubmit: bool,
        others: LedgerReader = EMPTY,
    ) -> None:
        """``manifest`` is how records name this manifest; ``api`` how they name this API.

        ``jobs`` are all of the manifest, ``others`` is what shards know that are not this run's.
        """
        self._jobs = jobs
        self._ledger = ledger
        self._others = others
        self._folder = folder
        self._api = api
        self._resubmit = resubmit
        self._unclaimed: RenameIndex | None = None
        self._elsewhere: RenameIndex | None = None
        self._unread: UnreadPurchases | None = None
        self._bundled = frozenset(bundled_models())
        self.conflicts = Conflicts(ledger=ledger, others=others, folder=folder, api=api, manifest=manifest)

    def history(self, job: Job) -> list[Record]:
        """The purchases of ``job`` at this API, oldest first."""
        return self._ledger.purchases(job.id, self._api)

    def decide(self, job: Job, history: list[Record] | None = None) -> Decision:
        """What to do with ``job`` as things stand; ``history`` spares a second look at the ledger."""
        history = self.history(job) if history is None else history
        decision = self._decide(job, history)
        if decision.action is Action.REUSE and decision.record and self._folder.displaced(decision.record):
            reason = "done, but files of another API's purchase took the place of its own"
            return Decision(action=Action.RESTORE, reason=reason, record=decision.record)
        if decision.action is Action.BUY and (old_id := self.bought_elsewhere(job, history)) is not None:
            reason = f"bought as {old_id} in another shard; `runner merge`, and a run takes that over"
            return Decision(action=Action.HOLD, reason=reason)
        return decision

    def _decide(self, job: Job, history: list[Record]) -> Decision:
        """As the rules have it; where an older purchase's files had their place, another's may stand there now."""
        decision = decide(job, history, present=self._folder.present, resubmit=self._resubmit)
        if decision.action is Action.RESTORE and decision.record and not self._folder.holds(decision.record):
            reason = f"{decision.reason}, and its files are gone"
            return Decision(action=Action.DELIVER, reason=reason, record=decision.record)
        return decision

    def buys(self, job: Job) -> bool:
        """Tell whether ``job`` would be bought. ``begin_again`` once all were asked about: renamed jobs take turns."""
        history = self.history(job)
        return self.renamed_from(job, history) is None and self.decide(job, history).buys

    def finds_picture(self, job: Job) -> bool:
        """Tell whether a picture that no record names stands where the job's would go."""
        return next(self.conflicts.foreign_files(job), None) is not None

    def as_bought(self, job: Job) -> Job:
        """``job`` as its purchase was read, if only a schema that comes and goes tells the two apart."""
        if job.model in self._bundled:
            return job
        history = self.history(job)
        if not history:
            old_id = self._read_unclaimed().ids.get(spelling(job.model, job.inputs))
            readers = (self._ledger, self._others) if old_id is not None else ()
            history = [record for reader in readers for record in reader.purchases(old_id or "", self._api)]
        return as_bought(job, history)

    def is_doubtful(self, job: Job, decision: Decision) -> bool:
        """True if ``job`` would be bought and may only look new or changed: the schema that purchases were read by,
        its own or those that no job claims any more, is away."""
        if job.checked or job.model in self._bundled or not will_buy(job, decision):
            return False
        history = self.history(job)
        if not history:
            return job.model in self._read_unclaimed().models
        return any(record.checked and record.model == job.model for record in history)

    def _read_unclaimed(self) -> UnreadPurchases:
        if self._unread is None:
            self._unread = UnreadPurchases()
            for record in chain(self._find_gone(self._ledger), self._find_gone(self._others)):
                if record.model not in self._bundled:
                    self._unread.ids.setdefault(spelling(record.model, record.inputs), record.id)
                    if record.checked:
                        self._unread.models.add(record.model)
        return self._unread

    def _find_gone(self, reader: LedgerReader) -> Iterator[Record]:
        """This manifest's purchases at this API under ids that it has no more."""
        if next(reader.latest(), None) is None:
            return iter(())  # nothing to find among a million ids
        reader.claim(self._jobs.ids())
        return filter(self._is_gone, reader.unclaimed())

    def _is_gone(self, record: Record) -> bool:
        """Tell whether a job of the manifest may take it over; its id is looked up once more, by the name itself."""
        mine = record.api == self._api and not self.conflicts.is_another_manifests(record)
        return mine and record.id not in self._jobs and record.state is not State.RELEASED

    def renamed_from(self, job: Job, history: list[Record]) -> str | None:
        """The id that a new job's very inputs were recorded under, if no job of the manifest claims it any more.

        A takeover that a crash interrupted is found by the lines that it left, and goes on.
        """
        if history:
            return next((old_id for old_id in _old_ids(history) if self._was_interrupted(job, old_id, history)), None)
        if self._unclaimed is None:
            self._unclaimed = self._find_unclaimed(self._ledger)
        return self._unclaimed.take(job.fingerprint)

    def bought_elsewhere(self, job: Job, history: list[Record]) -> str | None:
        """The id that a new job's very inputs were recorded under in another shard, if no job claims it any more.

        Or a job's whose takeover of that id a crash has cut short, before the folder was split.
        """
        if history:
            gone = (old_id for old_id in _old_ids(history) if old_id not in self._jobs)
            return next((old_id for old_id in gone if self._is_elsewhere(old_id, job)), None)
        if self._elsewhere is None:
            self._elsewhere = self._find_unclaimed(self._others)
        return self._elsewhere.find(job.fingerprint)

    def _is_elsewhere(self, old_id: str, job: Job) -> bool:
        there = self._others.purchases(old_id, self._api)
        return any(record.fingerprint == job.fingerprint for record in there)

    def begin_again(self) -> None:
        """Let another pass over the same jobs find the renamed ones as the first did."""
        if self._unclaimed is not None:
            self._unclaimed.rewind()

    def _was_interrupted(self, job: Job, old_id: str, history: list[Record]) -> bool:
        """True if older purchases were left behind: their numbers are free and below those that came over first."""
        rest = {record.purchase for record in self.takeover(job, old_id)}
        taken = {record.purchase for record in history}
        return bool(rest) and old_id not in self._jobs and not rest & taken and max(rest) < max(taken)

    def _find_unclaimed(self, reader: LedgerReader) -> RenameIndex:
        """The ids that only the ledger knows."""
        found = RenameIndex()
        for record in self._find_gone(reader):
            found.add(record.fingerprint, record.id)
        return found

    def takeover(self, job: Job, old_id: str) -> list[Record]:
        """The lines that put an old id's purchases under the job's id, above the numbers that another API's have."""
        others = [record.purchase for record in self._ledger.history(job.id) if record.api != self._api]
        above = max(others, default=0)
        return [
            msgspec.structs.replace(
                record,
                id=job.id,
                purchase=record.purchase + above,
                renamed_from=old_id,
                renamed_purchase=record.purchase if above else None,
                **_goes_to(record if record.state is State.DONE else job),
            )
            for record in self._ledger.purchases(old_id, self._api)
        ]

    def decide_renamed(self, job: Job, old_id: str) -> Decision:
        """What would be decided about ``job`` once it took over the records of ``old_id``."""
        decision = self._decide(job, self.takeover(job, old_id))
        return Decision(
            action=decision.action, reason=f"renamed from {old_id}; {decision.reason}", record=decision.record
        )

    def decide_then(self, job: Job, old_id: str | None) -> Decision:
        """What will be decided once everything is home that the job has owed; what is stuck is taken to stay so."""
        history = self.takeover(job, old_id) if old_id else self._ledger.purchases(job.id, self._api)
        home = [
            msgspec.structs.replace(record, state=State.DONE) if record.owed and not record.stuck else record
            for record in history
        ]
        return self._decide(job, home)

    def claims(self, record: Record) -> bool:
        """Tell whether the manifest still wants a done purchase's files where they are."""
        job = self._jobs.find(record.id)
        return job is not None and job.file == record.file

    def owed(self) -> set[str]:
        """Ids of jobs with something owed."""
        return {record.id for record in self._ledger.owed(self._api)}

    def pursued(self) -> set[str]:
        """Those of them that the user wants bought anew all the same."""
        return {record.id for record in self._ledger.owed(self._api) if record.rebuy}

    def superseded(self, record: Record) -> bool:
        """Tell whether a newer purchase of its job is done."""
        history = self._ledger.purchases(record.id, self._api)
        return any(other.state is State.DONE and other.purchase > record.purchase for other in history)


def _goes_to(source: Job | Record) -> dict[str, Any]:
    return {"file": source.file, "numbered_at": source.numbered_at}


def _old_ids(history: list[Record]) -> list[str]:
    found = {record.renamed_from for record in history if record.renamed_from}
    return sorted(found) if found else []
