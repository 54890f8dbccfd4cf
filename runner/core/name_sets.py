"""Compact sets of millions of names: each name is stored as a digest in arrays.

Two names with the same digest would be treated as one name. With 128 bits and ten million names the probability is
below 1 in 10^24. Wherever the name can be read again, a match is compared with the name itself.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from struct import iter_unpack
from typing import Final

_BYTES: Final = 16
_SLOTS: Final = 1024
_NOBODY: Final = bytes(_BYTES)
"""Value in place of a dropped digest; no name has this digest."""
_DROPPED: Final = 2**32 - 1


def digest(name: str) -> bytes:
    """Return a 16-byte digest of ``name``; lone surrogates, as in file names, are allowed."""
    try:
        data = name.encode()
    except UnicodeEncodeError:
        data = name.encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=_BYTES).digest()


class Numbering:
    """Map of digests to the numbers 0, 1, 2, … in order of insertion; 22 to 28 bytes for each digest.

    Callers keep the values of a digest in their own arrays, at the index of its number.
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._slots = array("I", bytes(4 * _SLOTS))  # open addressing: the number plus 1, or 0 for an empty slot
        self._count = 0

    def __len__(self) -> int:
        """Return the count of assigned numbers, including dropped ones."""
        return self._count

    def find(self, key: bytes) -> int | None:
        """Return the number of ``key``; None: ``key`` is unknown."""
        number = self._slots[self._slot(key)]
        return number - 1 if number else None

    def add(self, key: bytes) -> int:
        """Return the number of ``key``; an unknown ``key`` gets the next number."""
        slot = self._slot(key)
        if number := self._slots[slot]:
            return number - 1
        self._digests += key
        self._count += 1
        self._slots[slot] = self._count
        if 3 * self._count > 2 * len(self._slots):
            self._double()
        return self._count - 1

    def drop(self, key: bytes) -> None:
        """Forget ``key``; if added again, ``key`` gets a new number."""
        slot = self._slot(key)
        if number := self._slots[slot]:
            self._slots[slot] = _DROPPED
            self._digests[(number - 1) * _BYTES : number * _BYTES] = _NOBODY

    def _slot(self, key: bytes) -> int:
        """Return the slot of ``key``, or the empty slot where ``key`` would be stored."""
        slots, digests = self._slots, self._digests
        last = len(slots) - 1  # a power of two less 1
        slot = hash(key) & last
        while (number := slots[slot]) and digests[(number - 1) * _BYTES : number * _BYTES] != key:
            slot = slot + 1 & last  # the slice of a dropped digest is empty and never equal
        return slot

    def _double(self) -> None:
        """Rebuild the table with twice the slots. All digests differ, so none are compared."""
        slots = array("I", bytes(8 * len(self._slots)))
        last = len(slots) - 1
        for number, (key,) in enumerate(iter_unpack(f"{_BYTES}s", self._digests), 1):
            if key != _NOBODY:
                slot = hash(key) & last
                while slots[slot]:
                    slot = slot + 1 & last
                slots[slot] = number
        self._slots = slots


class NumberMap:
    """Map of digests to whole numbers from 0 to 2^64 - 1; 30 to 36 bytes for each digest."""

    def __init__(self) -> None:
        self._places = Numbering()
        self._values = array("Q")

    def setdefault(self, key: bytes, value: int) -> int:
        """Return the number of ``key``; set ``value`` if there is none."""
        place = self._places.add(key)
        if place == len(self._values):
            self._values.append(value)
        return self._values[place]

    def set(self, key: bytes, value: int) -> None:
        """Set the number of ``key``, in place of an earlier one."""
        place = self._places.add(key)
        self._values[place : place + 1] = array("Q", [value])

    def get(self, key: bytes) -> int | None:
        """Return the number of ``key``; None: there is none."""
        place = self._places.find(key)
        return None if place is None else self._values[place]


class NameSet:
    """Set of names."""

    def __init__(self) -> None:
        self._numbers = Numbering()

    def add(self, name: str) -> bool:
        """Add ``name`` and tell whether the name is new."""
        known = len(self._numbers)
        return self._numbers.add(digest(name)) == known

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._numbers.find(digest(name)) is not None

    def __len__(self) -> int:
        return len(self._numbers)
