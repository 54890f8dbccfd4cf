"""Each job stands under exactly one count, whatever becomes of it in one run, and causes tell of what did end badly."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from support.harness import plain

from runner.emulator import InjectedFault
from runner.engine.stop import Stop

pytestmark = pytest.mark.anyio


@pytest.fixture
async def service(make_service):
    """Requests take longer than the first run waits."""
    return await make_service(seconds=100.0, workers=16)


async def leave_owed(service, count, **fault):
    """A run that ends with ``count`` requests under way, which fail afterwards."""
    service.fault(InjectedFault(on="job", kind="fail", **fault))
    assert (await service.run(service.manifest(*plain(count), concurrency=count, timeout="5s"))).owed == count
    await asyncio.sleep(1000)


def causes(report):
    return {(cause.outcome, cause.count) for cause in report.causes}


async def test_what_failed_unheard_and_is_bought_anew_in_the_same_run_counts_once(service):
    """Four were owed, failed meanwhile and are bought again beside two new ones: each job stands under its last end."""
    service.fault(InjectedFault(on="job", kind="fail", each=1))
    assert (await service.run(service.manifest(*plain(6), timeout="5s"))).owed == 4
    report = await service.run(service.manifest(*plain(6), concurrency=1))
    assert service.submissions == 10
    assert (report.done, report.failed, report.left, report.total) == (4, 2, 0, 6)
    assert [cause.count for cause in report.causes] == [2]
    assert {record.id for record in report.examples} == {"e", "f"}


@pytest.mark.parametrize("seed", range(4))
async def test_requests_that_failed_unheard_and_are_bought_anew_count_once(service, seed):
    """Several ends are written together where the disk is slow, and another lane may be quicker to buy anew."""
    await leave_owed(service, 8, each=1)
    jobs = plain(8)
    Random(seed).shuffle(jobs)
    report = await service.run(service.manifest(*jobs, concurrency=8))
    assert min(report.counts.values()) >= 0
    assert report.total == 8
    assert report.done + report.failed == 8
    assert sum(count for _, count in causes(report)) == report.failed


async def test_a_failure_of_inputs_that_are_not_wanted_any_more_hides_no_other(service):
    """The old request of a changed job failed, and the new one of another does: one job failed, for one cause."""
    await leave_owed(service, 2, each=1)
    service.fault(InjectedFault(on="job", kind="fail", match="always"))
    changed = [
        {"id": "a", "prompt": "other"},
        {"id": "b", "prompt": "picture 1"},
        {"id": "c", "prompt": "always fails"},
    ]
    report = await service.run(service.manifest(*changed, concurrency=1))
    assert (report.done, report.failed, report.total) == (2, 1, 3)
    assert ("failed", 1) in causes(report)


async def test_one_that_failed_and_is_under_way_again_when_the_run_ends_is_owed(service):
    """Not failed as well."""
    await leave_owed(service, 1, times=1)
    stop = Stop()
    asyncio.get_running_loop().call_later(20, stop.interrupt, "interrupted by SIGTERM")
    report = await service.run(service.manifest(*plain(1), concurrency=1), stop=stop)
    assert (report.owed, report.failed, report.total) == (1, 0, 1)
    assert causes(report) == set()
