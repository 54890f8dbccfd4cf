"""What each answer to a submission means for the job, for the money and for the rest of the run."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from itertools import pairwise

import pytest
from support.harness import plain
from support.sampling import sampled

from runner.api.client import MAX_SUBMITTING
from runner.core import disk
from runner.core.models import State
from runner.core.shards import Shard
from runner.emulator import InjectedFault
from runner.engine.stop import Stop

pytestmark = pytest.mark.anyio


def submit(kind: str, **parameters: object) -> InjectedFault:
    return InjectedFault(on="submit", kind=kind, **{"times": 1, **parameters})


STOPS_BUYING = {
    "401 with the API's code": submit("status", status=401, code=400004),
    "403": submit("status", status=403, code=403001),
    "402": submit("status", status=402, code=400002),
    "no balance under 200": submit("error200", code=400002),
    "a bad token under 200": submit("error200", code=400004),
    "401 as a page": submit("status", status=401, body="html"),
}


@sampled("fault", [pytest.param(fault, id=name) for name, fault in STOPS_BUYING.items()], quick=3)
async def test_an_account_that_is_refused_stops_all_buying(service, fault):
    """401, 402, 403, no balance: nothing was bought, nothing more is tried, exit 77, and the next run buys all."""
    service.fault(fault)
    report = await service.run(service.manifest(*plain(6), concurrency=1))
    assert (report.exit_code, report.left, report.total) == (77, 6, 6)
    assert service.submissions == 1
    assert service.record("a").state is State.RELEASED
    assert (await service.run(service.manifest(*plain(6), concurrency=1))).done == 6
    assert len(service.purchases("a")) == 1, "a refused try is no purchase of its own"


PERHAPS_BOUGHT = {
    "500 before anything was created": submit("status", status=500),
    "500 after the request was created": submit("status", status=500, when="after"),
    "502 as a page": submit("status", status=502, body="html", when="after"),
    "503 as a page": submit("status", status=503, body="html", when="after"),
    "504": submit("status", status=504, when="after"),
    "408": submit("status", status=408, code=408000, when="after"),
    "a 5xxxxx code under 400": submit("status", status=400, code=500001, when="after"),
    "a 5xxxxx code under 200": submit("error200", code=500001, when="after"),
    "404 as a page": submit("status", status=404, body="html"),
    "connection cut before": submit("reset"),
    "connection cut after": submit("reset", when="after"),
    "no answer": submit("hang", when="after"),
    "a page under 200": submit("garbage", when="after"),
    "half an answer": submit("half", when="after"),
    "no request_id": submit("no_id"),
    "a malformed request_id": submit("bad_id"),
    "a redirect": submit("redirect", status=307, location="/v1/models/elsewhere"),
}


@pytest.mark.parametrize("fault", PERHAPS_BOUGHT.values(), ids=PERHAPS_BOUGHT)
async def test_an_unreadable_outcome_is_held_and_never_repeated(service, fault):
    """What may have been bought becomes `unknown`: exit 2, and no run submits it again unasked."""
    service.fault(fault)
    report = await service.run()
    assert (report.exit_code, report.unknown, report.total) == (2, 1, 1)
    assert service.record().state is State.UNKNOWN
    assert service.record().request_id is None
    again = await service.run()
    assert (again.exit_code, again.unknown) == (2, 1)
    assert service.submissions == 1


async def test_an_answer_with_the_request_of_another_purchase_is_in_doubt(service, caplog):
    """An id that this folder has from an earlier run: two jobs never share one request, and it is said."""
    await service.run()
    taken = service.record("a").request_id
    service.fault(submit("bad_id", text=taken))
    report = await service.run(jobs=2)
    assert (report.exit_code, report.skipped, report.unknown) == (2, 1, 1)
    record = service.record("b")
    assert (record.state, record.request_id, record.error.code) == (State.UNKNOWN, None, "repeated_request_id")
    assert taken in record.error.message
    assert "purchase 1 of a" in record.error.message
    assert any(taken in text for text in caplog.messages)
    assert service.files() == ["a.png"]
    assert (await service.run(jobs=2)).unknown == 1
    assert service.submissions == 2


async def test_of_submissions_answered_with_one_id_one_has_it(service):
    """Three answers with one id arrive at once, before any of them is on the disk: one purchase has the request."""
    service.fault(submit("bad_id", text="req-same", times=3))
    await service.run(jobs=3)
    assert [record.id for record in service.lines() if record.request_id == "req-same"] != []
    assert len({record.id for record in service.lines() if record.request_id == "req-same"}) == 1
    doubtful = [service.record(name).error.code for name in "abc" if service.record(name).state is State.UNKNOWN]
    assert doubtful == ["repeated_request_id"] * 2


async def test_the_id_of_another_shards_request_is_in_doubt(service):
    """What other shards had when this one began counts as this folder's."""
    manifest = service.manifest(*plain(6))
    await service.run(manifest, shard=Shard(index=1, of=2))
    taken = service.lines()[-1].request_id
    service.fault(submit("bad_id", text=taken))
    report = await service.run(manifest, shard=Shard(index=2, of=2))
    assert report.unknown == 1
    assert len({record.id for record in service.lines() if record.request_id == taken}) == 1


