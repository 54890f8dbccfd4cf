"""Numbers of purchases by request id, in 10 to 16 bytes for each purchase."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

_SLOTS: Final = 1024
_MASK: Final = 2**32 - 1
_MOST_ALIKE: Final = 64
"""Largest number of purchases of one hash that are found; a log may name one request any number of times."""


class RequestIds:
    """Request ids → numbers of the purchases that were recorded with them.

    Ids are not kept, only 32 bits of their hash. A result may rarely belong to another id, so the caller compares the
    record itself. The hash differs in each process, so nobody can make ids that collide.
    """

    def __init__(self) -> None:
        self._hashes = array("I")  # by number of the purchase; 0: it has no request
        self._slots = array("I", bytes(4 * _SLOTS))  # open addressing: a number plus 1; 0: free
        self._used = 0

    def note(self, number: int, request_id: str) -> None:
        """Record that purchase ``number`` has this request. Repeating it does no harm."""
        key = _hash(request_id)
        hashes = self._hashes
        if number < len(hashes):
            if hashes[number] == key:
                return
            hashes[number] = key
        else:
            if number > len(hashes):
                hashes.frombytes(bytes(4 * (number - len(hashes))))
            hashes.append(key)
        self._used += self._put(self._slots, key, number)
        if 3 * self._used > 2 * len(self._slots):
            self._make_room(2 * len(self._slots))

    def find(self, request_id: str) -> Iterator[int]:
        """Yield the purchases that have this request, and rarely one that has another."""
        key, slots, hashes = _hash(request_id), self._slots, self._hashes
        last = len(slots) - 1
        slot = key & last
        while number := slots[slot]:
            if hashes[number - 1] == key:
                yield number - 1
            slot = slot + 1 & last

    def expect(self, count: int) -> None:
        """Make room for ``count`` requests in all."""
        slots = len(self._slots)
        while 3 * count > 2 * slots:
            slots *= 2
        if slots > len(self._slots):
            self._make_room(slots)

    def _make_room(self, count: int) -> None:
        slots = array("I", bytes(4 * count))
        self._used = 0
        for number, key in enumerate(self._hashes):
            if key:
                self._used += self._put(slots, key, number)
        self._slots = slots

    def _put(self, slots: array[int], key: int, number: int) -> bool:
        """Put ``number`` into the first free slot, unless many purchases have this hash. Return whether it was put."""
        last = len(slots) - 1  # a power of two less 1
        slot, alike = key & last, 0
        while other := slots[slot]:
            alike += self._hashes[other - 1] == key
            if alike == _MOST_ALIKE:
                return False
            slot = slot + 1 & last
        slots[slot] = number + 1
        return True


def _hash(request_id: str) -> int:
    return hash(request_id) & _MASK or 1
