"""Status of a run in progress, for displays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from runner.core.models import Record

TRANSITION = {"transition": True}
"""``extra`` of a log record about a change of state of a purchase, for displays that show the change themselves."""


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The budget and the amounts counted against it. ``spent_usd`` excludes the reserves of requests in progress."""

    usd: float
    per_day: bool
    spent_usd: float
    reserved_usd: float


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Snapshot of a run."""

    counts: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Jobs by ``COUNTS``. A job in progress is still counted under its previous outcome."""
    cost_usd: float = 0.0
    """Amount billed in this run."""
    concurrency: int | None = None
    """Requests that may be in flight; None: not known."""
    concurrency_reason: str = ""
    """Reason why ``concurrency`` has this value; empty if the user chose it, or in a cluster."""
    cap: BudgetStatus | None = None


@runtime_checkable
class StatusObserver(Protocol):
    """An observer that also reads the status of the run."""

    def __call__(self, record: Record) -> None:
        """Handle ``record``, which is durable."""

    def watch(self, read: Callable[[], RunStatus]) -> None:
        """Receive ``read``, which may be called at any time until the run has ended."""
