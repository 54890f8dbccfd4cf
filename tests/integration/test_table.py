"""The table of what can go wrong, and what the runner does about it: one test per cell, over a real socket.

A row is a phase of a job, a failure, and the fault that makes the emulator fail so (``runner emulator --fault``). Two
cells follow: what is done when it happens and passes, and when it lasts for the whole run.

release       nothing was bought: recorded as `released`, every lane pauses, the job is bought in the same run
unavailable   nothing was bought for a quarter of an hour: buying stops, exit 69, nothing is in doubt
repeat        the question (or the download) is repeated in the same run, or put another way: all is done
fail          this job has failed, is not charged and not repeated unchanged; the others are done
owed          it stays paid for and undelivered, exit 75; once the trouble is over the next run brings it home
stuck         it stays owed, waits for the user's word, exit 2; it is asked after, never bought again
hold          it may have been bought: `unknown`, exit 2, never repeated unasked; the others are done
stop model    the jobs of that model are left, those of others are done
stop buying   nothing more is bought, exit 77; the next run buys all
accepted      it has a request_id, so it is collected like any other

"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.harness import Service
from support.sampling import sampled
from support.virtual_time import LoopClock

import runner
from runner.core.models import State
from runner.emulator import InjectedFault, parse_fault
from runner.engine import operations
from runner.engine.summary import Report

pytestmark = pytest.mark.anyio

TABLE = """
phase   | failure                     | fault                                            | it passes   | it lasts
submit  | timeout, nothing bought     | submit hang when=before                          | hold        | -
submit  | timeout, bought             | submit hang when=after                           | hold        | -
submit  | reset, nothing bought       | submit reset when=before                         | hold        | -
submit  | reset, bought               | submit reset when=after                          | hold        | -
submit  | 400 with a code             | submit status status=400 code=400123             | fail        | -
submit  | 400, invalid model          | submit status status=400 code=400001             | stop model  | stop model
submit  | 400, no balance             | submit status status=400 code=400002             | stop buying | stop buying
submit  | 400 with a code of 5xxxxx   | submit status status=400 code=500001             | hold        | -
submit  | 400 as a page               | submit status status=400 body=html               | hold        | -
submit  | 401                         | submit status status=401                         | stop buying | stop buying
submit  | 401 as a page               | submit status status=401 body=html               | stop buying | stop buying
submit  | 402                         | submit status status=402                         | stop buying | stop buying
submit  | 403                         | submit status status=403                         | stop buying | stop buying
submit  | 404                         | submit status status=404                         | stop model  | stop model
submit  | 404 as a page               | submit status status=404 body=html               | hold        | -
submit  | 408                         | submit status status=408                         | hold        | -
submit  | 409                         | submit status status=409                         | fail        | -
submit  | 422 with details            | submit status status=422 body=detail             | fail        | -
submit  | 429                         | submit status status=429                         | release     | unavailable
submit  | 429 with Retry-After        | submit status status=429 retry_after=60          | release     | unavailable
submit  | 429 with a long Retry-After | submit status status=429 retry_after=3600        | unavailable | unavailable
submit  | 429 as a page               | submit status status=429 body=html               | release     | unavailable
submit  | 500                         | submit status status=500 when=before             | hold        | -
submit  | 500, bought                 | submit status status=500 when=after              | hold        | -
submit  | 502 as a page               | submit status status=502 body=html               | hold        | -
submit  | 503, the API's own          | submit status status=503 code=503001             | release     | unavailable
submit  | 503 with Retry-After        | submit status status=503 body=html retry_after=9 | release     | unavailable
submit  | 503 as a page               | submit status status=503 body=html               | hold        | -
submit  | 504                         | submit status status=504 body=empty              | hold        | -
submit  | unreadable                  | submit garbage when=after                        | hold        | -
submit  | half JSON                   | submit half when=after                           | hold        | -
submit  | a redirect                  | submit redirect status=307                       | hold        | -
submit  | 200 with error_code         | submit error200 code=400123                      | fail        | -
submit  | 200, invalid model          | submit error200 code=400001                      | stop model  | -
submit  | 200, no balance             | submit error200 code=400002                      | stop buying | stop buying
submit  | 200, invalid token          | submit error200 code=400004                      | stop buying | stop buying
submit  | 200 with a code of 429xxx   | submit error200 code=429001                      | release     | unavailable
submit  | 200 with a code of 5xxxxx   | submit error200 code=500001                      | hold        | -
submit  | no request_id               | submit no_id                                     | hold        | -
submit  | malformed request_id        | submit bad_id                                    | hold        | -
submit  | an error with a request_id  | submit id_with_error status=500                  | accepted    | accepted
submit  | slow                        | submit slow seconds=60                           | accepted    | accepted
poll    | timeout                     | status hang                                      | repeat      | repeat
poll    | reset                       | status reset                                     | repeat      | repeat
poll    | 400                         | status status status=400 code=400123             | repeat      | repeat
poll    | 401                         | status status status=401                         | repeat      | owed
poll    | 402                         | status status status=402                         | repeat      | repeat
poll    | 403                         | status status status=403                         | repeat      | owed
poll    | 404                         | status status status=404                         | repeat      | repeat
poll    | 408                         | status status status=408                         | repeat      | repeat
poll    | 409                         | status status status=409                         | repeat      | repeat
poll    | 422                         | status status status=422 body=detail             | repeat      | repeat
poll    | 429                         | status status status=429                         | repeat      | repeat
poll    | 429 with Retry-After        | status status status=429 retry_after=3           | repeat      | repeat
poll    | 500                         | status status status=500                         | repeat      | repeat
poll    | 502 as a page               | status status status=502 body=html               | repeat      | repeat
poll    | 503 with Retry-After        | status status status=503 retry_after=3           | repeat      | repeat
poll    | 504                         | status status status=504 body=empty              | repeat      | repeat
poll    | unreadable                  | status garbage                                   | repeat      | repeat
poll    | half JSON                   | status half                                      | repeat      | repeat
poll    | a redirect                  | status redirect                                  | repeat      | repeat
poll    | 200 with error_code         | status error200 code=500001                      | repeat      | repeat
poll    | unknown state               | status state text=warming_up                     | repeat      | owed
poll    | another request's answer    | status other                                     | repeat      | repeat
result  | timeout                     | result hang                                      | repeat      | owed
result  | reset                       | result reset                                     | repeat      | owed
result  | 400                         | result status status=400 code=400123             | repeat      | owed
result  | 401                         | result status status=401                         | repeat      | owed
result  | 402                         | result status status=402                         | repeat      | owed
result  | 403                         | result status status=403                         | repeat      | owed
result  | 404                         | result status status=404                         | repeat      | stuck
result  | 404 for ever after          | result forget                                    | -           | stuck
result  | 408                         | result status status=408                         | repeat      | owed
result  | 409                         | result status status=409                         | repeat      | owed
result  | 422                         | result status status=422 body=detail             | repeat      | owed
result  | 429                         | result status status=429                         | repeat      | owed
result  | 429 with Retry-After        | result status status=429 retry_after=3           | repeat      | owed
result  | 500                         | result status status=500                         | repeat      | owed
result  | 502 as a page               | result status status=502 body=html               | repeat      | owed
result  | 503 with Retry-After        | result status status=503 retry_after=3           | repeat      | owed
result  | 504                         | result status status=504 body=empty              | repeat      | owed
result  | unreadable                  | result garbage                                   | repeat      | owed
result  | half JSON                   | result half                                      | repeat      | owed
result  | a redirect                  | result redirect                                  | repeat      | owed
result  | 200 with error_code         | result error200 code=500001                      | repeat      | owed
result  | unknown state               | result state text=warming_up                     | repeat      | owed
result  | another request's answer    | result other                                     | repeat      | owed
result  | completed without outputs   | result no_output                                 | -           | stuck
result  | the generation failed       | job fail text=invalid_prompt match=picture_0     | -           | fail
deliver | timeout                     | file hang                                        | repeat      | owed
deliver | reset                       | file reset                                       | repeat      | owed
deliver | 400                         | file status status=400                           | repeat      | owed
deliver | 401                         | file status status=401                           | repeat      | owed
deliver | 402                         | file status status=402                           | repeat      | owed
deliver | 403                         | file status status=403                           | repeat      | owed
deliver | 404                         | file status status=404                           | repeat      | owed
deliver | 408                         | file status status=408                           | repeat      | owed
deliver | 409                         | file status status=409                           | repeat      | owed
deliver | 422                         | file status status=422                           | repeat      | owed
deliver | 429                         | file status status=429                           | repeat      | owed
deliver | 429 with Retry-After        | file status status=429 retry_after=3             | repeat      | owed
deliver | 500                         | file status status=500                           | repeat      | owed
deliver | 502                         | file status status=502 body=html                 | repeat      | owed
deliver | 503                         | file status status=503 retry_after=3             | repeat      | owed
deliver | 504                         | file status status=504 body=empty                | repeat      | owed
deliver | a page instead of a picture | file html                                        | repeat      | owed
deliver | an error under 200          | file error200                                    | repeat      | owed
deliver | cut short                   | file truncate                                    | repeat      | owed
deliver | half a picture              | file short                                       | repeat      | owed
deliver | a flipped bit               | file flip                                        | repeat      | owed
deliver | a redirect to elsewhere     | file redirect                                    | -           | owed
"""


LIKE_OTHERS = ("400", "402", "403", "408", "409", "422", "429 with", "500", "502", "504", "half", "reset")
"""Failures that polls and downloads handle as another row of the table: these cells are slow tests."""


def cells() -> Iterator[Any]:
    """One parameter set for each cell of the table."""
    for row in TABLE.strip().splitlines()[1:]:
        phase, failure, fault, passes, lasts = (column.strip() for column in row.split("|"))
        for verdict, lasting in ((passes, False), (lasts, True)):
            if verdict != "-":
                words = f"{phase}: {failure}, {'lasting' if lasting else 'passing'}: {verdict}"
                free = phase != "submit"  # what is about buying is tested each time, whole
                slow = free and (lasting or failure.startswith(LIKE_OTHERS))
                marks = pytest.mark.slow if slow else ()
                yield pytest.param(phase, parse_fault(fault), verdict, lasting, id=words, marks=marks)


def batch(service: Service) -> runner.Manifest:
    """Two jobs of one model and one of another, one after the other, with little patience."""
    jobs = [{"id": name, "prompt": f"picture_{number}"} for number, name in enumerate("ab")]
    other = {"id": "c", "prompt": "picture_2", "model": "emulator/nested/text-to-image"}
    return service.manifest(*jobs, other, concurrency=1, timeout="3m", retries=2)


def limited(phase: str, fault: InjectedFault) -> InjectedFault:
    """A fault that passes: the first submission, or the first two questions about each request."""
    return replace(fault, times=1) if phase == "submit" else replace(fault, each=2)


@pytest.mark.parametrize(("phase", "fault", "verdict", "lasting"), list(cells()))
async def test_cell(make_service: Any, phase: str, fault: InjectedFault, verdict: str, lasting: bool) -> None:
    """What the row says is what happens, to the job, to the money, and to the rest of the run."""
    service = await make_service(
        unfinished_status=409 if phase == "poll" else 200, seconds=5.0 if phase == "poll" else 1.0
    )
    service.fault(fault if lasting else limited(phase, fault))
    report = await service.run(batch(service))
    await VERDICTS[verdict](service, report)
    assert not service.emulator.stats["duplicates"], "something was bought twice"


async def release(service: Service, report: Report) -> None:
    assert (report.exit_code, report.done) == (0, 3)
    assert any(record.state is State.RELEASED for record in service.seen)
    assert len(service.purchases("a")) == 1


async def unavailable(service: Service, report: Report) -> None:
    assert (report.exit_code, report.left, report.unknown, report.failed) == (69, 3, 0, 0)
    assert report.seconds <= 15 * 60
    await once_it_is_over(service)


async def repeat(service: Service, report: Report) -> None:
    assert (report.exit_code, report.done, service.submissions) == (0, 3, 3)


async def fail(service: Service, report: Report) -> None:
    assert (report.exit_code, report.failed, report.done) == (1, 1, 2)
    assert service.record("a").state is State.FAILED
    service.fault()
    assert (await service.run(batch(service))).failed == 1
    assert service.submissions == 3


async def owed(service: Service, report: Report) -> None:
    assert (report.exit_code, report.failed, report.unknown) == (75, 0, 0)
    assert report.owed >= 1
    assert service.record("a").owed
    assert service.record("a").error is not None
    assert service.files() == []
    await once_it_is_over(service)


async def stuck(service: Service, report: Report) -> None:
    assert report.exit_code == 2
    assert service.record("a").stuck
    sold = service.submissions
    service.fault()
    await service.run(batch(service))
    assert len(service.purchases("a")) == 1
    assert service.submissions == sold == 3


async def hold(service: Service, report: Report) -> None:
    assert (report.exit_code, report.unknown, report.done) == (2, 1, 2)
    assert service.record("a").state is State.UNKNOWN
    service.fault()
    assert (await service.run(batch(service))).unknown == 1
    assert service.submissions == 3


async def stop_model(service: Service, report: Report) -> None:
    assert (report.exit_code, report.left, report.failed, report.unknown) == (75, 3 - report.done, 0, 0)
    assert report.left >= 2, "every job of the model is left"
    assert service.record("a").state is State.RELEASED
    await once_it_is_over(service)


async def stop_buying(service: Service, report: Report) -> None:
    assert (report.exit_code, report.left, service.submissions) == (77, 3, 1)
    await once_it_is_over(service)


async def accepted(service: Service, report: Report) -> None:
    assert (report.exit_code, report.done, service.submissions) == (0, 3, 3)


async def once_it_is_over(service: Service) -> None:
    """All is done by the next run, and each job was sold once."""
    service.fault()
    later = await service.run(batch(service))
    assert (later.exit_code, later.done + later.skipped) == (0, 3)
    assert service.emulator.stats["accepted"] == 3


VERDICTS: dict[str, Callable[[Service, Report], Any]] = {
    "release": release,
    "unavailable": unavailable,
    "repeat": repeat,
    "fail": fail,
    "owed": owed,
    "stuck": stuck,
    "hold": hold,
    "stop model": stop_model,
    "stop buying": stop_buying,
    "accepted": accepted,
}


async def test_404_right_after_the_submission_is_asked_again(make_service: Any) -> None:
    """result | 404 right after submission | repeat: an API that is not yet consistent loses nothing."""
    service = await make_service(not_found_seconds=10.0, seconds=5.0)
    await repeat(service, await service.run(batch(service)))


@contextmanager
def deaf() -> Iterator[str]:
    """An address that never completes a connection: its queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@contextmanager
