"""Finding out how a request ended, whatever the API answers meanwhile."""

from __future__ import annotations

import pytest
from support.harness import plain
from support.sampling import sampled

from runner.core.models import State
from runner.emulator import InjectedFault

pytestmark = pytest.mark.anyio


def ask(kind: str, on: str = "result", **parameters: object) -> InjectedFault:
    return InjectedFault(on=on, kind=kind, **parameters)


PASSING = {
    "500": ask("status", status=500, each=2),
    "502 page": ask("status", status=502, body="html", each=3),
    "429": ask("status", status=429, retry_after=3, each=2),
    "408": ask("status", status=408, each=1),
    "an error under 200": ask("error200", code=500001, each=2),
    "half an answer": ask("half", each=2),
    "a page under 200": ask("garbage", each=2),
    "no answer": ask("hang", each=1),
    "cut": ask("reset", each=3),
    "another request's answer": ask("other", each=2),
    "a state never seen": ask("state", text="warming_up", each=3),
    "one 401": ask("status", status=401, code=400004, each=1),
    "one 403": ask("status", status=403, code=403001, each=1),
    "a redirect": ask("redirect", status=302, location="http://127.0.0.1:9/", each=1),
}


@sampled("fault", [pytest.param(fault, id=name) for name, fault in PASSING.items()], quick=5)
async def test_trouble_while_asking_never_costs_a_result(service, fault):
    """Errors while a request is asked after are repeated until it is known how it ended."""
    service.fault(fault)
    report = await service.run(jobs=3)
    assert (report.exit_code, report.done) == (0, 3)
    assert service.submissions == 3


@sampled("status", [400, 404, 409, 422, 425], quick=2)
async def test_a_4xx_for_an_unfinished_result_is_no_end(make_service, status):
    """A service whose /result answers 4xx while a request is unfinished is asked for its /status instead."""
    service = await make_service(unfinished_status=status, seconds=60.0)
    report = await service.run(jobs=2)
    assert (report.exit_code, report.done) == (0, 2)
    assert service.emulator.stats["calls"]["status"] > 0


ONE_WORD = {"done_word": "succeeded", "result_word": "completed"}
"""Other words than the documentation's."""


@pytest.mark.parametrize("mode", [{"queue_position": False}, ONE_WORD, {"not_found_seconds": 5.0}])
async def test_modes_of_a_real_service_change_nothing(make_service, mode):
    """No queue_position, another word for completed, 404 right after the submission: all is done."""
    service = await make_service(**mode)
    assert (await service.run(jobs=3)).done == 3
    assert service.submissions == 3


async def test_a_place_in_the_queue_is_told_when_it_changes(make_service, caplog):
    """`--verbose` says where a waiting request stands: each place once, however often it is asked after."""
    caplog.set_level("INFO", logger="runner.engine.steps.poll")
    service = await make_service(workers=1, seconds=300.0, spread=0.0)
    assert (await service.run(service.manifest(*plain(3), timeout="1h"))).done == 3
    told = [line for line in caplog.messages if line.startswith("c:")]
    assert told == [f"c: position {place} in the queue" for place in (1, 0)]
    assert service.emulator.stats["calls"]["result"] > 2 * len(caplog.messages)


async def test_a_request_that_does_not_end_in_time_stays_owed(make_service):
    """`timeout` is no loss: the purchase stays owed, exit 75, and a later run collects it without buying."""
    service = await make_service(seconds=300.0)
    manifest = service.manifest(*plain(1), timeout="60s")
    report = await service.run(manifest)
    assert (report.exit_code, report.owed) == (75, 1)
    assert service.record().state is State.SUBMITTED
    assert service.record().error.code == "timeout"
    later = await service.run(service.manifest(*plain(1), timeout="10m"))
    assert (later.exit_code, later.done) == (0, 1)
    assert service.submissions == 1


async def test_a_slot_whose_request_did_not_end_is_not_bought_on_again(make_service):
    """With two lanes and requests that never end, a run buys two and leaves the rest."""
    service = await make_service(seconds=100_000.0)
    report = await service.run(service.manifest(*plain(6), concurrency=2, timeout="30s"))
    assert (report.exit_code, report.owed, report.left) == (75, 2, 4)
    assert service.submissions == 2


