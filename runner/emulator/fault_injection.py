"""Fault injection, decided by seed, rule and key, independent of the order of calls."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

from .faults import OPERATIONS, InjectedFault
from .output_faults import OUTPUT_FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence


def chance(*parts: object) -> float:
    """Return a pseudorandom number from 0 to 1 (1 excluded) that depends on ``parts`` alone."""
    text = "|".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / 2**48


class FaultInjector:
    """Choice of a fault, if any, for each call, with counts of the faults that happened."""

    def __init__(self, seed: int, faults: Sequence[InjectedFault]) -> None:
        self.hits: Counter[str] = Counter()
        self._seed = seed
        self._scripts: defaultdict[str, deque[InjectedFault | None]] = defaultdict(deque)
        self.replace(faults)

    def replace(self, faults: Sequence[InjectedFault]) -> None:
        """Replace the rules; their counts start at 0."""
        self.faults = tuple(faults)
        self._rules = [_Rule(f"{self._seed}|{index}", fault) for index, fault in enumerate(faults)]

    def script(self, operation: str, faults: Sequence[InjectedFault | None]) -> None:
        """Set the faults of the next calls of ``operation``; ``None``: no fault. Raises ``ValueError``."""
        if operation not in OPERATIONS:
            raise ValueError(f"unknown operation {operation!r}; known: {', '.join(OPERATIONS)}")
        for fault in faults:
            if fault is not None and fault.on != operation:
                raise ValueError(f"a fault on {fault.on} cannot be scripted for {operation}")
        self._scripts[operation].extend(faults)

    def strike(
        self, operation: str, key: str, prompt: str, *, complete: bool = False, number: int | None = None
    ) -> InjectedFault | None:
        """Return the fault for this call; None: no fault.

        ``complete``: the request has outputs that a fault can affect. ``number``: the output that is downloaded.
        """
        if not self._rules and not self._scripts:
            return None
        if self._scripts[operation]:
            fault = self._scripts[operation].popleft()
        else:
            fault = self._draw(operation, key, prompt, complete, number)
        if fault is not None:
            self.hits[fault.kind] += 1
        return fault

    def _draw(self, operation: str, key: str, prompt: str, complete: bool, number: int | None) -> InjectedFault | None:
        for rule in self._rules:
            fault = rule.fault
            meant = fault.on == operation and fault.match in prompt and fault.number in (None, number)
            if meant and (complete or fault.kind not in OUTPUT_FAULTS) and rule.strikes(key):
                return fault
        return None


class _Rule:
    """One fault rule with its counts."""

    def __init__(self, salt: str, fault: InjectedFault) -> None:
        self.fault = fault
        self._salt = salt
        self._seen = 0
        self._struck = 0
        self._draws: Counter[str] = Counter()
        self._struck_for: Counter[str] = Counter()

    def strikes(self, key: str) -> bool:
        self._seen += 1
        if self._seen <= self.fault.after:
            return False
        self._draws[key] += 1
        if self._spent(key) or chance(self._salt, key, self._draws[key]) >= self.fault.p:
            return False
        self._struck += 1
        self._struck_for[key] += 1
        return True

    def _spent(self, key: str) -> bool:
        times, each = self.fault.times, self.fault.each
        return (times is not None and self._struck >= times) or (each is not None and self._struck_for[key] >= each)
