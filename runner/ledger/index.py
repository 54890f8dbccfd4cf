"""Index of the results log in memory: the last line of each purchase, in a few bytes per purchase."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import NamedTuple

from runner.core.models import OWED, Record, State
from runner.core.name_sets import Numbering, NumberMap, digest

_UNSETTLED = OWED | {State.SUBMITTING}


def key_of(job_id: str, purchase: int) -> bytes:
    return digest(job_id if purchase == 1 else f"{job_id}/{purchase}")  # no id holds a slash


class RedoState(NamedTuple):
    """State of the newest redo at an API; of two lines about one redo the greater is newer. Number 0: no redo."""

    number: int = 0
    chosen: bool = True
    """True if all jobs of the redo are chosen."""
    closed: bool = True


class Index:
    """Last lines by purchase, in order of first appearance."""

    def __init__(self) -> None:
        self.lines = 0
        self.redo: dict[str, RedoState] = {}
        """Newest redo by API."""
        self.apis: set[str] = set()
        """Addresses of the API at which anything was bought."""
        self.same_apis: set[tuple[str, ...]] = set()
        """Groups of addresses that the user has declared to be one service."""
        self._purchases = Numbering()
        self._offsets = array("Q")
        self._lengths = array("Q")  # 0 for a purchase that continues under another id
        self._forgotten = 0
        self._later = _LaterPurchases()
        self._requests = NumberMap()
        """Purchase that was last recorded with a request, by the digest of the request id."""
        self._claimed = bytearray()
        """1 for each purchase of a claimed job."""
        self._unsettled: dict[int, State] = {}

    def add(self, record: Record, offset: int, length: int) -> int:
        """Index one more line of the log, and return the number of its purchase."""
        self.lines += 1
        self.apis.add(record.api)
        if record.same_apis:
            self.same_apis.add(record.same_apis)
        if record.redo:
            redo = RedoState(record.redo, record.redo_chosen, record.redo_closed)
            self.redo[record.api] = max(redo, self.redo.get(record.api, redo))
        key = key_of(record.id, record.purchase)
        if record.renamed_from is not None and self._purchases.find(key) is None:  # the first line under the new id
            self._forget(record.renamed_from, record.renamed_purchase or record.purchase)
        number = self._purchases.add(key)
        if number == len(self._offsets):
            self._offsets.append(offset)
            self._lengths.append(length)
            if record.purchase > 1:
                self._later.add(record.id, record.purchase)
        else:
            self._offsets[number], self._lengths[number] = offset, length
        if record.request_id is not None:
            self._requests.set(digest(record.request_id), number)
        if record.state in _UNSETTLED:
            self._unsettled[number] = record.state
        else:
            self._unsettled.pop(number, None)
        return number

    def _forget(self, job_id: str, purchase: int) -> None:
        """Drop a purchase that continues under another id; only its first line under the new id tells so."""
        key = key_of(job_id, purchase)
        number = self._purchases.find(key)
        if number is not None:
            self._purchases.drop(key)
            self._lengths[number] = 0
            self._forgotten += 1
            self._unsettled.pop(number, None)

    def knows(self, job_id: str, purchase: int) -> bool:
        """Tell whether there is such a purchase under this id."""
        return self._purchases.find(key_of(job_id, purchase)) is not None

    def purchases(self, job_id: str, but: int = 0) -> list[tuple[int, int]]:
        """Return offset and length of the last line of each purchase of a job ``but`` one, oldest first."""
        return [self._span(number) for number in self._numbers_of(job_id, but)]

    def _numbers_of(self, job_id: str, but: int = 0) -> list[int]:
        purchases = [purchase for purchase in (1, *self._later.of(job_id)) if purchase != but]
        found = (self._purchases.find(key_of(job_id, purchase)) for purchase in purchases)
        return [number for number in found if number is not None]

    def with_request(self, request_id: str) -> tuple[int, int] | None:
        """Return the last line of the purchase that was last recorded with this request; None: there is none."""
        number = self._requests.get(digest(request_id))
        return None if number is None else self.span(number)

    def claim(self, ids: Iterable[str]) -> None:
        """Mark all present purchases of these jobs as claimed; ``unclaimed`` leaves them out."""
        claimed = self._claimed
        claimed += bytes(len(self._lengths) - len(claimed))
        for job_id in ids:
            for number in self._numbers_of(job_id):
                claimed[number] = 1

    def unclaimed(self) -> Iterator[tuple[int, int]]:
        """Yield the last lines of all other purchases, and of those added since, in order of first appearance."""
        claims = chain(self._claimed, repeat(0))
        numbers = (number for number, claimed in zip(self.numbers(), claims, strict=False) if not claimed)
        return (self._span(number) for number in numbers if self._lengths[number])

    def unsettled(self, *states: State) -> list[tuple[int, int]]:
        """Return the last lines of the purchases that are in one of ``states`` (owed or an intent)."""
        return [self._span(number) for number, state in self._unsettled.items() if state in states]

    def all(self) -> Iterator[tuple[int, int]]:
        """Yield the last line of every purchase, in order of first appearance, without purchases added meanwhile."""
        return (self._span(number) for number in self.numbers() if self._lengths[number])

    def numbers(self) -> range:
        """Return the number of every purchase, in order of first appearance; purchases added later are left out."""
        return range(len(self._lengths))

    def span(self, number: int) -> tuple[int, int] | None:
        """Return offset and length of the last line of a purchase; None: it continues under another id."""
        return self._span(number) if self._lengths[number] else None

    def _span(self, number: int) -> tuple[int, int]:
        return self._offsets[number], self._lengths[number]

    def __len__(self) -> int:
        return len(self._lengths) - self._forgotten


class _LaterPurchases:
    """Purchases with a number above 1, by job."""

    def __init__(self) -> None:
        self._jobs = Numbering()
        self._newest = array("Q")  # for each job, the position of its last entry, plus 1
        self._numbers = array("I")
        self._before = array("Q")  # the position of the job's entry before, plus 1; 0: none

    def add(self, job_id: str, purchase: int) -> None:
        """Add a purchase of this number to the job. Adding it twice does no harm."""
        job = self._jobs.add(digest(job_id))
        if job == len(self._newest):
            self._newest.append(0)
        self._numbers.append(purchase)
        self._before.append(self._newest[job])
        self._newest[job] = len(self._numbers)

    def of(self, job_id: str) -> list[int]:
        """Return the purchases of the job in ascending order, each once."""
        if (job := self._jobs.find(digest(job_id))) is None:
            return []
        found, place = set(), self._newest[job]
        while place:
            found.add(self._numbers[place - 1])
            place = self._before[place - 1]
        return sorted(found)
