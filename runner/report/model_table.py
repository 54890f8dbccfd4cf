"""Table of the report: one row for each model, with its jobs, durations and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from runner.core.models import Record
from runner.engine.billing.costs import spent
from runner.engine.summary import outcome_of_record
from runner.report.cards import seconds_taken


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """Row of a model in the table."""

    model: str
    jobs: int
    done: int
    failed: int
    open: int
    usd: float
    median_seconds: float | None


def table(records: Sequence[Record], purchases: Sequence[Record]) -> list[TableRow]:
    """Return a row per model: outcomes and durations of ``records``, and the cost of all ``purchases``."""
    by_model = sorted(records, key=lambda record: record.model)
    usd: Counter[str] = Counter()
    for record in purchases:
        usd[record.model] += spent(record)  # type: ignore[assignment]  # a Counter adds floats as well
    return [_row(model, list(group), usd[model]) for model, group in groupby(by_model, lambda record: record.model)]


def _row(model: str, records: Sequence[Record], usd: float) -> TableRow:
    outcomes = Counter(outcome_of_record(record) for record in records)
    times = sorted(seconds for record in records if (seconds := seconds_taken(record)) is not None)
    return TableRow(
        model=model,
        jobs=len(records),
        done=outcomes["done"],
        failed=outcomes["failed"],
        open=outcomes["unknown"],
        usd=usd,
        median_seconds=times[len(times) // 2] if times else None,
    )
