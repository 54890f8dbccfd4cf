"""Calling off what is owed: recorded is only what the API says afterwards, and nothing that is paid is lost."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from support.harness import Service, plain
from support.virtual_time import LoopClock

from runner.cli.commands.cancel import _show
from runner.core.models import State
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.engine.maintenance.cancel import CONCURRENCY, CancelResult
from runner.engine.stop import GRACE_SECONDS, Stop

pytestmark = pytest.mark.anyio


async def cancel(service: Service, stop: Stop | None = None) -> CancelResult:
    return await operations.cancel(
        operations.Folder(service.output),
        observer=service.seen.append,
        stop=stop,
        clock=LoopClock(),
        environ=service.environ,
    )


async def owing(service: Service, jobs: int = 3) -> None:
    """So many requests, of which two are being served and the others wait."""
    manifest = service.manifest(*plain(jobs), concurrency=jobs, timeout="2s")
    assert (await service.run(manifest)).owed == jobs


@pytest.fixture
async def slow(make_service) -> Service:
    return await make_service(seconds=1000.0, workers=2)


async def test_what_waits_is_cancelled_and_what_is_served_stays_owed(slow):
    """Queued requests are cancelled and cost nothing; those in progress are collected later, without buying."""
    await owing(slow, 5)
    assert await cancel(slow) == CancelResult(cancelled=3, owed=2)
    states = sorted(slow.record(job).state.value for job in "abcde")
    assert states == ["cancelled"] * 3 + ["submitted"] * 2
    again = await slow.run(slow.manifest(*plain(5), concurrency=5, timeout="10h"))
    assert (again.done, slow.submissions) == (5, 8)
    assert again.spent_usd == pytest.approx(5 * 0.0045)


async def test_what_finished_meanwhile_is_recorded_as_such(make_service):
    """A request found completed is brought home by the next run; one found failed is failed."""
    service = await make_service(seconds=10.0)
    service.fault(InjectedFault(on="job", kind="fail", match="picture 1"))
    await service.run(service.manifest(*plain(2), timeout="2s"))
    await anyio.sleep(30)
    assert await cancel(service) == CancelResult(failed=1, owed=1)
    assert [service.record(job).state for job in "ab"] == [State.GENERATED, State.FAILED]
    assert (await service.run(service.manifest(plain(2)[0]))).done == 1
    assert service.submissions == 2


TROUBLE = {
    "the cancel is cut": InjectedFault(on="cancel", kind="reset", when="before"),
    "the cancel is 500": InjectedFault(on="cancel", kind="status", status=500),
    "the cancel is 404": InjectedFault(on="cancel", kind="status", status=404, code=404001),
    "the cancel is refused": InjectedFault(on="cancel", kind="status", status=409),
    "a page": InjectedFault(on="cancel", kind="garbage"),
    "an error under 200": InjectedFault(on="cancel", kind="error200", code=500001),
}


@pytest.mark.parametrize("fault", TROUBLE.values(), ids=TROUBLE)
async def test_trouble_while_cancelling_leaves_it_owed(slow, fault):
    """No answer to a cancel is taken for one: the purchase stays owed."""
    await owing(slow)
    slow.fault(fault)
    result = await cancel(slow)
    assert (result.cancelled, result.owed, result.exit_code) == (0, 3, 75)
    assert {slow.record(job).state for job in "abc"} == {State.SUBMITTED}


@pytest.mark.parametrize("kind", ["reset", "status", "garbage"])
async def test_a_state_that_cannot_be_read_leaves_it_owed(slow, kind):
    """`cancelled` is recorded only if the API says so after the cancel; what cannot be asked stays owed."""
    await owing(slow)
    slow.fault(*(InjectedFault(on=on, kind=kind) for on in ("result", "status")))
    assert (await cancel(slow)).owed == 3
    slow.fault()
    assert (await cancel(slow)).cancelled == 1


async def test_a_cancel_whose_answer_was_lost_counts_if_the_state_says_so(slow):
    """The answer never came, and the request is cancelled all the same: that is what is recorded."""
    await owing(slow)
    slow.fault(InjectedFault(on="cancel", kind="reset", when="after"))
    assert (await cancel(slow)).cancelled == 1


@pytest.mark.parametrize("status", [200, 404])
async def test_a_service_that_answers_4xx_for_the_unfinished(make_service, status):
    """The state is asked of /status where /result does not tell it."""
    service = await make_service(seconds=1000.0, workers=1, unfinished_status=status)
    await owing(service)
    assert await cancel(service) == CancelResult(cancelled=2, owed=1)


async def test_nothing_owed_is_nothing_to_do(service):
    """Exit 0, and nothing is asked."""
    await service.run()
    result = await cancel(service)
    assert (result, result.exit_code) == (CancelResult(), 0)
    assert service.emulator.stats["calls"]["cancel"] == 0


async def test_stuck_ones_are_told_apart(service):
    """What the API does not know any more cannot be cancelled: it waits for the user's word, exit 2."""
    service.fault(InjectedFault(on="result", kind="forget", each=1))
    await service.run()
    result = await cancel(service)
    assert (result.stuck, result.owed, result.exit_code) == (1, 0, 2)


@pytest.mark.slow
@pytest.mark.parametrize("on", ["cancel", "result"])
async def test_an_interruption_waits_for_a_hung_api_no_longer_than_its_grace(slow, on):
    """Who was asked and did not answer is told apart and stays owed; who was not yet is not asked any more."""
    await owing(slow, 20)
    slow.fault(InjectedFault(on=on, kind="hang", seconds=10_000_000.0))
    stop, clock = Stop(), LoopClock()
    begun = clock.now()
    asyncio.get_running_loop().call_later(5.0, stop.interrupt, "interrupted by SIGINT")
    result = await cancel(slow, stop)
    assert clock.now() - begun <= 5 + GRACE_SECONDS + 1
    assert (result.cancelled, result.owed, result.unanswered, result.exit_code) == (0, 20, CONCURRENCY, 75)
    slow.fault()
    again = await cancel(slow)
    assert (again.cancelled, again.owed, again.unanswered) == (18, 2, 0)
    assert slow.submissions == 20


async def test_what_is_answered_within_the_grace_is_recorded_and_counted(slow):
    """An API that answers slowly is heard out after a signal; what it agreed to is not asked again."""
    await owing(slow, 5)
    slow.fault(InjectedFault(on="cancel", kind="slow", seconds=10.0))
    stop = Stop()
    asyncio.get_running_loop().call_later(5.0, stop.interrupt, "interrupted by SIGINT")
    assert await cancel(slow, stop) == CancelResult(cancelled=3, owed=2)
    assert [slow.record(job).state for job in "abcde"].count(State.CANCELLED) == 3


def test_who_did_not_answer_is_said_apart(capsys):
    """Whoever interrupts reads how many may be cancelled without a word of it, and how to find out."""
    _show(CancelResult(owed=20, unanswered=16), "output/spring")
    said = capsys.readouterr().out
    assert "no answer before the end: 16, which may be cancelled or not" in said
    assert "run `runner cancel output/spring` again" in said
