"""Renamed jobs: ids that only the ledger knows, by the fingerprints of their purchases."""

from __future__ import annotations

from array import array

from runner.core.name_sets import NameSet, Numbering, digest


class RenameIndex:
    """Ids by fingerprint, oldest first. Each takes some hundred bytes: a million jobs may be renamed at once."""

    def __init__(self) -> None:
        self._known = NameSet()
        self._fingerprints = Numbering()
        self._first = array("Q")  # for each fingerprint, the position of its first id, plus 1
        self._last = array("Q")
        self._next = array("Q")  # for each id, the position of the next with this fingerprint, plus 1; 0: none
        self._ends = array("Q", [0])
        self._ids = bytearray()
        self._left: array[int] | None = None  # for each fingerprint, the next id to take; created at the first ``take``

    def add(self, fingerprint: str, job_id: str) -> None:
        """Add ``job_id`` as an id under which this fingerprint was bought. Adding it twice does no harm."""
        if not self._known.add(f"{fingerprint} {job_id}"):
            return
        self._ids += job_id.encode()
        self._ends.append(len(self._ids))
        self._next.append(0)
        place = len(self._next)
        number = self._fingerprints.add(digest(fingerprint))
        if number == len(self._first):
            self._first.append(place)
            self._last.append(place)
        else:
            self._next[self._last[number] - 1] = place
            self._last[number] = place

    def take(self, fingerprint: str) -> str | None:
        """Return the oldest id that was not taken, and mark it as taken; None: there is none."""
        if not self._next:
            return None
        if self._left is None:
            self._left = self._first[:]
        number = self._fingerprints.find(digest(fingerprint))
        if number is None or not (place := self._left[number]):
            return None
        self._left[number] = self._next[place - 1]
        return self._id(place)

    def find(self, fingerprint: str) -> str | None:
        """Return the oldest id, taken or not; None: there is none."""
        number = self._fingerprints.find(digest(fingerprint)) if self._next else None
        return None if number is None else self._id(self._first[number])

    def _id(self, place: int) -> str:
        return self._ids[self._ends[place - 1] : self._ends[place]].decode()

    def rewind(self) -> None:
        """Mark all ids as not taken."""
        self._left = None
