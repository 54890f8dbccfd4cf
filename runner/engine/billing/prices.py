"""Prices of the models that a run buys from, and the purchases that its budget counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.core.aio import pull
from runner.core.models import Record
from runner.engine.billing.budget import BudgetTracker
from runner.engine.billing.costs import base_price, is_paid
from runner.engine.config import RunConfig
from runner.engine.context import RunContext


async def open_budget(
    context: RunContext, config: RunConfig, budget: BudgetTracker, models: Iterable[str], known: Iterator[Record]
) -> None:
    """Learn the price of each model. With a budget, count the ``known`` purchases and buy nothing without a price."""
    if config.budget is not None:
        api = context.api.base.name
        counted = (record for record in known if is_paid(record.api) == is_paid(api))
        while some := await pull(counted):
            budget.load(some)
    for model in sorted(models):
        entry = None if config.offline else await context.api.catalogue_entry(model)
        price = base_price(entry) if entry is not None else budget.earlier_price(model)
        budget.set_price(model, price)
        if price is None and config.budget is not None:
            _refuse_unpriced(context, config, model, reachable=entry is not None)


def _refuse_unpriced(context: RunContext, config: RunConfig, model: str, *, reachable: bool) -> None:
    if reachable:
        text = f"a budget needs a price by the picture, and the catalogue names none for {model}"
        context.stop.buying(f"{text}; leave the budget out, or that model", 65)
    else:
        why = "is not asked (--offline)" if config.offline else "cannot be reached"
        context.stop.buying(f"a budget needs the price of {model}, and the catalogue {why}", 69)
