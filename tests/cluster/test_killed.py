"""Workers that die, and the program that watches them: nothing is bought twice, and nothing is lost."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Any

import pytest
from support.local_cluster import Site, wait_for


def check(site: Site, jobs: int, concurrency: int, summary: dict[str, Any]) -> None:
    """Each job was bought once, or is listed as unknown; all is in one results manifest; the bound held."""
    states = Counter(record.state.value for record in site.records())
    assert set(site.bought().values()) == {1}
    assert states.keys() <= {"done", "unknown"}
    assert sum(states.values()) == jobs
    assert summary["unknown"] == states["unknown"]
    assert site.submissions >= jobs - states["unknown"]
    assert summary["total"] == jobs == summary["done"] + summary["skipped"] + summary["unknown"]
    assert len(list(site.output.glob("job-*.png"))) == states["done"]
    assert not list(site.output.glob("results.*-of-*"))
    assert site.asked("stats")["peak_in_flight"] <= concurrency


def kill_during(site: Site, jobs: int, kills: int, concurrency: int) -> None:
    site.schedule()
    workers = [site.work() for _ in range(kills + 1)]
    manifest = site.write(jobs, concurrency=concurrency)
    run = site.run(manifest)
    for number in range(kills):
        wait_for(lambda: site.submissions > jobs * (number + 1) // (kills + 2), run)  # noqa: B023 - called at once
        workers[number].send_signal(signal.SIGKILL)
        if number == 0:
            site.work()
    code, summary = site.end(run)
    assert code == (2 if summary["unknown"] else 0), site.said(run)
    check(site, jobs, concurrency, summary)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(site):
    """200 jobs, a worker killed and one added meanwhile: each is bought once."""
    site.serve("--workers", "100", "--seconds", "0.3")
    kill_during(site, 200, kills=1, concurrency=24)


@pytest.mark.soak
def test_two_thousand_jobs_with_two_workers_killed_and_one_added(site):
    """The bounds hold over all workers, as the service counts, and the results are one again."""
    site.serve("--workers", "100", "--seconds", "0.2")
    kill_during(site, 2000, kills=2, concurrency=48)
