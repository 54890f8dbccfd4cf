"""Progress of the whole batch, computed from the updates of the shards."""

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
    """Count the jobs with these ``ids`` in each shard."""
    return Counter(shard_of(job_id, count) for job_id in ids)


class ClusterProgress:
    """Progress of the batch: each job is in exactly one count, whichever shards have begun."""

    def __init__(
        self,
        jobs: Mapping[int, int],
        *,
        observer: Callable[[Record], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create the progress of ``jobs``, which are the numbers of jobs by shard.

        ``observer`` is called with every record, ``say`` with a message when a shard moves to another worker.
        """
        self._jobs = jobs
        self._observer = observer
        self._say = say
        self._places: dict[int, _ShardPlace] = {}

    def hear(self, news: ShardUpdate) -> None:
        """Apply an update from a worker. A late update does not change a shard that has ended."""
        for record in news.records:
            self._observer(record)
        place = self._places.setdefault(news.shard, _ShardPlace(worker=news.worker))
        if place.ended:
            return
        if place.worker != news.worker:
            self._say(f"shard {news.shard} continues on {news.worker}; {place.worker} is gone")
            place.move(news.worker)
        place.concurrency = news.concurrency
        if any(news.counts.values()):
            place.counts, place.cost_usd = news.counts, news.cost_usd

    def end(self, shard: Shard, report: Report | None) -> Report:
        """Mark a shard as ended, and return its report over all its workers; ``report`` None: the shard failed."""
        place = self._places.setdefault(shard.index, _ShardPlace())
        place.ended, place.concurrency = True, 0
        if report is not None:
            place.counts, place.cost_usd = report.counts, report.cost_usd
        counts: dict[str, Any] = dict(self._counts(shard.index))
        return replace(report or Report(), **counts, cost_usd=place.cost_usd + place.earlier_usd)

    def status(self) -> RunStatus:
        """Return the sum of all shards; jobs of shards that have not begun count as ``left``."""
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
    """Current worker and counts of a shard."""

    worker: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    cost_usd: float = 0.0
    concurrency: int | None = None
    ended: bool = False
    earlier_done: int = 0
    """Jobs that workers which died had done in this run; the next worker counts these jobs as ``skipped``."""
    earlier_usd: float = 0.0

    def move(self, worker: str) -> None:
        """Restart the shard at another ``worker``. The counts remain until this worker has checked its jobs."""
        done = self.counts.get("done", 0)
        self.earlier_done, self.earlier_usd = self.earlier_done + done, self.earlier_usd + self.cost_usd
        self.worker, self.cost_usd = worker, 0.0
        if self.counts:
            self.counts = {**self.counts, "done": 0, "skipped": self.counts.get("skipped", 0) + done}

    @property
    def told(self) -> Mapping[str, int]:
        """Return the counts, with the jobs that any worker did in this run under ``done``."""
        done = min(self.earlier_done, self.counts.get("skipped", 0))
        more = {"done": self.counts.get("done", 0) + done, "skipped": self.counts.get("skipped", 0) - done}
        return {**self.counts, **more} if done else self.counts
