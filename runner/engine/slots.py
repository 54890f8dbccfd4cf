"""Slots: limits of the requests in flight at the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec


class Slots(Protocol):
    """Limit of requests in flight."""

    @property
    def limit(self) -> float: ...

    @property
    def reason(self) -> str:
        """Return the reason of the limit, in words for the log."""

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the limit has changed."""


class FixedSlots(msgspec.Struct, frozen=True):
    """Number of slots as given by the user."""

    limit: int
    reason: str = "set in the manifest or on the command line"

    def on_change(self, tell: Callable[[], None]) -> None:
        """Do nothing: the limit never changes."""
