"""Fault injection: seed, rule and key decide, so that the order of arrival changes nothing."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

from .faults import OPERATIONS, InjectedFault
from .output_faults import OUTPUT_FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence


def chance(*parts: object) -> float:
    """A number in 0…1 (1 not included) that looks random and depends on ``parts`` alone."""
    text = "|".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / 2**48


class FaultInjector:
    """Decides for each call which fault, if any, happens to it, and counts those that did."""

    def __init__(self, seed: int, faults: Sequence[InjectedFault]) -> None:
        self.hits: Counter[str] = Counter()
        self._seed = seed
        self._scripts: defaultdict[str, deque[InjectedFault | None]] = defaultdict(deque)
        self.replace(faults)

    def replace(self, faults: Sequence[InjectedFault]) -> None:
        """Use these rules from now on, their counts starting at nothing."""
        self.faults = tuple(faults)
        self._rules = [_Rule(f"{self._seed}|{index}", fault) for index, fault in enumerate(faults)]

    def script(self, operation: str, faults: Sequence[InjectedFault | None]) -> None:
        """Fix the next answers of ``operation``; ``None`` is a normal one. Raises ``ValueError``."""
        if operation not in OPERATIONS:
            raise ValueError(f"unknown operation {operation!r}; known: {', '.join(OPERATIONS)}")
        for fault in faults:
            if fault is not None and fault.on != operation:
                raise ValueError(f"a fault on {fault.on} cannot be scripted for {operation}")
        self._scripts[operation].extend(faults)

    def strike(
        self, operation: str, key: str, prompt: str, *, complete: bool = False, number: int | None = None
    ) -> InjectedFault | None:
        """The fault that happens to this call. ``complete`` tells whether there are outputs to lose.

        ``number`` is that of the output which is asked for.
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
    """One fault with its memory."""

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
