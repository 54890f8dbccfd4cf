"""Where the last line of each purchase stands, in a small fixed number of bytes per purchase."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

from runner.model import OWED, Record, State

_LENGTH_BITS = 28
"""An offset and a length share one int; a line is shorter than 256 MiB."""


def key_of(job_id: str, purchase: int) -> bytes:
    """15 bytes: with their header they fill 48, and 120 bits do not collide by chance."""
    text = job_id if purchase == 1 else f"{job_id}/{purchase}"  # no id holds a slash
    return blake2b(text.encode(), digest_size=15).digest()


class RedoStanding(NamedTuple):
    """The newest redo of an API; of two lines about it the greater one knows more. Number 0: there was none."""

    number: int = 0
    chosen: bool = True
    """Whether all its jobs are chosen."""
    closed: bool = True


class Index:
    """Last lines by purchase, in order of first appearance."""

    def __init__(self) -> None:
        self.lines = 0
        self.redo: dict[str, RedoStanding] = {}
        """By API."""
        self._spans: dict[bytes, int] = {}
        self._later: dict[bytes, list[int]] = {}  # purchases above 1, ascending; few ids have any
        self._unsettled: dict[bytes, State] = {}

    def add(self, record: Record, offset: int, length: int) -> None:
        """Count one more line of the log."""
        self.lines += 1
        if record.redo:
            standing = RedoStanding(record.redo, record.redo_chosen, record.redo_closed)
            known = self.redo.get(record.api)
            self.redo[record.api] = standing if known is None else max(known, standing)
        key = key_of(record.id, record.purchase)
        if key not in self._spans and record.renamed_from is not None:
            self._forget(record.renamed_from, record.renamed_purchase or record.purchase)
        self._spans[key] = offset << _LENGTH_BITS | length
        if record.purchase > 1:
            later = self._later.setdefault(key_of(record.id, 1), [])
            if record.purchase not in later:
                insort(later, record.purchase)
        if record.state in OWED or record.state is State.SUBMITTING:
            self._unsettled[key] = record.state
        else:
            self._unsettled.pop(key, None)

    def _forget(self, job_id: str, purchase: int) -> None:
        """The purchase goes on under another id; only the first line under the new one says so."""
        key = key_of(job_id, purchase)
        self._spans.pop(key, None)
        self._unsettled.pop(key, None)

    def purchases(self, job_id: str) -> Iterator[tuple[int, int]]:
        """Offset and length of the last line of each purchase of a job, oldest first."""
        for purchase in (1, *self._later.get(key_of(job_id, 1), ())):
            span = self._spans.get(key_of(job_id, purchase))
            if span is not None:
                yield _split(span)

    def unsettled(self, *states: State) -> list[tuple[int, int]]:
        """The purchases whose last line is in one of ``states`` (owed or an intent).""" ""
        return [_split(self._spans[key]) for key, state in self._unsettled.items() if state in states]

    def all(self) -> Iterator[tuple[int, int]]:
        """Every purchase's last line, in order of the purchase's first appearance."""
        return map(_split, list(self._spans.values()))

    def __len__(self) -> int:
        return len(self._spans)


def _split(span: int) -> tuple[int, int]:
    return span >> _LENGTH_BITS, span & (1 << _LENGTH_BITS) - 1
