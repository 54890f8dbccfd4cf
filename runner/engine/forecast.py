"""Forecast of a run: the decisions about the jobs, counted, priced and compared with the budget."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from runner.core.errors import ConflictError
from runner.core.models import Budget, Job, Json, kind_of
from runner.engine.billing.budget import BudgetTracker
from runner.engine.billing.costs import Estimate, Prices, is_paid
from runner.engine.billing.prices import Price, extent_of, without_price_words
from runner.engine.catalogue import Quote
from runner.engine.config import RunConfig
from runner.engine.model_info import outputs_of
from runner.engine.redo import RedoMarks, RedoMode
from runner.engine.replacements import Replacements, replaced_inputs
from runner.engine.stop import Stop, too_much_waits
from runner.ledger import (
    EMPTY,
    LedgerReader,
    divided,
    layout_conflict,
    look,
    older_words,
    open_reader,
    recognize,
)
from runner.manifest import JobStore
from runner.planning.planner import Planner
from runner.planning.renamed_manifest import refuse_renamed
from runner.planning.rules import NEW, Action, Decision
from runner.planning.selection import Selection
from runner.planning.survey import SurveyResult, doubt_about_schemas, survey

CATEGORIES = (Action.REUSE, Action.COLLECT, Action.DELIVER, Action.BUY, Action.HOLD, Action.FAILED)
KEYS = {action: action.value.replace(" ", "_") for action in CATEGORIES}

Visit = Callable[[Job, Action, str, tuple[str, ...]], None]
"""Function called with each job, the one of ``CATEGORIES`` under which it is counted, the reason, and the inputs that
have changed, if the job replaces a done picture."""


class PurchaseQueue:
    """Jobs to be bought, in order: eight bytes per job, and one example per model, size and duration."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._examples: list[Job] = []
        self._now = array("L")
        self._later = array("L")

    def add(self, job: Job, *, later: bool) -> None:
        kind = kind_of(job), extent_of(job.inputs)
        number = self._numbers.setdefault(kind, len(self._examples))
        if number == len(self._examples):
            self._examples.append(job)
        (self._later if later else self._now).append(number)

    def __iter__(self) -> Iterator[Job]:
        """Yield for each job an example with the same price."""
        return (self._examples[number] for number in chain(self._now, self._later))


