"""Planner: decides about each job of a manifest, by the rules, the ledger and the disk."""

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
from runner.planning.rules import Action, Decision, as_bought, decide, in_force, will_buy
from runner.planning.selection import failed_ids


class UnreadPurchases(msgspec.Struct):
    """Purchases that no job of the manifest claims, of models whose schema is not always available."""

    ids: dict[str, str] = msgspec.field(default_factory=dict)
    """Ids by the spelling of their inputs."""
    models: set[str] = msgspec.field(default_factory=set)
    """Models of which some purchases were checked with a schema."""


class Planner:
    """Decisions about jobs, based on the ledger and the disk."""

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
        """Use ``manifest`` and ``api`` as the names of this manifest and this API in records.

        ``jobs`` are all jobs of the manifest; ``others`` reads the shards that are not this run's.
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
        """Return the purchases of ``job`` at this API, oldest first."""
        return self._ledger.purchases(job.id, self._api)

    def decide(self, job: Job, history: list[Record] | None = None) -> Decision:
        """Return the current decision about ``job``; ``history`` saves a second lookup in the ledger."""
        history = self.history(job) if history is None else history
        decision = self._decide(job, history)
        if decision.action is Action.REUSE and decision.record and self._folder.displaced(decision.record):
            reason = "done, but a purchase at another API replaced its files"
            return Decision(action=Action.RESTORE, reason=reason, record=decision.record)
        if decision.action is Action.BUY and (old_id := self.bought_elsewhere(job, history)) is not None:
            reason = f"already bought as {old_id} in another shard; `runner merge`, then a run reuses it"
            return Decision(action=Action.HOLD, reason=reason)
        return decision

    def _decide(self, job: Job, history: list[Record]) -> Decision:
        """Return the decision of the rules, with a check of the files to restore.

        Another purchase's files may be at the paths of an older one. Files that are gone are delivered again.
        """
        decision = decide(job, history, present=self._folder.present, resubmit=self._resubmit)
        if decision.action is Action.RESTORE and decision.record and not self._folder.holds(decision.record):
            reason = f"{decision.reason}, and its files are missing"
            return Decision(action=Action.DELIVER, reason=reason, record=decision.record)
        return decision

    def buys(self, job: Job) -> bool:
        """Tell whether ``job`` would be bought.

        Renamed jobs take turns: call ``begin_again`` after asking about all jobs.
        """
        history = self.history(job)
        return self.renamed_from(job, history) is None and self.decide(job, history).buys

    def finds_picture(self, job: Job) -> bool:
        """Tell whether there is a file at a path of the job's outputs that no record names."""
        return next(self.conflicts.foreign_files(job), None) is not None

    def as_bought(self, job: Job) -> Job:
        """Return ``job`` as its purchase was read, if the two differ only by a schema that may be unavailable."""
        if job.model in self._bundled:
            return job
        history = self.history(job)
        if not history:
            old_id = self._read_unclaimed().ids.get(spelling(job.model, job.inputs))
            readers = (self._ledger, self._others) if old_id is not None else ()
            history = [record for reader in readers for record in reader.purchases(old_id or "", self._api)]
        return as_bought(job, history)

    def is_replaced(self, job_id: str, files: frozenset[str]) -> bool:
        """Tell whether a job is done and has none of ``files``, given by SHA-256: others were bought in their place."""
        record = in_force(self._ledger.purchases(job_id, self._api))
        if record is None or record.state is not State.DONE:
            return False
        return not any(output.sha256 in files for output in record.outputs)

    def failed_ids(self) -> frozenset[str]:
        """Return the ids of jobs whose newest purchase at this API failed or was cancelled."""
        return failed_ids(record for record in self._ledger.latest() if record.api == self._api)

    def is_doubtful(self, job: Job, decision: Decision) -> bool:
        """Tell whether ``job`` would be bought and may only look new or changed.

        That is so if its own purchases, or those that no job claims any more, were checked with a schema that is
        unavailable now.
        """
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
        """Yield this manifest's purchases at this API under ids that the manifest no longer has."""
        if next(reader.latest(), None) is None:
            return iter(())  # no records, so the million ids need no check
        reader.claim(self._jobs.ids())
        return filter(self._is_gone, reader.unclaimed())

    def _is_gone(self, record: Record) -> bool:
        """Tell whether a job of the manifest may take over the purchase; its id is looked up again by the full name."""
        mine = record.api == self._api and not self.conflicts.is_another_manifests(record)
        return mine and record.id not in self._jobs and record.state is not State.RELEASED

    def renamed_from(self, job: Job, history: list[Record]) -> str | None:
        """Return the id under which a new job's inputs were recorded, if no job of the manifest claims it any more.

        A takeover that a crash interrupted is found by the lines already written, and continues.
        """
        if history:
            return next((old_id for old_id in _old_ids(history) if self._was_interrupted(job, old_id, history)), None)
        if self._unclaimed is None:
            self._unclaimed = self._find_unclaimed(self._ledger)
        return self._unclaimed.take(job.fingerprint)

    def bought_elsewhere(self, job: Job, history: list[Record]) -> str | None:
        """Return the id under which a new job's inputs were recorded in another shard, if no job claims it any more.

        The same applies to a job whose takeover of that id was interrupted by a crash before the folder was split.
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
        """Reset the renames, so that another pass over the same jobs finds the same ones."""
        if self._unclaimed is not None:
            self._unclaimed.rewind()

    def _was_interrupted(self, job: Job, old_id: str, history: list[Record]) -> bool:
        """Tell whether older purchases were left behind.

        Their numbers are free and below those that were taken over first.
        """
        rest = {record.purchase for record in self.takeover(job, old_id)}
        taken = {record.purchase for record in history}
        return bool(rest) and old_id not in self._jobs and not rest & taken and max(rest) < max(taken)

    def _find_unclaimed(self, reader: LedgerReader) -> RenameIndex:
        """Return the ids that only the ledger knows."""
        found = RenameIndex()
        for record in self._find_gone(reader):
            found.add(record.fingerprint, record.id)
        return found

    def takeover(self, job: Job, old_id: str) -> list[Record]:
        """Return the lines that move an old id's purchases to the job's id, numbered above those of other APIs."""
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
        """Return the decision about ``job`` as if it had taken over the records of ``old_id``."""
        decision = self._decide(job, self.takeover(job, old_id))
        return msgspec.structs.replace(decision, reason=f"renamed from {old_id}; {decision.reason}")

    def decide_then(self, job: Job, old_id: str | None) -> Decision:
        """Return the decision once the job's owed purchases are downloaded; stuck ones count as still stuck."""
        history = self.takeover(job, old_id) if old_id else self._ledger.purchases(job.id, self._api)
        downloaded = [
            msgspec.structs.replace(record, state=State.DONE) if record.owed and not record.stuck else record
            for record in history
        ]
        return self._decide(job, downloaded)

    def claims(self, record: Record) -> bool:
        """Tell whether the manifest still wants the files of a done purchase at their paths."""
        job = self._jobs.find(record.id)
        return job is not None and job.file == record.file

    def owed(self) -> set[str]:
        """Return the ids of jobs with purchases that are paid, not downloaded yet."""
        return {record.id for record in self._ledger.owed(self._api)}

    def pursued(self) -> set[str]:
        """Return those of the owed ids whose jobs the user wants to be bought again."""
        return {record.id for record in self._ledger.owed(self._api) if record.rebuy}

    def superseded(self, record: Record) -> bool:
        """Tell whether a newer purchase of the same job is done."""
        history = self._ledger.purchases(record.id, self._api)
        return any(other.state is State.DONE and other.purchase > record.purchase for other in history)


def _goes_to(source: Job | Record) -> dict[str, Any]:
    return {"file": source.file, "numbered_at": source.numbered_at}


def _old_ids(history: list[Record]) -> list[str]:
    found = {record.renamed_from for record in history if record.renamed_from}
    return sorted(found) if found else []