async def test_a_request_that_the_api_forgets_is_stuck_not_bought_again(service):
    """404 for good: owed as `expired`, counted with the unknown, exit 2, and asked after again in every run."""
    service.fault(ask("forget", each=1))
    report = await service.run()
    assert (report.exit_code, report.unknown) == (2, 1)
    assert (service.record().state, service.record().error.code) == (State.SUBMITTED, "expired")
    before = service.emulator.stats["calls"]["result"]
    assert (await service.run()).unknown == 1
    assert service.emulator.stats["calls"]["result"] > before
    assert service.submissions == 1


async def test_completed_without_outputs_is_stuck(service):
    """`completed` and nothing to fetch: owed as `no_output`, exit 2; if outputs appear later, the next run delivers."""
    service.fault(ask("no_output"))
    report = await service.run()
    assert (report.exit_code, report.unknown, service.record().error.code) == (2, 1, "no_output")
    service.fault()
    assert (await service.run()).done == 1
    assert service.submissions == 1


async def test_a_failed_request_is_bought_again_by_later_runs_at_most_three_times(service):
    """A generation that fails is tried by three runs, and then no more."""
    service.fault(InjectedFault(on="job", kind="fail"))
    for submissions in (1, 2, 3, 3):
        report = await service.run()
        assert (report.exit_code, report.failed) == (1, 1)
        assert service.submissions == submissions
    assert [record.state for record in service.purchases("a")] == ["failed"] * 3


async def test_a_cancelled_request_is_bought_again(service):
    """A request that was cancelled at the API is recorded so, and the next run buys it anew."""
    service.fault(InjectedFault(on="job", kind="cancel", times=1, text="canceled"))
    assert (await service.run()).cancelled == 1
    assert service.record().state is State.CANCELLED
    assert (await service.run()).done == 1


async def test_failed_but_charged_is_counted(make_service):
    """The bill of a failed request counts."""
    service = await make_service(charge_failed=True)
    service.fault(InjectedFault(on="job", kind="fail"))
    report = await service.run()
    assert report.cost_usd == report.spent_usd == pytest.approx(0.0045)


@pytest.mark.parametrize(("cost", "billed"), [("missing", None), ("megapixels", 0.0135)])
async def test_costs_are_those_that_the_api_bills(make_service, cost, billed):
    """A bill by the megapixel is recorded as billed; without one the reserve counts."""
    service = await make_service(cost=cost)
    report = await service.run(service.manifest({"id": "a", "prompt": "x", "size": "2048x1024"}))
    assert service.record().cost_usd == billed
    assert report.spent_usd == pytest.approx(0.0135)


async def test_a_changed_token_is_not_taken_for_lost_requests(make_service):
    """Most of what is owed answers 401: said, exit 77, no state changes, and the right token brings all home."""
    service = await make_service(seconds=1000.0)
    manifest = service.manifest(*plain(8), concurrency=8, timeout="5s")
    assert (await service.run(manifest)).owed == 8
    before = service.lines()
    service.fault(ask("status", status=403, code=403001), ask("status", on="status", status=403, code=403001))
    report = await service.run(manifest)
    assert report.exit_code == 77
    assert service.lines() == before
    service.fault()
    assert (await service.run(service.manifest(*plain(8), timeout="1h"))).done == 8
    assert service.submissions == 8


@sampled("code", ["lost", "timeout", "expired", "disk"], quick=2)
async def test_a_word_of_the_apis_is_not_taken_for_one_of_ours(service, code):
    """Its failures may bear a code that means something here: no job is bought for ever, and no lane is given up."""
    service.fault(InjectedFault(on="job", kind="fail", text=code, times=2, each=1))
    manifest = service.manifest(*plain(6), concurrency=1)
    report = await service.run(manifest)
    assert (report.done, report.failed) == (4, 2)
    assert service.record("a").error.code == f"api_{code}"
    for _ in range(4):
        await service.run(manifest)
    assert service.emulator.stats["submissions"] <= 8