def refusing(_: Service) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def no_tls(service: Service) -> Iterator[str]:
    yield service.emulator.base.replace("http:", "https:")


@contextmanager
def no_name(_: Service) -> Iterator[str]:
    yield "https://no-such-host.invalid/v1"


CONNECT = {
    "DNS": no_name,
    "connection refused": refusing,
    "timeout before sending": lambda _: deaf(),
    "TLS": no_tls,
}


@sampled("address", [pytest.param(CONNECT[name], id=f"connect: {name}: unavailable") for name in CONNECT], quick=1)
async def test_no_connection(service: Service, address: Any) -> None:
    """Nothing has left this machine: released, retried for a quarter of an hour, exit 69, and nothing is in doubt."""
    with address(service) as base:
        environ = {**service.environ, "RUNCOMFY_MODEL_API_BASE": base}
        report = await operations.run(batch(service), clock=LoopClock(), environ=environ)
    assert (report.exit_code, report.left, report.unknown, report.failed) == (69, 3, 0, 0)
    assert service.record("a").state is State.RELEASED
    assert service.submissions == 0


CANCEL = """
failure                   | fault                                   | becomes
timeout, not called off   | cancel hang when=before                 | owed
timeout, called off       | cancel hang when=after                  | called off
reset, not called off     | cancel reset when=before                | owed
reset, called off         | cancel reset when=after                 | called off
400                       | cancel status status=400 code=400123    | owed
401                       | cancel status status=401                | owed
402                       | cancel status status=402                | owed
403                       | cancel status status=403                | owed
404                       | cancel status status=404                | owed
408                       | cancel status status=408                | owed
409                       | cancel status status=409                | owed
422                       | cancel status status=422 body=detail    | owed
429 with Retry-After      | cancel status status=429 retry_after=3  | owed
500                       | cancel status status=500 when=before    | owed
500, called off           | cancel status status=500 when=after     | called off
502 as a page             | cancel status status=502 body=html      | owed
503                       | cancel status status=503                | owed
504                       | cancel status status=504 body=empty     | owed
unreadable, called off    | cancel garbage when=after               | called off
half JSON, called off     | cancel half when=after                  | called off
200 with error_code       | cancel error200 code=500001             | owed
"""


