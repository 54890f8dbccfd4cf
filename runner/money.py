"""What purchases cost, in USD: reserved on the high side before, settled by what the API bills after."""

from __future__ import annotations

from math import ceil

from runner.model import Json, Record, State
from runner.wire import read_usd


def base_price(entry: dict[str, Json]) -> float | None:
    """The price of one output in a catalogue entry, or None: missing, malformed or by the second is never free."""
    return read_usd(entry.get("base_price_usd")) if entry.get("price_unit", "output") == "output" else None


def reserve(price: float | None, inputs: dict[str, Json]) -> float | None:
    """What one purchase may cost: the base price for every megapixel begun (FLUX.2's maker prices so)."""
    if price is None:
        return None
    width, height = inputs.get("width"), inputs.get("height")
    sized = type(width) is int and type(height) is int
    return price * max(1, ceil(width * height / 1_000_000)) if sized else price  # type: ignore[operator]  # sized


def spent(record: Record) -> float:
    """What a purchase counts for: the billed cost, or its reserve as long as the bill may still come."""
    if record.restored_from is not None or record.state is State.RELEASED:
        return 0.0
    if record.cost_usd is not None:
        return record.cost_usd
    refused = record.state is State.FAILED and record.request_id is None  # nothing was created
    return 0.0 if refused or record.state is State.CANCELLED else record.reserved_usd or 0.0