class Forecast(msgspec.Struct, kw_only=True):
    """Expected actions of a run. Each selected job is counted under one category; a job to be bought under ``BUY``."""

    output: str
    budget: Budget | None = None
    tracker: BudgetTracker | None = None
    counts: Counter[Action] = msgspec.field(default_factory=Counter)
    after_collecting: int = 0
    """Jobs to be bought that have an older purchase, which is downloaded first."""
    new: int = 0
    """Jobs to be bought that have no earlier purchase."""
    replacements: Replacements = msgspec.field(default_factory=Replacements)
    moves: int = 0
    """Jobs to be reused whose files get another name."""
    others: int = 0
    """Paid results of jobs that are not selected."""
    doubtful: int = 0
    """Jobs that may only seem new or changed, because the schema used for their purchase is not available."""
    not_now: str = ""
    """Reason why the next run buys none of these jobs; empty: there is none."""
    estimate: Estimate = msgspec.field(default_factory=Estimate)
    queue: PurchaseQueue = msgspec.field(default_factory=PurchaseQueue)
    today: str | None = None
    """Current day of the API; None: there is no quote yet."""

    def count(self, job: Job, decision: Decision) -> Action:
        """Count a job, and return its category."""
        if not decision.buys:
            self.counts[decision.action.category] += 1
            self.moves += decision.action is Action.MOVE
            return decision.action.category
        later = decision.then is not None
        self.counts[Action.BUY] += 1
        self.after_collecting += later
        self.new += decision.reason == NEW
        self.replacements.add(job, decision)
        self.estimate.add(job)
        self.queue.add(job, later=later)
        return Action.BUY

    def as_json(self, quote: Quote | None, entries: Mapping[str, Mapping[str, Json]] | None = None) -> dict[str, Any]:
        """Return the object that ``--json`` prints.

        Without a quote it has no amounts: an emulator costs nothing. ``entries``: catalogue entries by model, used if
        there is no quote.
        """
        known = quote.entries if quote is not None else entries or {}
        makes = {model: list(outputs_of(known.get(model, {}), model)) for model in self.estimate.models}
        counts = {key: self.counts[action] for action, key in KEYS.items()}
        beside = {
            "after_collecting": self.after_collecting,
            "owed_by_others": self.others,
            "doubtful": self.doubtful,
            "new": self.new,
            "replaces": self._replaced(quote),
            "moves": self.moves,
        }
        money = self._money(quote) if quote is not None else {}
        stopped = {"not_now": self._not_now(quote) or None}
        return {
            "total": sum(counts.values()),
            **counts,
            **beside,
            **money,
            **stopped,
            "makes": makes,
            "output": self.output,
        }

    def _replaced(self, quote: Quote | None) -> dict[str, Any]:
        """Return the number of pictures to be replaced, the inputs that have changed, and the cost."""
        money = _range(self.replacements.estimate, quote) if quote is not None else {}
        return {"jobs": self.replacements.count, "changed": dict(self.replacements.inputs.most_common()), **money}

    def _money(self, quote: Quote) -> dict[str, Any]:
        lacking = self.estimate.without_duration(quote.prices)
        return {
            **_range(self.estimate, quote),
            "unpriced": sorted({*self.estimate.unpriced(quote.prices), *(one.model for one in lacking)}),
            "models": [self._model(model, quote.prices.get(model)) for model in self.estimate.models],
            "without_duration": [{"model": one.model, "jobs": one.count, "example": one.example} for one in lacking],
            **self._cap(quote),
            "balance_usd": quote.balance_usd,
            "balance_pays_for": self._paid_by_balance(quote),
        }

    def _paid_by_balance(self, quote: Quote) -> int | None:
        """Return how many of the purchases the balance of the account pays for, at their reserves; None: not known."""
        if quote.balance_usd is None or self.estimate.unpriced(quote.prices):
            return None
        account = BudgetTracker(Budget(usd=quote.balance_usd), Stop(), lambda: None, None)
        for model, price in quote.prices.items():
            account.set_price(model, price)
        return None if self.estimate.without_duration(quote.prices) else account.room(self.queue)

    def _model(self, model: str, price: Price | None) -> dict[str, Any]:
        seconds = {"seconds": self.estimate.seconds(model, price)} if price is not None and price.per_second else {}
        return {
            "model": model,
            "buy": self.estimate.count(model),
            "base_price_usd": price.usd if price is not None else None,
            "price_unit": price.unit if price is not None else None,
            **seconds,
        }

    def _cap(self, quote: Quote) -> dict[str, Any]:
        """Return the budget, the rest of it, and the number of purchases whose reserves fit into the rest."""
        if self.budget is None or self.tracker is None:
            return {"budget": None, "budget_left_usd": None, "affordable": None}
        self.today = quote.today
        prices = self._prices(quote)
        for model, price in prices.items():
            self.tracker.set_price(model, price)
        priced = not self.estimate.unpriced(prices) and not self.estimate.without_duration(prices)
        return {
            "budget": f"${self.budget.usd:g}{' a day' if self.budget.per_day else ''}",
            "budget_left_usd": round(self.tracker.left_usd, 6),
            "affordable": self.tracker.room(self.queue) if priced else None,
        }

    def _prices(self, quote: Quote) -> Prices:
        """Return the prices for the reserves of a run. Without an answer, the price of the last purchase is used."""
        assert self.tracker is not None
        earlier = self.tracker.earlier_price
        return {m: quote.prices[m] if m in quote.prices else earlier(m) for m in self.estimate.models}

    def _not_now(self, quote: Quote | None) -> str:
        if self.not_now or self.tracker is None or quote is None or not quote.asked:
            return self.not_now
        prices = self._prices(quote)
        if unpriced := self.estimate.unpriced(prices):
            return f"a budget needs the price of each job, and there is none for {', '.join(unpriced)}"
        return without_price_words(self.estimate.without_duration(prices))


