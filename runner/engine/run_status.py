"""Status of a run under way, for whoever displays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from runner.core.models import Record

TRANSITION = {"transition": True}
"""The ``extra`` of a log record that goes with a purchase's change of state, for a display that shows the change."""


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The budget, and what stands against it. ``spent_usd`` counts what is not reserved for requests under way."""

    usd: float
    per_day: bool
    spent_usd: float
    reserved_usd: float


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a run says of itself at one moment."""

    counts: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Jobs by ``COUNTS``; those under way still stand where they stood before."""
    cost_usd: float = 0.0
    """Billed to this run."""
    concurrency: int | None = None
    """How many requests may be in flight, where that is known."""
    cap: BudgetStatus | None = None


@runtime_checkable
class StatusObserver(Protocol):
    """An observer that also wants to know where the run stands."""

    def __call__(self, record: Record) -> None:
        """A record is durable."""

    def watch(self, read: Callable[[], RunStatus]) -> None:
        """``read`` may be called at any time until the run has ended."""
