"""Accounts of a budget in USD: amounts by day, reserves of purchases in progress, and the highest bills."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator

import msgspec

from runner.core.models import Record
from runner.engine.billing.costs import Basis, basis_of, spent
from runner.engine.billing.prices import Extent, extent_of


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """Reserve of a purchase in progress, until the purchase is billed."""

    kind: Hashable
    day: str | None
    usd: float
    seconds: int | None
    """Seconds that the price is for; None: the model has a price per output."""


class HighestBills(msgspec.Struct):
    """Highest bills for purchases of one kind."""

    usd: float = 0.0
    per_second: float = 0.0

    def learn(self, usd: float, seconds: int | None) -> None:
        self.usd = max(self.usd, usd)
        if seconds is not None:
            self.per_second = max(self.per_second, usd / seconds)

    def expect(self, seconds: int | None) -> float:
        """Return the expected bill of the next purchase. ``seconds``: None for a model with a price per output."""
        return self.usd if seconds is None else self.per_second * seconds


class Account:
    """Amounts by day of the purchases of a shard, or of the folder."""

    def __init__(self) -> None:
        self.usd: defaultdict[str | None, float] = defaultdict(float)
        self.unpriced: Counter[tuple[str | None, str, Extent]] = Counter()
        """Purchases that may have been charged and have no known price, by day, model and extent."""

    def count(self, record: Record, times: int = 1) -> None:
        """Count ``record``. With ``times`` of -1, remove it again."""
        if basis_of(record) is Basis.UNPRICED:
            self.unpriced[record.day, record.model, extent_of(record.inputs)] += times
        else:
            self.usd[record.day] += times * spent(record)

    def days(self, price: Callable[[str, Extent], float]) -> Iterator[tuple[str | None, float]]:
        """Yield pairs of day and amount, several per day. Purchases without a price count at the present price."""
        yield from self.usd.items()
        for (day, model, extent), count in self.unpriced.items():
            yield day, count * price(model, extent)