async def test_on_unknown_resubmit_buys_once_more_in_a_jobs_life(service):
    """`on_unknown: resubmit` repeats an unknown once; a second unknown is held for good."""
    service.fault(submit("reset", when="after", times=None))
    manifest = service.manifest(*plain(1), on_unknown="resubmit")
    for submissions in (1, 2, 2):
        assert (await service.run(manifest)).unknown == 1
        assert service.submissions == submissions
    assert [record.state for record in service.purchases("a")] == ["unknown", "unknown"]


async def test_an_answer_with_a_usable_id_is_a_request_in_hand(service):
    """An error that carries a request_id is collected, not bought again."""
    service.fault(submit("id_with_error", status=500))
    report = await service.run()
    assert (report.done, service.submissions) == (1, 1)


REFUSED_INPUT = {
    "422 with detail": submit("status", status=422, body="detail"),
    "400 with a code": submit("status", status=400, code=400123),
    "a code under 200": submit("error200", code=400123),
}


@pytest.mark.parametrize("fault", REFUSED_INPUT.values(), ids=REFUSED_INPUT)
async def test_a_refused_input_fails_that_job_alone(service, fault):
    """422 and its like: the job is `failed`, not charged, not tried again unchanged; the others are done."""
    service.fault(fault)
    report = await service.run(service.manifest(*plain(3), concurrency=1))
    assert (report.exit_code, report.failed, report.done) == (1, 1, 2)
    assert service.record("a").error.retryable is False
    assert (await service.run(service.manifest(*plain(3), concurrency=1))).failed == 1
    assert service.submissions == 3


async def test_an_unknown_model_stops_that_model_only(service):
    """404 on a model: its jobs are left, which is told once, those of other models are done, exit 75."""
    jobs = [{"id": f"x{n}", "model": "no/such/model/text-to-image", "prompt": f"p{n}"} for n in range(3)]
    report = await service.run(service.manifest(*jobs, *plain(2), concurrency=1))
    assert (report.exit_code, report.left, report.done) == (75, 3, 2)
    assert service.submissions == 3
    (told,) = [note for note in report.notes if "no/such/model" in note]
    assert "its jobs are left" in told


BUSY = {
    "429 with Retry-After": submit("status", status=429, retry_after=7, times=3),
    "429 with a date": submit("status", status=429, retry_after=7, date=True, times=3),
    "429 without": submit("status", status=429, times=3),
    "503 with the API's error": submit("status", status=503, code=503001, times=3),
    "503 with Retry-After": submit("status", status=503, body="html", retry_after=2, times=3),
}


@pytest.mark.parametrize("fault", BUSY.values(), ids=BUSY)
async def test_a_busy_api_fails_no_job(service, fault):
    """429 and 503 pause the run and cost nothing; every job is done in the same run."""
    service.fault(fault)
    report = await service.run(jobs=6)
    assert (report.exit_code, report.done) == (0, 6)
    stats = service.emulator.stats
    assert (stats["accepted"], stats["submissions"]) == (6, 9)
    assert not stats["duplicates"]


async def test_retry_after_holds_every_lane(service):
    """After a 429 that asks for 60 s, nothing at all is submitted for 60 s."""
    service.fault(submit("status", status=429, retry_after=60))
    report = await service.run(jobs=8)
    assert report.done == 8
    released = next(record.at for record in service.seen if record.state is State.RELEASED)
    later = [record.at for record in service.seen if record.state is State.SUBMITTED and record.at > released]
    assert len(later) >= 5
    from runner.core.clock import epoch

    in_flight_then = 3  # those of the other lanes had left already
    assert sum(epoch(at) - epoch(released) < 60 for at in later) <= in_flight_then


def created(service) -> list[float]:
    """When the accepted requests were, in seconds after the first."""
    times = sorted(request["created"] for request in service.emulator.requests)
    return [time - times[0] for time in times]


async def test_a_pause_holds_lanes_that_wait_for_their_turn_of_a_rate(service):
    """The second submission is refused for 8 s: those whose turn comes meanwhile wait, and keep the rate afterwards."""
    service.fault(submit("status", status=429, retry_after=8, after=1))
    manifest = service.manifest(*plain(12), rate="2/s", concurrency=12)
    assert (await service.run(manifest)).done == 12
    times = created(service)
    assert times[1] >= 8
    assert all(later - earlier >= 0.499 for earlier, later in pairwise(times))


@pytest.mark.slow
async def test_a_refusal_costs_a_low_rate_its_pause_and_no_more(service):
    """A picture every ten minutes, twelve lanes, one refusal: no lane has put its name down for the next two hours."""
    service.fault(submit("status", status=429, retry_after=30, after=1))
    manifest = service.manifest(*plain(12), rate="6/h", concurrency=12)
    assert (await service.run(manifest)).done == 12
    times = created(service)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= 599
    assert gaps[0] <= 1201
    assert max(gaps[1:]) <= 601


