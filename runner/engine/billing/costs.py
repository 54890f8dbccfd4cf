"""Cost of purchases in USD: an upper estimate before submission, the billed amount afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from runner.api.fields import read_usd
from runner.core.models import EMULATOR, MOST_USD, Job, Json, Record, State

MOST_MEGAPIXELS = 10**12
"""A size beyond it is no size, and too large a number to calculate a price with."""


def base_price(entry: dict[str, Json]) -> float | None:
    """The price of one output in a catalogue entry, or None: missing, malformed or by the second is never free."""
    return read_usd(entry.get("base_price_usd")) if entry.get("price_unit", "output") == "output" else None


def reserve(price: float | None, inputs: dict[str, Json]) -> float | None:
    """What one purchase may cost: the base price for every megapixel begun (FLUX.2's maker prices so)."""
    return None if price is None else min(MOST_USD, price * megapixels(inputs))


def megapixels(inputs: dict[str, Json]) -> int:
    """Megapixels begun, at least one; one where the inputs name no size."""
    width, height = inputs.get("width"), inputs.get("height")
    if not (isinstance(width, int) and isinstance(height, int)):
        return 1
    return min(MOST_MEGAPIXELS, max(1, -(-width * height // 1_000_000)))


class Estimate(msgspec.Struct):
    """What the jobs to be bought may cost: no call quotes an exact total, so this is a range with gaps."""

    counts: Counter[tuple[str, int]] = msgspec.field(default_factory=Counter)
    """How many jobs of a model, by the megapixels begun."""

    def add(self, job: Job) -> None:
        self.counts[job.model, megapixels(job.inputs)] += 1

    @property
    def models(self) -> list[str]:
        return sorted({model for model, _ in self.counts})

    def count(self, model: str) -> int:
        """How many jobs of ``model``."""
        return sum(count for (name, _), count in self.counts.items() if name == model)

    def range_usd(self, prices: Mapping[str, float | None]) -> tuple[float, float]:
        """The least and the most, of the models whose price is known."""
        known = [(prices.get(model) or 0.0, pixels, count) for (model, pixels), count in self.counts.items()]
        low = sum(price * count for price, _, count in known)
        return low, sum(price * pixels * count for price, pixels, count in known)

    def unpriced(self, prices: Mapping[str, float | None]) -> list[str]:
        """Models whose price is not known; never taken for free."""
        return [model for model in self.models if prices.get(model) is None]


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
