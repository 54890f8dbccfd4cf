"""Budget: how much may still be bought, across crashes and reruns.

Every purchase takes its reserve before its intent is written, and the bill settles it. What is not billed counts at its
reserve: unknowns, failures without a stated cost, whatever is still under way. Days are the API's, by the ``Date`` of
its answers; as long as it names none, every purchase counts as today's.

Until a bill for a model and size is known, a job of that kind goes alone: the next one reserves what that one cost. A
bill that is higher than what was reserved raises what others of its kind, which are under way, are reserved at. Of a
model that costs by the second, the bill for one second is learnt: where a video of 2 s was billed $0.40, one of 10 s
reserves $2.00.

The tracker of a shard holds what ``shares.allowance`` gives it of the folder's budget.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator

import msgspec
from anyio import Event

from runner.core.models import Budget, Job, Record, State, kind_of
from runner.core.shards import Shard, shard_of
from runner.engine.billing.costs import Basis, basis_of, spent
from runner.engine.billing.prices import (
    DURATION_ADVICE,
    Extent,
    Price,
    WithoutDuration,
    extent_of,
    price_in,
    seconds_in,
)
from runner.engine.billing.shares import NANO, allowance, nano
from runner.engine.run_status import BudgetStatus
from runner.engine.stop import Stop


class _Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """What a purchase under way stands at, until it is billed."""

    kind: Hashable
    day: str | None
    usd: float
    seconds: int | None
    """What its model is priced for; None: it costs by the output."""


class _Billed(msgspec.Struct):
    """What purchases of a kind were billed at most."""

    usd: float = 0.0
    per_second: float = 0.0

    def learn(self, usd: float, seconds: int | None) -> None:
        self.usd = max(self.usd, usd)
        if seconds is not None:
            self.per_second = max(self.per_second, usd / seconds)

    def expect(self, seconds: int | None) -> float:
        """Return what the next purchase may be billed; ``seconds`` is None for a model that costs by the output."""
        return self.usd if seconds is None else self.per_second * seconds


class _Account:
    """What the purchases of a shard, or of the folder, come to by day."""

    def __init__(self) -> None:
        self.usd: defaultdict[str | None, float] = defaultdict(float)
        self.unpriced: Counter[tuple[str | None, str, Extent]] = Counter()
        """Purchases that were perhaps charged and that no price was known for: by day, model and extent."""

    def count(self, record: Record, times: int = 1) -> None:
        """Count ``record``; -1 times: no longer."""
        if basis_of(record) is Basis.UNPRICED:
            self.unpriced[record.day, record.model, extent_of(record.inputs)] += times
        else:
            self.usd[record.day] += times * spent(record)

    def days(self, price: Callable[[str, Extent], float]) -> Iterator[tuple[str | None, float]]:
        """Day and amount, several times a day: what had no price is counted at the one of its model now."""
        yield from self.usd.items()
        for (day, model, extent), count in self.unpriced.items():
            yield day, count * price(model, extent)


class BudgetTracker:
    """What a folder has spent and reserved, against its budget."""

    def __init__(
        self, budget: Budget | None, stop: Stop, today: Callable[[], str | None], shard: Shard | None = None
    ) -> None:
        """``today`` is the API's day (``2026-11-22``), None as long as it is not known."""
        self._prices: dict[str, Price | None] = {}
        """Base price by model, as far as the catalogue names it."""
        self._budget = budget
        self._stop = stop
        self._today = today
        self._shard = shard
        self._spent = _Account()
        self._elsewhere: defaultdict[int, _Account] = defaultdict(_Account)
        """What other shards had spent, by their index, when the run began."""
        self._limits: dict[str | None, float] = {}
        """What that leaves to this one, by the API's day."""
        self._bills: dict[Hashable, _Billed] = {}
        self._earlier: dict[str, Price] = {}
        self._alone: set[Hashable] = set()
        self._under_way: dict[tuple[str, int], _Reserved] = {}
        self._changed = Event()

    def load(self, records: Iterable[Record]) -> None:
        """Count what earlier runs have spent, of every shard, and learn what each kind was billed."""
        self._limits.clear()
        for record in records:
            self._count(record)
            self._learn(record)
            if (price := price_in(record)) is not None:
                self._earlier[record.model] = price.with_default_of(self._earlier.get(record.model))

    def set_price(self, model: str, price: Price | None) -> None:
        """``price`` is what the catalogue names, or what was paid before; None: nothing says so."""
        self._prices[model] = price
        self._limits.clear()

    def earlier_price(self, model: str) -> Price | None:
        """The price that the newest purchase of ``model`` reserved by: what to go by while the catalogue is away."""
        return self._earlier.get(model)

    def estimate(self, job: Job) -> float | None:
        """What the next purchase of ``job`` may cost; None where nothing says so."""
        price, billed = self._prices.get(job.model), self._bills.get(kind_of(job))
        if price is None:
            return billed.usd if billed is not None else None
        estimate = price.most(extent_of(job.inputs))
        if estimate is None or billed is None:
            return estimate
        return max(estimate, billed.expect(self.priced_seconds(job)))

    def priced_seconds(self, source: Job | Record) -> int | None:
        """Return the seconds that the price of ``source`` is for; None where its model costs by the output."""
        price = self._prices.get(source.model)
        return None if price is None else price.seconds(extent_of(source.inputs))

    @property
    def left_usd(self) -> float:
        """What of the budget is neither spent nor reserved."""
        assert self._budget is not None
        return max(0.0, self._limit() - self._counted())

    @property
    def cap(self) -> BudgetStatus | None:
        """The budget and what stands against it, for one who looks; None without a budget."""
        if self._budget is None:
            return None
        reserved = sum(taken.usd for taken in self._under_way.values())
        spent_usd = max(0.0, self._counted() - reserved)
        return BudgetStatus(usd=self._limit(), per_day=self._budget.per_day, spent_usd=spent_usd, reserved_usd=reserved)

    def room(self, jobs: Iterable[Job]) -> int:
        """How many of ``jobs``, bought in this order, fit into what is left if each costs its reserve."""
        left = self.left_usd + 1e-9
        count = 0
        for job in jobs:
            left -= self.estimate(job) or 0.0
            if left < 0:
                break
            count += 1
        return count

    async def acquire(self, job: Job) -> bool:
        """Wait until ``job`` may be bought. False: buying stopped, maybe because the budget is used up."""
        while not self.admits(job):
            if self._stop.stopped:
                return False
            if not self._under_way or self.estimate(job) is None:
                self._refuse(job)
                return False
            await self._stop.wait_for(self._changed)
        return True

    def admits(self, job: Job) -> bool:
        """Tell whether ``job`` may be bought as things are."""
        return self._budget is None or (kind_of(job) not in self._alone and self._fits(job))

    def reserve(self, record: Record) -> None:
        """An intent is about to be written: its reserve counts from now on."""
        if self._budget is None:
            return
        self._add(record.day, record.reserved_usd or 0.0)
        self._reserve(record, record.reserved_usd or 0.0)

    def track(self, records: Iterable[Record]) -> None:
        """These are asked after in this run: what earlier runs left at its reserve is perhaps billed soon."""
        for record in records:
            if self._budget is not None and record.state is State.SUBMITTED:
                self._spent.count(record, -1)
                usd = self._counts(record)
                self._add(record.day, usd)
                self._reserve(record, usd)

    def _reserve(self, record: Record, usd: float) -> None:
        kind, seconds = kind_of(record), record.priced_seconds or self.priced_seconds(record)
        self._under_way[record.id, record.purchase] = _Reserved(kind=kind, day=record.day, usd=usd, seconds=seconds)
        if kind not in self._bills:
            self._alone.add(kind)

    def charge(self, record: Record) -> None:
        """A purchase is over as far as this run goes: count what it came to instead of its reserve."""
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

    def _billed(self, kind: Hashable) -> _Billed:
        return self._bills.setdefault(kind, _Billed())

    def _raise(self, kind: Hashable) -> None:
        """Others of a kind that was billed higher than they are reserved at will be, too."""
        for name, taken in self._under_way.items():
            bill = self._bills[kind].expect(taken.seconds) if taken.kind == kind and kind in self._bills else 0.0
            if taken.usd < bill:
                self._add(taken.day, bill - taken.usd)
                self._under_way[name] = msgspec.structs.replace(taken, usd=bill)

    def _counts(self, record: Record) -> float:
        """What a purchase stands at: one that no price was known for when it was made, at the price of now."""
        if basis_of(record) is Basis.UNPRICED:
            return self._price(record.model, extent_of(record.inputs))
        return spent(record)

    def _price(self, model: str, extent: Extent) -> float:
        """What a purchase counts for that was made without knowing a price; 0 where nothing says so.

        One by the second that gives no duration counts for one second, the least that it can have cost.
        """
        price = self._prices.get(model) or self._earlier.get(model)
        if price is None:
            return 0.0
        most = price.most(extent)
        return price.usd * extent.megapixels if most is None else most

    def _add(self, day: str | None, usd: float) -> None:
        self._spent.usd[day] += usd

    def _count(self, record: Record) -> None:
        """Put what an earlier run has spent to the account of its shard."""
        own = self._shard is None or self._shard.owns(record.id)
        account = self._spent if own else self._elsewhere[shard_of(record.id, self._shard.of if self._shard else 1)]
        account.count(record)

    def _learn(self, record: Record) -> None:
        if record.cost_usd is not None and record.state is not State.CANCELLED and record.restored_from is None:
            self._billed(kind_of(record)).learn(record.cost_usd, seconds_in(record))

    def _counted(self) -> float:
        """What stands against the budget: all of it, or today's and what has no day."""
        return self._sum(self._spent)

    def _sum(self, account: _Account) -> float:
        assert self._budget is not None
        today = self._today()
        every = not self._budget.per_day or today is None
        return sum(usd for day, usd in account.days(self._price) if every or day in (today, None))

    def _limit(self) -> float:
        """How much may stand against it."""
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
            cap = f"{cap}, of which shard {self._shard} has ${self._limit():.4f},"
        self._stop.buying(
            f"the budget of {cap} is used up: ${self._counted():.4f} is spent or reserved, "
            f"and {job.id} may cost ${estimate:.4f}"
        )

    def _refuse_unpriced(self, job: Job) -> None:
        if self._prices.get(job.model) is None:
            self._stop.buying(f"a budget needs a price, and nothing says what {job.id} costs", 65)
        else:
            lacking = WithoutDuration(job.model, 1, job.id)
            self._stop.buying(f"a budget needs the price of each job: {lacking}; {DURATION_ADVICE}", 65)
