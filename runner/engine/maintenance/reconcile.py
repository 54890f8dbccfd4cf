"""Reconciliation: the open purchases of a folder, and what the user says of them.

Needs nothing but the folder. Listing takes no lock; recording does. All that is said in one command is checked before
any of it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

import msgspec

from runner.core.clock import Clock, SystemClock, timestamp
from runner.core.errors import UsageError
from runner.core.models import LOST, REQUEST_ID, Fault, Record, State
from runner.core.shards import Shard
from runner.files.output_folder import Folder
from runner.ledger import Reader, hold_all, open_ledger
from runner.ledger.records import follow, in_doubt
from runner.manifest.problems import nearest
from runner.planning.rules import made

ALL = "all"

SHOWN = 3
"""So many ids or purchases are named in an error."""


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


class Word(StrEnum):
    """What the user says about a purchase."""

    ADOPT = "adopt"
    LOST = "lost"
    REBUY = "rebuy"


class Saying(msgspec.Struct, frozen=True, kw_only=True):
    """One word about one purchase of a job: the one that is open, or the one with this number."""

    word: Word
    id: str
    purchase: int | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        number = f"/{self.purchase}" if self.purchase is not None else ""
        request = f"={self.request_id}" if self.request_id is not None else ""
        return f"--{self.word} {self.id}{number}{request}"


class Questions(msgspec.Struct, frozen=True, kw_only=True):
    """What is open in a folder, in order of first appearance."""

    unknown: tuple[Record, ...] = ()
    stuck: tuple[Record, ...] = ()
    passed: tuple[Record, ...] = ()
    """Never answered, but no question any more: the job was bought anew, or will be. They count as spent."""
    late: tuple[Record, ...] = ()
    """Owed, and asked after in vain at least once: no question, but the user may give up on one by its name."""

    @property
    def open(self) -> tuple[Record, ...]:
        return self.unknown + self.stuck

    @property
    def exit_code(self) -> int:
        return 2 if self.open else 0

    def about(self, saying: Saying) -> list[Record]:
        """The purchases that a saying may mean, the open ones before those passed over (which nobody buys again)."""
        for group in (self.open, self.passed if saying.word is not Word.REBUY else (), self.late):
            found = [r for r in group if r.id == saying.id and saying.purchase in (None, r.purchase)]
            if found:
                return found
        return []


def sort_out(records: Iterable[Record], newer: Iterable[bool], late: Iterable[Record] = ()) -> Questions:
    """``records`` are unknown or stuck; ``newer`` tells of each whether its job has bought anew since."""
    unknown: list[Record] = []
    stuck: list[Record] = []
    passed: list[Record] = []
    for record, later in zip(records, newer, strict=True):
        target = passed if record.rebuy or (later and record.open) else unknown if record.open else stuck
        target.append(record)
    return Questions(unknown=tuple(unknown), stuck=tuple(stuck), passed=tuple(passed), late=tuple(late))


def parse_adopt(text: str) -> Saying:
    """``ID=REQUEST_ID`` or ``ID/PURCHASE=REQUEST_ID``. Raises ``ValueError``."""
    name, equals, request_id = text.rpartition("=")
    if not equals or not name:
        raise ValueError(f"--adopt {text}: write ID=REQUEST_ID, with the id that RunComfy's Generations page shows")
    if not REQUEST_ID.fullmatch(request_id):
        raise ValueError(f"--adopt {text}: {request_id!r} is no request id; one has letters, digits, - and _ only")
    return msgspec.structs.replace(parse_name(Word.ADOPT, name), request_id=request_id)


def parse_name(word: Word, text: str) -> Saying:
    """``ID``, or ``ID/PURCHASE`` where a job has several open; no id holds a slash."""
    name, slash, number = text.rpartition("/")
    if slash and number.isascii() and number.isdigit():
        return Saying(word=word, id=name, purchase=int(number))
    return Saying(word=word, id=text)


def settled(record: Record, saying: Saying, at: str) -> Record:
    """What the user's word makes of an open purchase."""
    match saying.word:
        case Word.ADOPT:
            adopted = {"request_id": saying.request_id, "submitted_at": at, "rebuy": False}
            return follow(in_doubt(record, record.at), State.SUBMITTED, at, **adopted)
        case Word.LOST if record.open:
            fault = Fault(code=LOST, message="settled with `reconcile --lost`: nothing was bought", retryable=True)
            return follow(in_doubt(record, record.at), State.RELEASED, at, error=fault, rebuy=False)
        case Word.LOST:
            why = record.error.message if record.error else "stuck"
            fault = Fault(code=LOST, message=f"given up with `reconcile --lost` ({why})", retryable=True)
            return follow(record, State.FAILED, at, error=fault, rebuy=False)
    return msgspec.structs.replace(in_doubt(record, record.at), at=at, rebuy=True)


def why_not(saying: Saying, found: Sequence[Record], owners: dict[str, Record]) -> str:
    """Why ``saying`` cannot be done with the purchases ``found``; empty where it can.

    ``owners`` are the purchases that request ids belong to already.
    """
    if len(found) > 1:
        names = ", ".join(f"{record.id}/{record.purchase}" for record in found[:SHOWN])
        return f"{saying}: several purchases are meant; name one: {names}"
    record = found[0]
    if saying.word is not Word.ADOPT:
        return ""
    if record.request_id is not None:
        return (
            f"{saying}: purchase {record.purchase} has its request already ({record.request_id}); use --lost or --rebuy"
        )
    owner = owners.get(saying.request_id or "")
    if owner is not None:
        return f"{saying}: that request belongs to purchase {owner.purchase} of {owner.id} already"
    return ""
