"""Cost of purchases in USD: an upper estimate before submission, the billed amount afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from runner.core.models import EMULATOR, Job, Record, State
from runner.engine.billing.prices import Extent, Price, WithoutDuration, extent_of

Prices = Mapping[str, Price | None]
"""By model; None where nothing says what it costs."""


class Estimate(msgspec.Struct):
    """What the jobs to be bought may cost: no call quotes an exact total, so this is a range with gaps."""

    counts: Counter[tuple[str, Extent]] = msgspec.field(default_factory=Counter)
    """How many jobs of a model, by what their price depends on."""
    examples: dict[tuple[str, Extent], str] = msgspec.field(default_factory=dict)
    """The id of the first of them."""

    def add(self, job: Job) -> None:
        kind = job.model, extent_of(job.inputs)
        self.counts[kind] += 1
        self.examples.setdefault(kind, job.id)

    @property
    def models(self) -> list[str]:
        return sorted({model for model, _ in self.counts})

    def count(self, model: str) -> int:
        """How many jobs of ``model``."""
        return sum(count for (name, _), count in self.counts.items() if name == model)

    def seconds(self, model: str, price: Price | None) -> int:
        """Return the seconds that the jobs of ``model`` ask for together, as far as it is priced by the second."""
        of_model = ((extent, count) for (name, extent), count in self.counts.items() if name == model)
        return 0 if price is None else sum(count * (price.seconds(extent) or 0) for extent, count in of_model)

    def range_usd(self, prices: Prices) -> tuple[float, float] | None:
        """Return the least and the most, of the jobs whose price is known; None where that is none of them."""
        priced = [
            (count * least, count * most)
            for (model, extent), count in self.counts.items()
            if (price := prices.get(model)) is not None
            and (least := price.least(extent)) is not None
            and (most := price.most(extent)) is not None
        ]
        return (sum(least for least, _ in priced), sum(most for _, most in priced)) if priced else None

    def unpriced(self, prices: Prices) -> list[str]:
        """Models whose price is not known; never taken for free."""
        return [model for model in self.models if prices.get(model) is None]

    def without_duration(self, prices: Prices) -> list[WithoutDuration]:
        """Return the jobs whose price is by the second and that give no duration, by model."""
        found: dict[str, list[tuple[str, Extent]]] = {}
        for model, extent in self.counts:
            price = prices.get(model)
            if price is not None and price.least(extent) is None:
                found.setdefault(model, []).append((model, extent))
        return [
            WithoutDuration(model, sum(self.counts[kind] for kind in kinds), self.examples[kinds[0]])
            for model, kinds in sorted(found.items())
        ]


class Basis(StrEnum):
    """What a purchase counts by."""

    BILLED = "billed"
    """What the API says it cost."""
    RESERVED = "reserved"
    """No bill is known, or none yet: it counts at what was reserved for it."""
    UNPRICED = "unpriced"
    """Perhaps or certainly bought, with neither a bill nor a known price: it counts for nothing."""
    FREE = "free"
    """Nothing was created, or it was paid as another purchase."""


def basis_of(record: Record) -> Basis:
    """By which of its numbers a purchase counts."""
    if record.restored_from is not None or record.state is State.RELEASED:
        return Basis.FREE
    if record.cost_usd is not None:
        return Basis.BILLED
    refused = record.state is State.FAILED and record.request_id is None  # nothing was created
    if refused or record.state is State.CANCELLED:
        return Basis.FREE
    return Basis.UNPRICED if record.reserved_usd is None else Basis.RESERVED


def spent(record: Record) -> float:
    """What a purchase counts for: the billed cost, or its reserve as long as the bill may still come."""
    numbers = {Basis.BILLED: record.cost_usd, Basis.RESERVED: record.reserved_usd}
    return numbers.get(basis_of(record)) or 0.0


def exact(usd: float) -> Decimal:
    """An amount to a billionth of a dollar, to be summed without the noise of binary fractions."""
    return Decimal(str(round(usd, 9))) + 0  # no minus before a zero


def total_spent(records: Iterable[Record], api: str) -> float:
    """What the folder's purchases count for together; an emulator's and real ones are never added up."""
    return float(sum(exact(spent(record)) for record in records if is_paid(record.api) == is_paid(api)))


def is_paid(api: str) -> bool:
    """Tell whether purchases at ``api`` cost money."""
    return api != EMULATOR