QUICK = ("timeout, not called off", "409", "unreadable, called off")
"""The rows of each kind that are tested each time; the others are slow."""


def cancels() -> Iterator[Any]:
    """One parameter set for each row of `CANCEL`."""
    for row in CANCEL.strip().splitlines()[1:]:
        failure, fault, becomes = (column.strip() for column in row.split("|"))
        marks = () if failure in QUICK else pytest.mark.slow
        yield pytest.param(parse_fault(fault), becomes, id=f"cancel: {failure}", marks=marks)


@pytest.mark.parametrize(("fault", "becomes"), list(cancels()))
async def test_cancelling_believes_only_the_state_asked_for_afterwards(
    make_service: Any, fault: InjectedFault, becomes: str
) -> None:
    """Whatever a cancel answers: called off is what the API then says is cancelled; all else is owed and collected."""
    service = await make_service(workers=1, seconds=1000.0)
    jobs = [{"id": name, "prompt": name} for name in "ab"]
    await service.run(service.manifest(*jobs, concurrency=2, timeout="5s"))  # one is served, the other waits
    service.fault(fault)
    await operations.cancel(operations.Folder(service.output), clock=LoopClock(), environ=service.environ)
    states = sorted(str(service.record(name).state) for name in "ab")
    assert states == (["cancelled", "submitted"] if becomes == "called off" else ["submitted", "submitted"])
    service.fault()
    report = await service.run(service.manifest(*jobs, timeout="2h"))
    assert (report.exit_code, report.done) == (0, 2)
    assert service.emulator.stats["accepted"] == (3 if becomes == "called off" else 2)
