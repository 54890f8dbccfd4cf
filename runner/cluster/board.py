"""Where the whole batch stands, from what the shards tell and have told at their end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from runner.cluster.messages import News
from runner.model import Record
from runner.progress import Standing
from runner.shards import Shard, shard_of
from runner.summary import Report


def jobs_by_shard(ids: Iterable[str], count: int) -> Counter[int]:
    """How many of the jobs with these ids each shard has."""
    return Counter(shard_of(job_id, count) for job_id in ids)


class Board:
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
        self._counts: dict[int, Mapping[str, int]] = {}
        self._costs: dict[int, float] = {}
        self._lanes: dict[int, int | None] = {}
        self._workers: dict[int, str] = {}

    def hear(self, news: News) -> None:
        """What a worker tells. It may come late: a shard that has ended is not changed by it."""
        for record in news.records:
            self._observer(record)
        if self._workers.get(news.shard) == "":
            return
        before = self._workers.get(news.shard, news.worker)
        if before != news.worker:
            self._say(f"shard {news.shard} goes on at {news.worker}; {before} is gone")
        self._workers[news.shard] = news.worker
        self._lanes[news.shard] = news.lanes
        if any(news.counts.values()):
            self._counts[news.shard], self._costs[news.shard] = news.counts, news.cost_usd

    def end(self, shard: Shard, report: Report | None) -> None:
        """A shard has come to its end; None: it could not be run."""
        self._workers[shard.index] = ""
        self._lanes[shard.index] = 0
        if report is not None:
            self._counts[shard.index], self._costs[shard.index] = report.counts, report.cost_usd

    def standing(self) -> Standing:
        """The sum; jobs of shards that have not begun are left."""
        counts = Counter[str]()
        for shard, jobs in self._jobs.items():
            counts.update(self._counts.get(shard, {"left": jobs}))
        lanes = [number for number in self._lanes.values() if number is not None]
        return Standing(counts=counts, cost_usd=sum(self._costs.values()), lanes=sum(lanes) or None)
