"""A server that takes a call and never answers: every wait ends, with the right state, in bounded time."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from support.harness import plain
from support.sampling import sampled
from support.virtual_time import LoopClock

from runner.core.models import State
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.engine.stop import Stop

pytestmark = pytest.mark.anyio

FOR_EVER = 10_000_000.0
HOUR = 3600.0


def hang(on: str, **parameters: Any) -> InjectedFault:
    return InjectedFault(on=on, kind="hang", seconds=FOR_EVER, **parameters)


@sampled(
    ("operation", "counts", "exit_code"),
    [
        ("submit", {"unknown": 3}, 2),
        ("result", {"owed": 3}, 75),
        ("file", {"owed": 3}, 75),
        ("status", {"done": 3}, 0),
        ("model", {"done": 3}, 0),
    ],
    quick=2,
)
async def test_an_operation_that_hangs_for_ever_ends(service, operation, counts, exit_code):
    """Whatever never answers, the run ends within the hour, nothing is lost, and the next one buys nothing twice."""
    service.fault(hang(operation))
    report = await service.run(jobs=3)
    assert {name: getattr(report, name) for name in counts} == counts
    assert report.exit_code == exit_code
    assert report.seconds < HOUR
    sold = service.emulator.stats["accepted"]
    service.fault()
    later = await service.run(jobs=3)
    assert later.exit_code == (2 if operation == "submit" else 0)
    assert service.emulator.stats["accepted"] == sold


async def test_a_catalogue_that_hangs_buys_nothing_on_a_budget(service):
    """Without a price a budget cannot be held: exit 69 after the patience of one question, nothing submitted."""
    service.fault(hang("model"))
    report = await service.run(service.manifest(*plain(2), budget=1))
    assert (report.exit_code, report.left, service.submissions) == (69, 2, 0)
    assert report.seconds < 120


async def test_a_server_that_accepts_connections_and_says_nothing(service):
    """No call is ever answered: a few purchases are in doubt, then buying stops, and the run ends within the hour."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        environ = {**service.environ, "RUNCOMFY_MODEL_API_BASE": f"http://127.0.0.1:{silent.getsockname()[1]}/v1"}
        manifest = service.manifest(*[{"id": f"j{n}", "prompt": f"p {n}"} for n in range(50)])
        report = await operations.run(manifest, clock=LoopClock(), environ=environ)
    assert report.exit_code == 69
    assert report.unknown < 40
    assert report.unknown + report.left == 50
    assert report.seconds < HOUR


@pytest.mark.parametrize(
    ("operation", "state"),
    [("submit", State.UNKNOWN), ("result", State.SUBMITTED), ("file", State.GENERATED)],
)
async def test_an_interruption_waits_for_a_hung_server_no_longer_than_its_grace(service, operation, state):
    """The first signal while nothing answers: the run ends within the grace period, each purchase where it stands."""
    service.fault(hang(operation))
    stop = Stop()
    asyncio.get_running_loop().call_later(5.0, stop.interrupt, "interrupted by SIGTERM")
    report = await service.run(jobs=2, stop=stop)
    assert report.exit_code == 75 or operation == "submit"
    assert report.seconds <= 5 + 20 + 10
    assert {service.record(name).state for name in "ab"} == {state}


async def test_an_hour_that_comes_while_the_server_hangs_stops_the_buying(service):
    """`--until` needs no answer from anybody."""
    service.fault(hang("result"))
    until = LoopClock().now() + 30
    report = await service.run(service.manifest(*plain(6), concurrency=1, timeout="2m"), until=until)
    assert (report.exit_code, report.owed, report.left) == (75, 1, 5)
    assert service.submissions == 1