def _range(estimate: Estimate, quote: Quote) -> dict[str, float | None]:
    """Return the lowest and highest cost of the jobs with a known price; None: there are no such jobs."""
    low, high = estimate.range_usd(quote.prices) or (None, None)
    return {
        "from_usd": round(low, 6) if low is not None else None,
        "up_to_usd": round(high, 6) if high is not None else None,
    }


def make_forecast(config: RunConfig, manifest_jobs: JobStore, *, now: float, visit: Visit) -> Forecast:
    """Return what a run of ``manifest_jobs`` would do. Changes nothing, and needs no lock and no network.

    Raises the errors that such a run would raise before it buys. ``now`` is in seconds since the epoch.
    """
    root, api, shard, budget = config.folder.root, config.api.name, config.shard, config.budget
    forecast = Forecast(output=str(root), budget=budget)
    refuse_renamed(root, config.beside, manifest_jobs)
    with open_reader(root) as known:
        ledger, others = (known, EMPTY) if shard is None else divided(known, shard)
        recognize(api, known, same_as=config.same_api)
        planner = config.planner(manifest_jobs, ledger, others)
        jobs = config.select(manifest_jobs, planner)
        _refuse_older(known.older, planner, jobs)
        redo = _Redo(RedoMarks(ledger, planner, api), config.redo, jobs)

        def enter(job: Job, decision: Decision) -> None:
            decision = redo.decide(job, decision)
            visit(job, forecast.count(job, decision), _reason(decision), replaced_inputs(job, decision))

        found = survey(planner, jobs.selected(), enter)
        _look_at_owed(forecast, found, ledger, api, most=config.backlog, now=now)
        forecast.not_now = layout_conflict(look(root), shard) or forecast.not_now
        if budget is not None:
            forecast.tracker = BudgetTracker(budget, Stop(), lambda: forecast.today, shard)
            forecast.tracker.load(record for record in known.latest() if is_paid(api) == is_paid(record.api))
    return forecast


def _refuse_older(older: Path | None, planner: Planner, jobs: Selection) -> None:
    """Raise ``ConflictError`` if a run would buy although a results log is an older copy."""
    if older is not None and any(planner.buys(job) for job in jobs.selected()):
        raise ConflictError(f"{older_words(older)} Nothing was bought.")
    planner.begin_again()


def _look_at_owed(
    forecast: Forecast, found: SurveyResult, ledger: LedgerReader, api: str, *, most: int, now: float
) -> None:
    owed = ledger.owed(api)
    counted = found.collecting | found.taken_over
    forecast.others = sum(record.id not in counted and not record.rebuy for record in owed)
    forecast.doubtful = found.doubtful.total()
    forecast.not_now = (
        doubt_about_schemas(found.doubtful) if found.doubtful else too_much_waits(owed, most=most, now=now)
    )


def _reason(decision: Decision) -> str:
    if decision.then is None or decision.then.buys:
        return decision.reason
    return f"{decision.reason.partition(';')[0]}; after that: {decision.then.reason}"


class _Redo:
    """Changes of decisions by the requested redo."""

    def __init__(self, marks: RedoMarks, choice: RedoMode | None, jobs: Selection) -> None:
        self._redo = marks
        if choice is not None:
            self._redo.check_choice(jobs.selected)
        self._number = self._redo.choosing if choice is RedoMode.SELECTED else 0

    def decide(self, job: Job, decision: Decision) -> Decision:
        if not self._number or not self._redo.would_choose(job, decision, self._number):
            return decision
        return msgspec.structs.replace(
            decision, action=Action.BUY, reason="done, and bought again (--redo)", record=None
        )
