"""Compact sets of names: a digest of each in arrays, for millions of them.

Two names with one digest would be one. With 128 bits and ten million names the chance of it is below 1 in 10^24, and
what a digest finds is compared with the name itself wherever the name can be read again.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from struct import iter_unpack
from typing import Final

_BYTES: Final = 16
_SLOTS: Final = 1024
_NOBODY: Final = bytes(_BYTES)
"""In the place of one that was dropped; no name has this digest."""
_DROPPED: Final = 2**32 - 1


def digest(name: str) -> bytes:
    """16 bytes for ``name``; a lone surrogate, as in the names of files, is no reason to fail."""
    try:
        data = name.encode()
    except UnicodeEncodeError:
        data = name.encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=_BYTES).digest()


class Numbering:
    """Digests → 0, 1, 2, … in the order in which they came; 22 to 28 bytes for each.

    What belongs to a digest stands in an array beside it, under its number.
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._slots = array("I", bytes(4 * _SLOTS))  # open addressing: a number and 1, or 0 where nothing is
        self._count = 0

    def __len__(self) -> int:
        """How many numbers were given, dropped ones included."""
        return self._count

    def find(self, key: bytes) -> int | None:
        """The number of ``key``."""
        number = self._slots[self._slot(key)]
        return number - 1 if number else None

    def add(self, key: bytes) -> int:
        """The number of ``key``: the next one, if it has none."""
        slots, digests = self._slots, self._digests
        last = len(slots) - 1
        slot = hash(key) & last
        while number := slots[slot]:  # ``_slot`` once more: a call for each of a million names is felt
            if digests[(number - 1) * _BYTES : number * _BYTES] == key:
                return number - 1
            slot = slot + 1 & last
        digests += key
        count = self._count
        slots[slot] = self._count = count + 1
        if 3 * count > 2 * last:
            self._make_room(2 * len(slots))
        return count

    def expect(self, count: int) -> None:
        """Make room for so many in all at once: to get there by doubling, each would be moved about once."""
        slots = len(self._slots)
        while 3 * count > 2 * (slots - 1):
            slots *= 2
        if slots > len(self._slots):
            self._make_room(slots)

    def drop(self, key: bytes) -> None:
        """Forget ``key``: if it comes again, it gets a new number."""
        slot = self._slot(key)
        if number := self._slots[slot]:
            self._slots[slot] = _DROPPED
            self._digests[(number - 1) * _BYTES : number * _BYTES] = _NOBODY

    def _slot(self, key: bytes) -> int:
        """Where ``key`` is, or would be put."""
        slots, digests = self._slots, self._digests
        last = len(slots) - 1  # a power of two less 1
        slot = hash(key) & last
        while (number := slots[slot]) and digests[(number - 1) * _BYTES : number * _BYTES] != key:
            slot = slot + 1 & last  # a dropped one has an empty slice, and is never equal
        return slot

    def _make_room(self, count: int) -> None:
        """Have so many slots. What stands in them is all different, so nothing is compared."""
        slots = array("I", bytes(4 * count))
        last = len(slots) - 1
        for number, (key,) in enumerate(iter_unpack(f"{_BYTES}s", self._digests), 1):
            if key != _NOBODY:
                slot = hash(key) & last
                while slots[slot]:
                    slot = slot + 1 & last
                slots[slot] = number
        self._slots = slots


class NameSet:
    """A set of names."""

    def __init__(self) -> None:
        self._numbers = Numbering()

    def add(self, name: str) -> bool:
        """Tell whether ``name`` is a new one."""
        known = len(self._numbers)
        return self._numbers.add(digest(name)) == known

    def __contains__(self, name: str) -> bool:
        return self._numbers.find(digest(name)) is not None

    def __len__(self) -> int:
        return len(self._numbers)
