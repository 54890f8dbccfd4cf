"""What a run learns from others never makes it wait for what it could ask at once. Seconds here are virtual."""

from __future__ import annotations

import asyncio

import pytest
from support.harness import Service

from runner.core.clock import epoch
from runner.core.models import State
from runner.emulator import InjectedFault

pytestmark = pytest.mark.anyio

HOUR = 3600.0
FOR_EVER = 1e7


def jobs(count: int) -> list[dict[str, str]]:
    return [{"id": f"j{number}", "prompt": f"picture {number}"} for number in range(count)]


async def owe(service: Service, count: int, *faults: InjectedFault) -> None:
    """A run whose requests are not heard of, and an hour after it."""
    service.fault(*faults, InjectedFault(on="result", kind="hang", seconds=FOR_EVER))
    manifest = service.manifest(*jobs(count), concurrency=count, timeout="1m")
    assert (await service.run(manifest)).owed == count
    service.fault()
    await asyncio.sleep(HOUR)


async def test_what_is_owed_is_asked_after_at_once(service):
    """A rerun an hour later fetches what was done long ago in no time."""
    await owe(service, 24)
    report = await service.run(service.manifest(*jobs(24), concurrency=8))
    assert report.done == 24
    assert report.seconds < 5


async def test_what_is_stuck_holds_up_no_later_night(service):
    """Requests that the API does not know any more are asked after in every run, and once is enough."""
    await owe(service, 4)
    gone = (InjectedFault(on="result", kind="forget"), InjectedFault(on="status", kind="forget"))
    service.fault(*gone)
    for _ in range(2):
        report = await service.run(service.manifest(*jobs(4), concurrency=8))
        assert report.seconds < 60


async def test_a_changed_token_is_noticed_soon(service):
    """When everything owed is refused, the run says so and ends; it does not wait for each deadline."""
    await owe(service, 12)
    refused = {"kind": "status", "status": 401, "code": 400004}
    service.fault(*(InjectedFault(on=on, **refused) for on in ("result", "status", "submit")))
    report = await service.run(service.manifest(*jobs(12), concurrency=8))
    assert report.exit_code == 77
    assert report.seconds < 60


async def test_requests_that_all_fail_are_noticed_as_soon_as_others(make_service):
    """A batch of which every request fails takes no longer than one of which every request is done."""
    service = await make_service(workers=8, seconds=60.0)
    service.fault(InjectedFault(on="job", kind="fail"))
    report = await service.run(service.manifest(*jobs(40), concurrency=8))
    assert report.failed == 40
    assert report.seconds < 40 / 8 * 60 * 1.3


@pytest.mark.parametrize("workers", [8, 30])
@pytest.mark.slow
async def test_an_outage_of_a_minute_costs_auto_no_more_than_a_minute(make_service, workers):
    """`concurrency: auto` goes back to where it was when the API is well again."""
    count = 20 * workers
    service = await make_service(workers=workers, seconds=1.0, spread=0.3)
    manifest = service.manifest(*jobs(count), concurrency="auto")
    async with asyncio.TaskGroup() as group:
        run = group.create_task(service.run(manifest))
        await asyncio.sleep(10)
        service.fault(InjectedFault(on="submit", kind="status", status=503, retry_after=1))
        await asyncio.sleep(60)
        service.fault()
    report = await run
    assert report.done == count
    assert report.seconds < 60 + count / workers * 2


async def test_free_work_is_done_when_the_last_slot_is_lost(service):
    """A request that never ends holds the only slot; pictures that are paid for are fetched again all the same."""
    await service.run(service.manifest(*jobs(3), concurrency=1))
    for number in range(3):
        (service.output / f"j{number}.png").unlink()
    service.fault(InjectedFault(on="result", kind="hang", seconds=FOR_EVER, match="picture 3"))
    first = [*jobs(4)[3:], *jobs(3)]
    report = await service.run(service.manifest(*first, concurrency=1, timeout="1m"))
    assert (report.done, report.owed, report.left) == (3, 1, 0)


async def test_a_slot_that_is_held_stays_held_to_the_end_of_the_run(service):
    """Changed jobs wait until their old purchases are home; by then a slot is lost, and only the other is used."""
    await owe(service, 2)
    changed = [{**job, "prompt": f"another {job['id']}"} for job in jobs(2)]
    service.fault(InjectedFault(on="result", kind="hang", seconds=FOR_EVER, match="never"))
    manifest = service.manifest(*changed, {"id": "h", "prompt": "never"}, concurrency=2, timeout="1m")
    report = await service.run(manifest)
    assert (report.done, report.owed) == (2, 1)
    sent = [record for record in service.seen if record.state is State.SUBMITTED]
    earlier, later = sorted(epoch(record.submitted_at) for record in sent)[-2:]
    assert later - earlier >= 0.9  # one after the other: as long as a request takes


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", ["auto", pytest.param(24, marks=pytest.mark.slow)])
async def test_a_limit_on_requests_in_flight_is_learnt_and_kept_to(make_service, concurrency):
    """Six are accepted at once: after the first refusals no more than six are sent, and hardly any is refused again."""
    service = await make_service(workers=16, seconds=1.0, max_in_flight=6)
    count = 120
    report = await service.run(service.manifest(*jobs(count), concurrency=concurrency))
    assert report.done == count
    refused = service.emulator.stats["calls"]["submit"] - count
    assert refused <= 24
    assert report.seconds < 1.3 * count / 6


@pytest.mark.slow
async def test_a_limit_that_is_lifted_is_noticed(make_service):
    """Four in flight are allowed for a minute, and then any number: within minutes the run is several times as fast."""
    service = await make_service(workers=16, seconds=4.0, max_in_flight=4)
    manifest = service.manifest(*jobs(900), concurrency="auto")
    async with asyncio.TaskGroup() as group:
        run = group.create_task(service.run(manifest))
        await asyncio.sleep(60)
        narrow = service.submissions
        object.__setattr__(service.emulator._service._options, "max_in_flight", None)
        await asyncio.sleep(120)
        before = service.submissions
        await asyncio.sleep(60)
        wide = service.submissions - before
        run.cancel()
    assert wide > 2 * narrow
