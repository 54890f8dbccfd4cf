"""``reconcile``: find the open questions of a folder, and write down the user's word about them.

Needs nothing but the folder. Looking takes no lock; settling does. All that is said in one command is checked before
any of it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.core.clock import Clock, SystemClock, timestamp
from runner.core.errors import UsageError
from runner.core.models import Record
from runner.core.shards import Shard
from runner.engine.maintenance.questions import Questions, Saying, Word, settled, sort_out, why_not
from runner.files.output_folder import Folder
from runner.ledger import Reader, hold_all, open_ledger
from runner.manifest.problems import nearest
from runner.planning.rules import made

ALL = "all"


def find_questions(ledger: Reader) -> Questions:
    """All that is unknown or stuck, at any API, and what else is owed and was asked after in vain."""
    records: list[Record] = []
    late: list[Record] = []
    for record in ledger.latest():
        if record.open or record.stuck:
            records.append(record)
        elif record.owed and record.error is not None:
            late.append(record)
    return sort_out(records, [_bought_since(ledger, record) for record in records], late)


def _bought_since(ledger: Reader, record: Record) -> bool:
    history = made(ledger.purchases(record.id, record.api))
    return bool(history) and history[-1].purchase > record.purchase


async def settle(
    folder: Folder,
    sayings: Sequence[Saying],
    *,
    observer: Callable[[Record], None] = lambda _: None,
    clock: Clock | None = None,
) -> Questions:
    """Record every one of ``sayings`` durably, and return what is still open.

    Raises ``UsageError`` for those that make no sense, all of them at once, and nothing is recorded; ``Locked`` while a
    run holds the folder.
    """
    clock = clock or SystemClock()
    with hold_all(folder.root, timestamp(clock.now()), lambda shard: _concerns(sayings, shard)) as held:
        ledger = open_ledger(folder.root, held, observer)
        try:
            for record, saying in _plan(ledger, sayings):
                await ledger.append(settled(record, saying, timestamp(clock.now())))
            return find_questions(ledger)
        finally:
            ledger.close()


def _concerns(sayings: Sequence[Saying], shard: Shard) -> bool:
    """Whether something is said of a job of that shard: only those need not be in use."""
    return any(_means_all(saying) or shard.owns(saying.id) for saying in sayings)


def _plan(ledger: Reader, sayings: Sequence[Saying]) -> list[tuple[Record, Saying]]:
    """Which purchase each saying is about. Raises ``UsageError``."""
    questions = find_questions(ledger)
    owners = _owners(ledger, {saying.request_id for saying in sayings if saying.request_id is not None})
    told: dict[tuple[str, int], Saying] = {}
    planned, faults = [], []
    for saying in _each(sayings, questions):
        found = questions.about(saying)
        fault = why_not(saying, found, owners) if found else _unfound(ledger, questions, saying)
        before = told.get((found[0].id, found[0].purchase)) if found else None
        if not fault and before is not None:
            fault = f"{saying}: the same purchase is meant by {before}"
        if fault:
            faults.append(fault)
            continue
        told[found[0].id, found[0].purchase] = saying
        owners |= {saying.request_id: found[0]} if saying.request_id is not None else {}
        planned.append((found[0], saying))
    if faults:
        raise UsageError("\n".join([*faults, "Nothing was settled."]))
    return planned


def _each(sayings: Sequence[Saying], questions: Questions) -> list[Saying]:
    """``sayings`` with ``--rebuy all`` spelled out; what another of them is about is not meant by that."""
    single = [saying for saying in sayings if not _means_all(saying)]
    if len(single) == len(sayings):
        return single
    named = {(record.id, record.purchase) for saying in single for record in questions.about(saying)}
    rest = [record for record in questions.open if (record.id, record.purchase) not in named]
    return [*single, *(Saying(word=Word.REBUY, id=record.id, purchase=record.purchase) for record in rest)]


def _means_all(saying: Saying) -> bool:
    return saying.word is Word.REBUY and saying.id == ALL and saying.purchase is None


def _owners(ledger: Reader, request_ids: set[str]) -> dict[str, Record]:
    """The purchases that these request ids are recorded for."""
    if not request_ids:
        return {}
    return {record.request_id: record for record in ledger.latest() if record.request_id in request_ids}


def _unfound(ledger: Reader, questions: Questions, saying: Saying) -> str:
    """Why nothing is meant by ``saying``: what became of the purchase, or the nearest id."""
    history = ledger.history(saying.id)
    meant = [record for record in history if saying.purchase in (None, record.purchase)]
    if meant:
        return f"{saying}: purchase {meant[-1].purchase} is {meant[-1].state}; nothing about it is open"
    if history:
        return f"{saying}: {saying.id} has no purchase {saying.purchase}"
    advice = nearest(saying.id, [record.id for record in questions.open])
    advice = advice or nearest(saying.id, {record.id for record in ledger.latest()})
    return f"{saying}: no job of that id was ever bought here" + (f"; {advice}" if advice else "")
