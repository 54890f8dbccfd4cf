"""What stops the buying: a reason, an interruption with its grace period, and paid results that wait."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from anyio import CancelScope, Event, create_task_group, sleep
from support.made_records import record
from support.virtual_time import VirtualLoop

from runner.core.clock import timestamp
from runner.core.models import Fault, Record, State
from runner.engine.stop import GRACE_SECONDS, Stop, most_waiting, too_much_waits

NOW = 1_800_000_000.0
FRESH, DAY_OLD = timestamp(NOW - 60), timestamp(NOW - 24 * 3600 - 1)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


def owed(job: int = 0, *, at: str = FRESH, **more: Any) -> Record:
    return msgspec.structs.replace(record(job, State.GENERATED, **{"submitted_at": FRESH, **more}), at=at)


def why(*records: Record, most: int = 2) -> str:
    return too_much_waits(records, most=most, now=NOW)


def test_as_many_as_are_allowed_may_wait():
    """One more is fetched first."""
    assert why(owed(0), owed(1)) == ""
    assert why(owed(0), owed(1), owed(2)).startswith("3 paid results of earlier runs wait")


def test_what_waits_for_the_users_word_holds_up_nobody():
    """Stuck, or passed over by `--rebuy`: it is not going to be home soon."""
    stuck = Fault(code="expired", message="not known any more")
    waiting = [owed(0, submitted_at=DAY_OLD, error=stuck), owed(1, submitted_at=DAY_OLD, rebuy=True)]
    assert why(*waiting, owed(2), owed(3)) == ""


@pytest.mark.parametrize("error", [None, Fault(code="download", message="HTTP 500")])
def test_a_paid_result_that_waits_for_a_day_is_fetched_first(error: Fault | None):
    """The day counts from its submission: each failed download writes a line of its own. The way out is named then."""
    told = why(owed(0), owed(1, submitted_at=DAY_OLD, at=FRESH, error=error))
    assert "waited for more than a day" in told
    assert ("--accept job-1" in told) is (error is not None)
    assert why(owed(submitted_at=timestamp(NOW - 24 * 3600))) == ""


def test_a_record_without_the_time_of_its_submission_counts_from_its_own():
    """An adopted purchase, or a log of an earlier version."""
    assert "more than a day" in why(owed(submitted_at=None, at=DAY_OLD))
    assert why(owed(submitted_at=None, at=FRESH)) == ""


def test_a_time_that_nobody_can_read_stops_nobody():
    """A log may come from anywhere."""
    assert why(owed(submitted_at="yesterday"), owed(submitted_at=None, at="now")) == ""


def test_more_may_wait_where_more_is_in_flight():
    """Four times the slots, and never fewer than a hundred; `auto` begins with few."""
    assert [most_waiting(slots) for slots in (1, 25, 26, None)] == [100, 100, 104, 100]


def test_of_several_reasons_the_most_serious_is_told():
    """A refused token is what helps; a used-up budget beside it is not. Of equal ones the first is kept."""
    stop = Stop()
    for reason, code in (("the budget is used up", 75), ("the token is refused", 77), ("the balance is used up", 77)):
        stop.buying(reason, code)
    assert stop.why is not None
    assert (stop.why.reason, stop.why.exit_code, stop.interrupted.is_set()) == ("the token is refused", 77, False)


def test_a_run_that_ended_early_ends_with_75():
    """Which says that running the same again goes on."""
    bought_no_more, interrupted = Stop(), Stop()
    bought_no_more.buying("the budget is used up")
    interrupted.interrupt("Ctrl-C")
    assert [stop.why and stop.why.exit_code for stop in (bought_no_more, interrupted)] == [75, 75]
    assert (bought_no_more.interrupted.is_set(), interrupted.interrupted.is_set()) == (False, True)


@pytest.mark.anyio
@pytest.mark.parametrize("extra", [0.0, 5.0])
async def test_what_is_in_flight_has_a_grace_period_from_the_interruption_on(extra: float):
    """Buying that stopped before does not begin it; whoever coordinates others waits longer than they do."""
    stop, loop = Stop(), asyncio.get_running_loop()
    stop.buying("the budget is used up")
    began = loop.time()
    with CancelScope() as scope:
        async with create_task_group() as group:
            group.start_soon(stop.end_grace, scope, extra)
            await sleep(100)
            stop.interrupt("Ctrl-C")
            await sleep(1000)
    assert loop.time() - began == pytest.approx(100 + GRACE_SECONDS + extra)


@pytest.mark.anyio
async def test_whoever_waits_goes_on_when_buying_stops():
    """No pause that the API asked for, and no place in the budget's queue, holds up the end of a run."""
    stop, loop = Stop(), asyncio.get_running_loop()
    began = loop.time()
    assert not await stop.wait(1.0)
    async with create_task_group() as group:
        group.start_soon(stop.wait, 1000.0)
        group.start_soon(stop.wait_for, Event())
        await sleep(1)
        stop.buying("the budget is used up")
    assert await stop.wait(1000.0)
    assert loop.time() - began == pytest.approx(2.0)


@pytest.mark.anyio
async def test_what_is_waited_for_ends_the_wait_though_buying_goes_on():
    """The next bill, say."""
    stop, event, loop = Stop(), Event(), asyncio.get_running_loop()
    began = loop.time()
    async with create_task_group() as group:
        group.start_soon(stop.wait_for, event)
        await sleep(1)
        event.set()
    assert (stop.stopped, loop.time() - began) == (False, pytest.approx(1.0))
