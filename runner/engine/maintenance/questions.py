"""The open questions of money, and how the user's word settles each. Pure: records in, records out.

*Unknown*: perhaps bought, with no request to ask after. *Stuck*: bought, and it cannot be had as things are.

========  ==================================================  ======================================================
word      an unknown                                          a stuck one
========  ==================================================  ======================================================
adopt     is ``submitted``: the next run brings it home       (it has its request already)
lost      is ``released``: never bought, counts for nothing   is ``failed``: paid, counts at its cost or reserve
rebuy     stays, counts at its reserve                        stays, counts at its cost or reserve, is asked after
========  ==================================================  ======================================================

After *lost* and *rebuy* the next run buys the job anew, once. What is owed and was asked after in vain is no question,
but who names it may say the same of it as of a stuck one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from runner.core.models import LOST, REQUEST_ID, Fault, Record, State
from runner.ledger.records import follow, in_doubt

SHOWN = 3
"""So many ids or purchases are named in an error."""


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
