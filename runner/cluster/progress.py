"""Progress of the whole batch, from what the shards report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.cluster.messages import ShardUpdate
from runner.core.models import Record
from runner.core.shards import Shard, shard_of
from runner.engine.run_status import RunStatus
from runner.engine.summary import Report


def jobs_by_shard(ids: Iterable[str], count: int) -> Counter[int]:
    """How many of the jobs with these ids each shard has."""
    return Counter(shard_of(job_id, count) for job_id in ids)


class ClusterProgress:
    """Each job of the batch under exactly one count, whichever shards have begun."""

    def __init__(
        self,
        jobs: Mapping[int, int],
        *,
        observer: Callable[[Record], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``jobs`` by shard. ``observer`` hears of every record, ``say`` of a shard that goes on somewhere else."""
        self._jobs = jobs
        self._observer = observer
        self._say = say
        self._places: dict[int, _ShardPlace] = {}

    def hear(self, news: ShardUpdate) -> None:
        """What a worker tells. It may come late: a shard that has ended is not changed by it."""
        for record in news.records:
            self._observer(record)
        place = self._places.setdefault(news.shard, _ShardPlace(worker=news.worker))
        if place.ended:
            return
        if place.worker != news.worker:
            self._say(f"shard {news.shard} goes on at {news.worker}; {place.worker} is gone")
            place.move(news.worker)
        place.concurrency = news.concurrency
        if any(news.counts.values()):
            place.counts, place.cost_usd = news.counts, news.cost_usd

    def end(self, shard: Shard, report: Report | None) -> Report:
        """A shard has come to its end; None: it could not be run to it. What it did, at whichever workers."""
        place = self._places.setdefault(shard.index, _ShardPlace())
        place.ended, place.concurrency = True, 0
        if report is not None:
            place.counts, place.cost_usd = report.counts, report.cost_usd
        counts: dict[str, Any] = dict(self._counts(shard.index))
        return replace(report or Report(), **counts, cost_usd=place.cost_usd + place.earlier_usd)

    def status(self) -> RunStatus:
        """The sum; jobs of shards that have not begun are left."""
        counts = Counter[str]()
        for shard in self._jobs:
            counts.update(self._counts(shard))
        concurrency = [place.concurrency for place in self._places.values() if place.concurrency is not None]
        cost = sum(place.cost_usd + place.earlier_usd for place in self._places.values())
        return RunStatus(counts=counts, cost_usd=cost, concurrency=sum(concurrency) or None)

    def _counts(self, shard: int) -> Mapping[str, int]:
        place = self._places.get(shard)
        return place.told if place is not None and place.counts else {"left": self._jobs.get(shard, 0)}


@dataclass(slots=True, kw_only=True)
class _ShardPlace:
    """Where a shard stands."""

    worker: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    cost_usd: float = 0.0
    concurrency: int | None = None
    ended: bool = False
    earlier_done: int = 0
    """Of those that a worker which died had done in this run; for its successor they were done before."""
    earlier_usd: float = 0.0

    def move(self, worker: str) -> None:
        """It begins again at another worker. What stands here stays until that one has looked at its jobs."""
        done = self.counts.get("done", 0)
        self.earlier_done, self.earlier_usd = self.earlier_done + done, self.earlier_usd + self.cost_usd
        self.worker, self.cost_usd = worker, 0.0
        if self.counts:
            self.counts = {**self.counts, "done": 0, "skipped": self.counts.get("skipped", 0) + done}

    @property
    def told(self) -> Mapping[str, int]:
        """The counts, with what was done in this run under ``done``, at whichever worker."""
        done = min(self.earlier_done, self.counts.get("skipped", 0))
        more = {"done": self.counts.get("done", 0) + done, "skipped": self.counts.get("skipped", 0) - done}
        return {**self.counts, **more} if done else self.counts
