"""Prices of models in USD per output or per second, and the inputs that an amount depends on.

A missing or malformed price, unit or duration gives no amount. It is never treated as free.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import msgspec

from runner.api.fields import read_usd
from runner.core.models import MOST_USD, Json, Record

DURATION = "duration"
"""Name of the input for the seconds of a video or a sound."""

MOST_MEGAPIXELS = 10**12
"""Limit of the megapixels in the price. A larger number is not a real size, and too large for the calculation."""

MOST_SECONDS = 10**6
"""Longest valid duration."""

_WHOLE = re.compile(r"\s*[0-9]{1,7}\s*", re.ASCII)


class Extent(msgspec.Struct, frozen=True):
    """Properties of a job, in addition to its model, that its price depends on."""

    megapixels: int
    seconds: int | None = None
    """Duration in the inputs; None: missing, or not a number of seconds."""
    default: bool = False
    """True if the inputs have no duration, so that the model's default applies."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Base price of a model in USD."""

    usd: float
    per_second: bool = False
    default_seconds: int | None = None
    """Duration of a request without a duration, from the model's schema; None: not known."""

    @property
    def unit(self) -> str:
        return "second" if self.per_second else "output"

    def seconds(self, extent: Extent) -> int | None:
        """Return the seconds that a request is billed for; None: not known, or the price is per output."""
        if not self.per_second:
            return None
        return self.default_seconds if extent.default else extent.seconds

    def with_default_of(self, other: Price | None) -> Price:
        """Return this price, with the default duration of ``other`` if this price has none."""
        if other is None or not self.per_second or self.default_seconds is not None:
            return self
        return msgspec.structs.replace(self, default_seconds=other.default_seconds)

    def least(self, extent: Extent) -> float | None:
        """Return the base price of a request; None: the price is per second and no duration is known."""
        if not self.per_second:
            return self.usd
        seconds = self.seconds(extent)
        return None if seconds is None else min(MOST_USD, self.usd * seconds)

    def most(self, extent: Extent) -> float | None:
        """Return the estimate to reserve: the base price times the megapixels, rounded up; None: not known."""
        least = self.least(extent)
        return None if least is None else min(MOST_USD, least * extent.megapixels)


def price_of(entry: Mapping[str, Json]) -> Price | None:
    """Return the price in a catalogue entry; None: it is missing or malformed, or its unit is not known."""
    usd, unit = read_usd(entry.get("base_price_usd")), entry.get("price_unit", "output")
    if usd is None or unit not in ("output", "second"):
        return None
    if unit == "output":
        return Price(usd=usd)
    return Price(usd=usd, per_second=True, default_seconds=_default_seconds(entry.get("input_schema")))


def _default_seconds(schema: Json) -> int | None:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    rule = properties.get(DURATION) if isinstance(properties, dict) else None
    return read_seconds(rule.get("default")) if isinstance(rule, dict) else None


def price_in(record: Record) -> Price | None:
    """Return the price behind the reserve of a purchase; None: it has no reserve."""
    if record.reserved_usd is None:
        return None
    extent = extent_of(record.inputs)
    seconds = seconds_in(record)
    if record.priced_seconds is None or seconds is None:
        return Price(usd=record.reserved_usd / extent.megapixels)
    usd = record.reserved_usd / extent.megapixels / seconds
    return Price(usd=usd, per_second=True, default_seconds=seconds if extent.default else None)


def seconds_in(record: Record) -> int | None:
    """Return the seconds that the reserve of a purchase is for, else those in its inputs; None: neither is known."""
    if record.priced_seconds is not None and 0 < record.priced_seconds <= MOST_SECONDS:
        return record.priced_seconds
    return extent_of(record.inputs).seconds


def extent_of(inputs: Mapping[str, Json]) -> Extent:
    """Return the part of ``inputs`` that the price depends on."""
    return Extent(megapixels(inputs), read_seconds(inputs.get(DURATION)), DURATION not in inputs)


def megapixels(inputs: Mapping[str, Json]) -> int:
    """Return the megapixels, rounded up, at least 1; 1 if the inputs have no size."""
    width, height = inputs.get("width"), inputs.get("height")
    if not (isinstance(width, int) and isinstance(height, int)):
        return 1
    return min(MOST_MEGAPIXELS, max(1, -(-width * height // 1_000_000)))


def read_seconds(value: Json) -> int | None:
    """Return a duration in seconds, rounded up, from a number or a text with a whole number; None: anything else."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_SECONDS:
        return None
    return math.ceil(value)


def price_words(price: Price | None) -> str:
    """Return the price in words, such as ``from $0.0045 each``. An unknown price is never shown as free."""
    if price is None:
        return "price unknown"
    return f"from ${price.usd:g} {'a second' if price.per_second else 'each'}"


class WithoutDuration(msgspec.Struct, frozen=True):
    """Jobs of a model with a price per second whose inputs have no duration."""

    model: str
    count: int
    example: str
    """Id of one of these jobs."""

    def __str__(self) -> str:
        jobs = self.example if self.count == 1 else f"{self.count:,} jobs, such as {self.example},"
        have = "has" if self.count == 1 else "have"
        return f"the price of {self.model} is per second, and {jobs} {have} no `{DURATION}` in seconds"


DURATION_ADVICE = f"add it, for example `{DURATION}: 5`, to each of these jobs or to `defaults:`"
"""Advice for jobs whose price is not known because they have no duration."""


def without_price_words(lacking: Iterable[WithoutDuration]) -> str:
    """Return why a budget does not allow these jobs, and what to write; empty for no jobs."""
    jobs = "; ".join(map(str, lacking))
    return f"a budget needs the price of each job: {jobs}; {DURATION_ADVICE}" if jobs else ""
