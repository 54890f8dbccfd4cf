"""Pictures that are done and would be replaced, because the inputs of their jobs have changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from runner.core.models import Job
from runner.core.text import usd
from runner.engine.billing.costs import Estimate, Prices
from runner.planning.rules import Decision, changed_inputs

NAMED = 5
"""Changed inputs that are named, the most frequent first."""


def replaced_inputs(job: Job, decision: Decision) -> tuple[str, ...]:
    """Return the inputs that have changed since the done picture that ``job`` replaces; empty: it replaces none."""
    last = decision.then or decision
    return changed_inputs(job, last.replaces) if decision.buys and last.replaces is not None else ()


class Replacements(msgspec.Struct):
    """Jobs that are bought again because their inputs have changed."""

    inputs: Counter[str] = msgspec.field(default_factory=Counter)
    """Number of these jobs in which an input has changed, by its name."""
    estimate: Estimate = msgspec.field(default_factory=Estimate)

    def add(self, job: Job, decision: Decision) -> bool:
        """Count ``job`` if its purchase replaces a done picture. Return whether it does."""
        changed = replaced_inputs(job, decision)
        if not changed:
            return False
        self.inputs.update(changed)
        self.estimate.add(job)
        return True

    @property
    def count(self) -> int:
        return self.estimate.counts.total()

    def words(self, prices: Prices | None) -> str:
        """Return in words how many pictures are replaced, why, and the cost; ``prices`` of None: nothing is charged."""
        names = [name for name, _ in self.inputs.most_common(NAMED)] + ["…"] * (len(self.inputs) > NAMED)
        return replaced_words(self.count, names, self._cost(prices) if prices is not None else "")

    def _cost(self, prices: Prices) -> str:
        found = self.estimate.range_usd(prices)
        if found is None or self.estimate.unpriced(prices) or self.estimate.without_duration(prices):
            return "price unknown"
        return range_words(*found)


def replaced_words(count: int, changed: Sequence[str], cost: str) -> str:
    """Return in words how many pictures are replaced and which inputs have changed; ``cost`` may be empty."""
    pictures = "1 replaces a paid picture" if count == 1 else f"{count:,} replace paid pictures"
    return f"{pictures}: {', '.join(changed) or 'inputs'} changed{f', {cost}' if cost else ''}"


def range_words(low: float, high: float) -> str:
    """Return a range of amounts in USD in words; one amount if both are equal."""
    return usd(low) if low == high else f"{usd(low)} to {usd(high)}"
