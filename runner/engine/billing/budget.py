"""Budget: the amount that may still be spent, across crashes and reruns.

Every purchase reserves an amount before its intent is written, and the bill replaces the reserve. A purchase without a
bill counts at its reserve: unknown outcomes, failures without a stated cost, and requests in progress. Days are those
of the API, from the ``Date`` header of its answers. Before the first such header, every purchase counts for today.

Before the first bill for a model and size, only one job of this kind is in progress at a time; the next job reserves
the amount of its bill. A bill above the reserve raises the reserves of other purchases of this kind that are in
progress. For a model with a price per second, the tracker learns the cost of one second: after a bill of $0.40 for a
video of 2 s, a video of 10 s reserves $2.00.

The tracker of a shard is limited to the part of the folder's budget that ``shares.allowance`` returns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

import msgspec
from anyio import Event

from runner.core.models import Budget, Job, Record, State, kind_of
from runner.core.shards import Shard, shard_of
from runner.engine.billing.accounts import Account, HighestBills, Reserved
from runner.engine.billing.costs import Basis, basis_of, spent
from runner.engine.billing.prices import (
    Extent,
    Price,
    WithoutDuration,
    extent_of,
    price_in,
    seconds_in,
    without_price_words,
)
from runner.engine.billing.shares import NANO, allowance, nano
from runner.engine.run_status import BudgetStatus
from runner.engine.stop import Stop


class BudgetTracker:
    """Spent and reserved amounts of a folder, and its budget."""

    def __init__(
        self, budget: Budget | None, stop: Stop, today: Callable[[], str | None], shard: Shard | None = None
    ) -> None:
        """Create a tracker. ``today`` returns the day of the API (``2026-11-22``), None while it is not known."""
        self._prices: dict[str, Price | None] = {}
        """Base price by model; None as price: neither the catalogue nor a purchase has one."""
        self._budget = budget
        self._stop = stop
        self._today = today
        self._shard = shard
        self._spent = Account()
        self._elsewhere: defaultdict[int, Account] = defaultdict(Account)
        """Amounts that other shards had spent when the run began, by index of the shard."""
        self._limits: dict[str | None, float] = {}
        """Resulting limits of this shard, by day of the API."""
        self._bills: dict[Hashable, HighestBills] = {}
        self._earlier: dict[str, Price] = {}
        self._alone: set[Hashable] = set()
        self._under_way: dict[tuple[str, int], Reserved] = {}
        self._changed = Event()

    def load(self, records: Iterable[Record]) -> None:
        """Count what earlier runs of every shard have spent, and learn the bills and prices of each kind."""
        self._limits.clear()
        for record in records:
            self._count(record)
            self._learn(record)
            if (price := price_in(record)) is not None:
                self._earlier[record.model] = price.with_default_of(self._earlier.get(record.model))

    def set_price(self, model: str, price: Price | None) -> None:
        """Set the price of ``model``, from the catalogue or an earlier purchase; None: not known."""
        self._prices[model] = price
        self._limits.clear()

    def earlier_price(self, model: str) -> Price | None:
        """Return the price behind the reserve of the newest purchase of ``model``; None: there is none.

        It is used while the catalogue cannot be reached.
        """
        return self._earlier.get(model)

    def estimate(self, job: Job) -> float | None:
        """Return the most that the next purchase of ``job`` may cost; None: not known."""
        price, billed = self._prices.get(job.model), self._bills.get(kind_of(job))
        if price is None:
            return billed.usd if billed is not None else None
        estimate = price.most(extent_of(job.inputs))
        if estimate is None or billed is None:
            return estimate
        return max(estimate, billed.expect(self.priced_seconds(job)))

    def priced_seconds(self, source: Job | Record) -> int | None:
        """Return the seconds that the price of ``source`` is for; None: its model has a price per output."""
        price = self._prices.get(source.model)
        return None if price is None else price.seconds(extent_of(source.inputs))

    @property
    def left_usd(self) -> float:
        """Return the part of the budget that is neither spent nor reserved."""
        assert self._budget is not None
        return max(0.0, self._limit() - self._counted())

    @property
    def cap(self) -> BudgetStatus | None:
        """Return the budget and the amounts counted against it; None: there is no budget."""
        if self._budget is None:
            return None
        reserved = sum(taken.usd for taken in self._under_way.values())
        spent_usd = max(0.0, self._counted() - reserved)
        return BudgetStatus(usd=self._limit(), per_day=self._budget.per_day, spent_usd=spent_usd, reserved_usd=reserved)

    def room(self, jobs: Iterable[Job]) -> int:
        """Count the ``jobs`` that fit into the rest of the budget, bought in this order at their reserves."""
        left = self.left_usd + 1e-9
        count = 0
        for job in jobs:
            left -= self.estimate(job) or 0.0
            if left < 0:
                break
            count += 1
        return count

    async def acquire(self, job: Job) -> bool:
        """Wait until ``job`` may be bought. Return False if buying stopped, e.g. at the end of the budget."""
        while not self.admits(job):
            if self._stop.stopped:
                return False
            if not self._under_way or self.estimate(job) is None:
                self._refuse(job)
                return False
            await self._stop.wait_for(self._changed)
        return True

    def admits(self, job: Job) -> bool:
        """Tell whether ``job`` may be bought now."""
        return self._budget is None or (kind_of(job) not in self._alone and self._fits(job))

    def reserve(self, record: Record) -> None:
        """Count the reserve of ``record``, an intent that is about to be written."""
        if self._budget is None:
            return
        self._add(record.day, record.reserved_usd or 0.0)
        self._reserve(record, record.reserved_usd or 0.0)

    def track(self, records: Iterable[Record]) -> None:
        """Track requests of earlier runs that this run polls, since a bill may soon replace their reserves."""
        for record in records:
            if self._budget is not None and record.state is State.SUBMITTED:
                self._spent.count(record, -1)
                usd = self._counts(record)
                self._add(record.day, usd)
                self._reserve(record, usd)

    def _reserve(self, record: Record, usd: float) -> None:
        kind, seconds = kind_of(record), record.priced_seconds or self.priced_seconds(record)
        self._under_way[record.id, record.purchase] = Reserved(kind=kind, day=record.day, usd=usd, seconds=seconds)
        if kind not in self._bills:
            self._alone.add(kind)

    def charge(self, record: Record) -> None:
        """Replace the reserve of a purchase by its final amount, as the purchase has ended for this run."""
        taken = self._under_way.pop((record.id, record.purchase), None)
        if taken is None:
            return
        self._add(taken.day, self._counts(record) - taken.usd)
        self._learn(record)
        if record.request_id is not None and taken.kind not in self._bills:
            self._billed(taken.kind).learn(taken.usd, taken.seconds)
        self._raise(taken.kind)
        self._alone.discard(taken.kind)
        self._changed.set()
        self._changed = Event()

    def _billed(self, kind: Hashable) -> HighestBills:
        return self._bills.setdefault(kind, HighestBills())

    def _raise(self, kind: Hashable) -> None:
        """Raise the reserves of purchases of ``kind`` in progress to the highest bill: their bills will match it."""
        for name, taken in self._under_way.items():
            bill = self._bills[kind].expect(taken.seconds) if taken.kind == kind and kind in self._bills else 0.0
            if taken.usd < bill:
                self._add(taken.day, bill - taken.usd)
                self._under_way[name] = msgspec.structs.replace(taken, usd=bill)

    def _counts(self, record: Record) -> float:
        """Return the amount that a purchase counts at. A purchase made without a price counts at the present price."""
        if basis_of(record) is Basis.UNPRICED:
            return self._price(record.model, extent_of(record.inputs))
        return spent(record)

    def _price(self, model: str, extent: Extent) -> float:
        """Return the amount of a purchase that was made without a known price; 0 if no price is known now either.

        With a price per second and no duration, it counts for one second, the least that it can have cost.
        """
        price = self._prices.get(model) or self._earlier.get(model)
        if price is None:
            return 0.0
        most = price.most(extent)
        return price.usd * extent.megapixels if most is None else most

    def _add(self, day: str | None, usd: float) -> None:
        self._spent.usd[day] += usd

    def _count(self, record: Record) -> None:
        """Add a purchase of an earlier run to the account of its shard."""
        own = self._shard is None or self._shard.owns(record.id)
        account = self._spent if own else self._elsewhere[shard_of(record.id, self._shard.of if self._shard else 1)]
        account.count(record)

    def _learn(self, record: Record) -> None:
        if record.cost_usd is not None and record.state is not State.CANCELLED and record.restored_from is None:
            self._billed(kind_of(record)).learn(record.cost_usd, seconds_in(record))

    def _counted(self) -> float:
        """Return the amount counted against the budget; with a budget per day, that of today and without a day."""
        return self._sum(self._spent)

    def _sum(self, account: Account) -> float:
        assert self._budget is not None
        today = self._today()
        every = not self._budget.per_day or today is None
        return sum(usd for day, usd in account.days(self._price) if every or day in (today, None))

    def _limit(self) -> float:
        """Return the highest amount that may be counted against the budget."""
        assert self._budget is not None
        if self._shard is None:
            return self._budget.usd
        today = self._today()
        if today not in self._limits:
            others = {index: nano(self._sum(account)) for index, account in self._elsewhere.items()}
            self._limits[today] = allowance(nano(self._budget.usd), self._shard, others) / NANO
        return self._limits[today]

    def _fits(self, job: Job) -> bool:
        estimate = self.estimate(job)
        return estimate is not None and self._counted() + estimate <= self._limit() + 1e-9

    def _refuse(self, job: Job) -> None:
        assert self._budget is not None
        estimate = self.estimate(job)
        if estimate is None:
            self._refuse_unpriced(job)
            return
        cap = f"${self._budget.usd:g}{' a day' if self._budget.per_day else ''}"
        if self._shard is not None:
            cap = f"{cap} (${self._limit():.4f} for shard {self._shard})"
        self._stop.buying(
            f"the budget of {cap} is used up: ${self._counted():.4f} is spent or reserved, and {job.id} may cost "
            f"${estimate:.4f}. Raise the budget{', or run again tomorrow' if self._budget.per_day else ''}",
            remedy=f"with a larger --budget{', or tomorrow' if self._budget.per_day else ''}",
        )

    def _refuse_unpriced(self, job: Job) -> None:
        if self._prices.get(job.model) is None:
            self._stop.buying(f"a budget needs the price of each job, and the price of {job.id} is unknown", 65)
        else:
            self._stop.buying(without_price_words([WithoutDuration(job.model, 1, job.id)]), 65)
