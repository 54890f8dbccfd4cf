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
"""Prices by model; None as price: not known."""


class Estimate(msgspec.Struct):
    """Estimated cost of the jobs to be bought.

    No call of the API returns an exact total, so this is a range, without the jobs whose price is not known.
    """

    counts: Counter[tuple[str, Extent]] = msgspec.field(default_factory=Counter)
    """Number of jobs by model and extent, on which their price depends."""
    examples: dict[tuple[str, Extent], str] = msgspec.field(default_factory=dict)
    """Id of the first of these jobs."""

    def add(self, job: Job) -> None:
        kind = job.model, extent_of(job.inputs)
        self.counts[kind] += 1
        self.examples.setdefault(kind, job.id)

    @property
    def models(self) -> list[str]:
        return sorted({model for model, _ in self.counts})

    def count(self, model: str) -> int:
        """Return the number of jobs of ``model``."""
        return sum(count for (name, _), count in self.counts.items() if name == model)

    def seconds(self, model: str, price: Price | None) -> int:
        """Return the total seconds that the jobs of ``model`` request; 0 without a price per second."""
        of_model = ((extent, count) for (name, extent), count in self.counts.items() if name == model)
        return 0 if price is None else sum(count * (price.seconds(extent) or 0) for extent, count in of_model)

    def range_usd(self, prices: Prices) -> tuple[float, float] | None:
        """Return the lowest and highest cost of the jobs with a known price; None: there are no such jobs."""
        priced = [
            (count * least, count * most)
            for (model, extent), count in self.counts.items()
            if (price := prices.get(model)) is not None
            and (least := price.least(extent)) is not None
            and (most := price.most(extent)) is not None
        ]
        return (sum(least for least, _ in priced), sum(most for _, most in priced)) if priced else None

    def unpriced(self, prices: Prices) -> list[str]:
        """Return the models whose price is not known. They are never treated as free."""
        return [model for model in self.models if prices.get(model) is None]

    def without_duration(self, prices: Prices) -> list[WithoutDuration]:
        """Return the jobs with a price per second and no duration, by model."""
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
    """Basis of the amount that a purchase counts at."""

    BILLED = "billed"
    """Cost as billed by the API."""
    RESERVED = "reserved"
    """Reserve of the purchase, because no bill is known, or not yet."""
    UNPRICED = "unpriced"
    """Zero, although the purchase was or may have been made: there is neither a bill nor a known price."""
    FREE = "free"
    """Zero: nothing was created, or it was paid as another purchase."""


def basis_of(record: Record) -> Basis:
    """Return the basis of the amount that a purchase counts at."""
    if record.restored_from is not None or record.state is State.RELEASED:
        return Basis.FREE
    if record.cost_usd is not None:
        return Basis.BILLED
    refused = record.state is State.FAILED and record.request_id is None  # nothing was created
    if refused or record.state is State.CANCELLED:
        return Basis.FREE
    return Basis.UNPRICED if record.reserved_usd is None else Basis.RESERVED


def spent(record: Record) -> float:
    """Return the amount that a purchase counts at: the billed cost, or the reserve while no bill is known."""
    numbers = {Basis.BILLED: record.cost_usd, Basis.RESERVED: record.reserved_usd}
    return numbers.get(basis_of(record)) or 0.0


def exact(usd: float) -> Decimal:
    """Return an amount to a billionth of a dollar, as a decimal so that sums have no binary rounding errors."""
    return Decimal(str(round(usd, 9))) + 0  # turns -0 into 0


def total_spent(records: Iterable[Record], api: str) -> float:
    """Return the sum of the folder's purchases. Those of an emulator and paid ones are never added up."""
    return float(sum(exact(spent(record)) for record in records if is_paid(record.api) == is_paid(api)))


def is_paid(api: str) -> bool:
    """Tell whether purchases at ``api`` cost money."""
    return api != EMULATOR