async def test_a_retry_after_of_nothing_is_no_invitation(service):
    """`Retry-After: 0` for a quarter of an hour: it is tried ever more rarely, not as fast as it goes."""
    service.fault(submit("status", status=429, retry_after=0, times=None))
    report = await service.run(jobs=4)
    assert (report.exit_code, report.left) == (69, 4)
    assert service.submissions < 100


async def test_after_a_pause_one_lane_tries_and_then_all_go(make_service):
    """Each of 32 lanes is refused once: it does not take a turn for each until all are at work again."""
    service = await make_service(workers=32, seconds=1.0)
    service.fault(
        submit("status", status=429, retry_after=1, times=32), InjectedFault(on="submit", kind="slow", seconds=1.0)
    )
    jobs = [{"id": f"j{number}", "prompt": f"picture {number}"} for number in range(32)]
    assert (await service.run(service.manifest(*jobs, concurrency=32))).done == 32
    times = created(service)
    assert times[-1] - times[1] < 2


async def test_refusals_that_were_under_way_together_are_one(make_service):
    """Eight lanes are refused at once: that is no reason to wait as after eight refusals in a row."""
    service = await make_service(workers=8, seconds=1.0)
    service.fault(submit("status", status=429, times=8))
    report = await service.run(service.manifest(*plain(8), concurrency=8))
    assert report.done == 8
    assert report.seconds < 6


async def test_an_api_that_accepts_nothing_for_a_quarter_of_an_hour_ends_the_run(service):
    """15 minutes of 503: the run stops buying, exits 69, and nothing was bought or failed."""
    service.fault(submit("status", status=503, code=503001, times=None))
    report = await service.run(jobs=3)
    assert (report.exit_code, report.left, report.failed) == (69, 3, 0)
    assert 60 < report.seconds <= 15 * 60
    assert service.emulator.stats["accepted"] == 0


async def test_a_longer_wait_than_a_quarter_of_an_hour_is_not_waited_for(service):
    """`Retry-After: 3600` ends the run at once with exit 69."""
    service.fault(submit("status", status=429, retry_after=3600))
    report = await service.run(jobs=3)
    assert report.exit_code == 69
    assert report.seconds < 60


async def test_no_connection_is_no_purchase(service):
    """Nobody listens at the API's address: everything is left, nothing is unknown, exit 69."""
    service.emulator.base  # noqa: B018 - the address below is another one
    environ = {**service.environ, "RUNCOMFY_MODEL_API_BASE": "http://127.0.0.1:9/v1"}
    from support.virtual_time import LoopClock

    from runner.engine import operations

    report = await operations.run(service.manifest(*plain(2)), clock=LoopClock(), environ=environ)
    assert (report.exit_code, report.left, report.unknown) == (69, 2, 0)


async def test_a_service_that_only_gives_doubt_is_not_fed_with_more(service):
    """Every submission ends unreadable: the run slows down and stops, instead of spending on all jobs."""
    service.fault(submit("status", status=500, when="after", times=None))
    report = await service.run(service.manifest(*plain(26), *[{"id": f"z{n}", "prompt": f"z {n}"} for n in range(200)]))
    assert report.exit_code == 69
    assert report.unknown < 60
    assert report.unknown + report.left == 226


async def test_what_was_not_sent_when_buying_stopped_is_no_purchase_in_doubt(service):
    """More lanes than submissions may be under way: those that wait have written no intent, and send nothing later."""
    lanes = MAX_SUBMITTING + 20
    service.fault(InjectedFault(on="submit", kind="slow", seconds=5.0))
    stop = Stop()
    asyncio.get_running_loop().call_later(2.0, stop.interrupt, "interrupted by SIGINT")
    jobs = [{"id": f"j{number}", "prompt": f"picture {number}"} for number in range(lanes)]
    report = await service.run(service.manifest(*jobs, concurrency=lanes), stop=stop)
    assert service.submissions == MAX_SUBMITTING
    assert (report.done, report.left, report.unknown) == (MAX_SUBMITTING, 20, 0)
    assert sum(record.state is State.SUBMITTING for record in service.seen) == MAX_SUBMITTING


@pytest.mark.parametrize("way", ["buying stops", "the run is cancelled"])
async def test_an_intent_is_taken_back_where_nothing_was_sent(service, monkeypatch, way):
    """While a slow disk still writes the intent, all may be over: it is no purchase in doubt, but none."""
    stop = Stop()
    flush = disk.flush_data

    def slow(handle: int) -> None:
        monkeypatch.setattr(disk, "flush_data", flush)
        loop.call_soon_threadsafe(over)
        assert happened.wait(60)
        flush(handle)

    def over() -> None:
        if way == "buying stops":
            stop.interrupt("interrupted by SIGINT")
        else:
            task.cancel()
        happened.set()

    loop, happened = asyncio.get_running_loop(), threading.Event()
    manifest = service.manifest(*plain(1))
    task = asyncio.create_task(service.run(manifest, stop=stop))
    monkeypatch.setattr(disk, "flush_data", slow)
    with suppress(asyncio.CancelledError):
        assert (await task).left == 1
    assert service.submissions == 0
    assert service.record("a").state is State.RELEASED
    assert "before it was sent" in service.record("a").error.message
    assert (await service.run(manifest)).done == 1
