"""Preparation of a batch: cleanup of what earlier runs left, before anything is bought."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from runner.core.aio import pull
from runner.core.clock import timestamp
from runner.core.models import Fault, Job, Record, State
from runner.engine.billing.budget import BudgetTracker
from runner.engine.billing.costs import Estimate, Prices, is_paid
from runner.engine.billing.prices import Price, price_of, without_price_words
from runner.engine.config import RunConfig
from runner.engine.context import RunContext
from runner.ledger.records import follow, in_doubt, intent
from runner.planning.planner import Planner
from runner.planning.rules import next_purchase

log = logging.getLogger(__name__)


async def clear_crash(context: RunContext) -> None:
    """Remove temporary files, and record intents that a crash left without an answer as ``unknown``."""
    context.folder.prepare()
    for record in context.ledger.interrupted():
        await context.ledger.append(in_doubt(record, timestamp(context.clock.now())))


async def hold_unrecorded(context: RunContext, planner: Planner, jobs: Iterable[Job], *, manifest: str) -> str | None:
    """Put each job on hold that would be bought although its picture is in the folder without a record.

    Return the message for the user if anything would be bought, else None. ``manifest`` is the name of the manifest in
    records.
    """
    wanted = (job for job in jobs if planner.buys(job))
    buying = held = 0
    while some := await pull(wanted):
        buying += len(some)
        for job in filter(planner.finds_picture, some):
            await context.ledger.append(_unrecorded(context, job, manifest))
            held += 1
    planner.begin_again()
    if not buying:
        return None
    found = "1 job whose picture is" if held == 1 else f"{held:,} jobs whose pictures are"
    on_hold = f" {found} in the folder: on hold until then, or until you resolve them with `runner reconcile`."
    return f"{on_hold if held else ''} Nothing was bought."


def _unrecorded(context: RunContext, job: Job, manifest: str) -> Record:
    """Return a purchase in doubt that stands for one that the results log has lost."""
    at = timestamp(context.clock.now())
    purchase = next_purchase(context.ledger.history(job.id))
    made = intent(job, purchase, at=at, api=context.api.base.name, manifest=manifest)
    message = "its picture is in the folder, but the results log, an older copy, does not name it"
    fault = Fault(code="lost_record", message=message)
    return follow(made, State.UNKNOWN, at, error=fault)


async def take_over(context: RunContext, planner: Planner, jobs: Iterable[Job]) -> None:
    """Record the purchases of renamed jobs under their new ids, the newest first: a crash must not hide the newest."""
    planner.begin_again()
    renamed = ((job, old_id) for job in jobs if (old_id := planner.renamed_from(job, planner.history(job))))
    while some := await pull(renamed):
        for job, old_id in some:
            for record in reversed(planner.takeover(job, old_id)):
                log.info("%s takes over purchase %d of %s", job.id, record.purchase, old_id)
                await context.ledger.append(record)


def stop_if_disk_full(context: RunContext) -> None:
    """Stop buying if the disk is nearly full."""
    if context.folder.nearly_full():
        context.stop.buying(f"{context.folder.root}: the disk is nearly full; make room and run again", 73)


async def open_budget(
    context: RunContext, config: RunConfig, budget: BudgetTracker, buying: Estimate, known: Iterator[Record]
) -> Prices:
    """Set and return the prices of the models to be bought.

    With a budget, count the purchases ``known``, and stop buying if a job has no price.
    """
    if config.budget is not None:
        api = context.api.base.name
        counted = (record for record in known if is_paid(record.api) == is_paid(api))
        while some := await pull(counted):
            budget.load(some)
    prices: dict[str, Price | None] = {}
    for model in buying.models:
        entry = None if config.offline else await context.api.catalogue_entry(model)
        prices[model] = price_of(entry) if entry is not None else budget.earlier_price(model)
        budget.set_price(model, prices[model])
        if prices[model] is None and config.budget is not None:
            _refuse_unpriced(context, config, model, reachable=entry is not None)
    if config.budget is not None and (lacking := buying.without_duration(prices)):
        context.stop.buying(without_price_words(lacking), 65)
    return prices


def _refuse_unpriced(context: RunContext, config: RunConfig, model: str, *, reachable: bool) -> None:
    text = f"a budget needs the price of {model}, and the catalogue"
    if reachable:
        context.stop.buying(f"{text} has no usable price for it; remove the budget, or jobs of that model", 65)
    else:
        why = "is not contacted (--offline)" if config.offline else "cannot be reached"
        context.stop.buying(f"{text} {why}", 69)
