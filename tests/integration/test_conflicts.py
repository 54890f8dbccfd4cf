"""Files in the way, names that change hands, refusals on all sides: nothing is lost, and no rerun is stuck for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import anyio
import msgspec
import pytest
from support.harness import plain
from support.virtual_time import LoopClock

import runner
from runner.core.models import EMULATOR, State
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.ledger.records import encode

pytestmark = pytest.mark.anyio


async def test_two_jobs_may_swap_their_file_names(service):
    """`file: x` and `file: y` exchanged in the manifest: both pictures change places, and nothing is bought."""
    await service.run(
        service.manifest({"id": "a", "prompt": "p", "file": "x"}, {"id": "b", "prompt": "q", "file": "y"})
    )
    x, y = (service.output / "x.png").read_bytes(), (service.output / "y.png").read_bytes()
    swapped = service.manifest({"id": "a", "prompt": "p", "file": "y"}, {"id": "b", "prompt": "q", "file": "x"})
    report = await service.run(swapped)
    assert (report.skipped, report.exit_code) == (2, 0)
    assert (service.output / "x.png").read_bytes() == y
    assert (service.output / "y.png").read_bytes() == x
    assert (await service.run(swapped)).skipped == 2
    assert service.submissions == 2


async def test_a_new_job_may_take_the_file_name_of_one_that_is_gone(service):
    """The old job's picture is set aside under its own id; the new one gets the name."""
    await service.run(service.manifest({"id": "a", "prompt": "p", "file": "x"}))
    report = await service.run(service.manifest({"id": "b", "prompt": "q", "file": "x"}))
    assert (report.done, report.exit_code) == (1, 0)
    assert service.files() == [".replaced/a/1/x.png", "x.png"]
    back = await service.run(service.manifest({"id": "a", "prompt": "p", "file": "z"}))
    assert (back.skipped, service.submissions) == (1, 2)


@pytest.mark.parametrize("change", [{"file": "z"}, {"file": "z/deep"}])
async def test_a_foreign_file_where_a_renamed_one_should_go_is_said_first(service, change):
    """A rename onto somebody else's file, or below one, is refused with exit 65, and the record stays done."""
    await service.run(service.manifest({"id": "a", "prompt": "p"}))
    foreign = service.output / ("z.png" if change["file"] == "z" else "z")
    foreign.write_bytes(b"somebody else's")
    with pytest.raises(runner.ConflictError, match="in the way"):
        await service.run(service.manifest({"id": "a", "prompt": "p", **change}))
    assert service.record("a").state is State.DONE
    assert foreign.read_bytes() == b"somebody else's"


async def test_a_picture_where_a_job_needs_a_folder_is_said_before_it_is_bought(service):
    """`hero.png` of a job that is gone, and now `file: hero.png/tote`: 65; it could never be delivered."""
    await service.run(service.manifest({"id": "hero", "prompt": "p"}))
    with pytest.raises(runner.ConflictError, match=r"hero\.png is in the way of job tote and is a file.*a folder"):
        await service.run(service.manifest({"id": "tote", "prompt": "q", "file": "hero.png/tote"}))
    assert service.submissions == 1


async def test_a_conflict_does_not_keep_from_collecting(service):
    """Something is in the way of a new job: exit 65, nothing bought, but what is owed comes home."""
    service.fault(InjectedFault(on="file", kind="status", status=500))
    await service.run(service.manifest(*plain(1), retries=0))
    service.fault()
    (service.output / "b.png").write_bytes(b"somebody else's")
    with pytest.raises(runner.ConflictError):
        await service.run(service.manifest(*plain(2)))
    assert service.record("a").state is State.DONE
    assert service.submissions == 1


async def test_one_path_that_cannot_be_written_costs_no_other_job_its_answer(service):
    """A file where a job needs a folder appears during the run: that job stays owed, all others are done."""
    service.fault(InjectedFault(on="file", kind="slow", seconds=5, match="picture 0"))
    jobs = [{"id": "bad", "prompt": "picture 0", "file": "folder/bad"}, *plain(6)[1:]]

    async def plant() -> None:
        await anyio.sleep(3)
        (service.output / "folder").write_bytes(b"in the way")

    async with anyio.create_task_group() as group:
        group.start_soon(plant)
        report = await service.run(service.manifest(*jobs))
    assert (report.done, report.owed, report.unknown, report.exit_code) == (5, 1, 0, 75)
    assert service.record("bad").error.code == "file_in_the_way"


async def test_a_takeover_that_a_crash_interrupted_goes_on(service):
    """Killed between the lines of a rename: the next run takes over the rest and buys nothing."""
    await service.run(service.manifest({"id": "a", "prompt": "one"}))
    await service.run(service.manifest({"id": "a", "prompt": "two"}))
    results = service.output / "results.jsonl"
    before = results.read_bytes()
    await service.run(service.manifest({"id": "b", "prompt": "two"}))
    taken = next(record for record in service.seen if record.renamed_from == "a")
    assert taken.purchase == 2, "the newest goes first: whatever follows, nothing is bought again"
    (service.output / "b.png").rename(service.output / "a.png")
    results.write_bytes(before + encode(taken))
    report = await service.run(service.manifest({"id": "b", "prompt": "two"}))
    assert (report.skipped, service.submissions) == (1, 2)
    assert [record.purchase for record in service.purchases("b")] == [1, 2]


async def test_a_rename_is_recognised_beside_another_apis_record(service):
    """The new id was tried with the emulator too: at the API it still takes over its old record."""
    renamed = {"id": "b", "prompt": "p"}
    await service.run(service.manifest(renamed))
    tried = [msgspec.structs.replace(record, api=EMULATOR) for record in service.lines()]
    (service.output / "results.jsonl").write_bytes(b"".join(map(encode, tried)))
    await service.run(service.manifest({"id": "a", "prompt": "p"}))
    report = await service.run(service.manifest(renamed))
    assert (report.skipped, service.submissions) == (1, 2)
    assert (await service.run(service.manifest(renamed))).skipped == 1


async def test_results_that_are_all_refused_stop_the_buying(service):
    """Submissions are accepted, every result answers 403: the run stops after a few, exit 77, all stay owed."""
    denied = {"kind": "status", "status": 403, "code": 403001}
    service.fault(InjectedFault(on="result", **denied), InjectedFault(on="status", **denied))
    jobs = [{"id": f"j{n}", "prompt": f"p{n}"} for n in range(40)]
    report = await service.run(service.manifest(*jobs))
    assert report.exit_code == 77
    assert report.owed == service.submissions < 15


async def test_a_changed_token_is_recognised_by_what_is_to_be_delivered_too(service):
    """Links expired and the API answers 404 for all that is owed: said, exit 77, nothing new is bought."""
    service.fault(InjectedFault(on="file", kind="status", status=404))
    await service.run(service.manifest(*plain(6), retries=0))
    before = service.lines()
    gone = {"kind": "status", "status": 404, "code": 404001}
    service.fault(
        InjectedFault(on="file", kind="status", status=404),
        InjectedFault(on="result", **gone),
        InjectedFault(on="status", **gone),
    )
    report = await service.run(service.manifest(*plain(26), concurrency=1))
    assert report.exit_code == 77
    assert service.lines()[: len(before)] == before


async def test_lost_requests_do_not_make_every_later_run_suspect_the_token(service):
    """Five requests known as expired are asked after quietly; new jobs are bought as ever."""
    service.fault(InjectedFault(on="result", kind="forget"))
    await service.run(service.manifest(*plain(3)))
    await service.run(service.manifest(*plain(6)))
    service.fault()
    report = await service.run(service.manifest(*plain(8)))
    assert (report.unknown, report.done, report.exit_code) == (6, 2, 2)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer anything with a body of which one byte comes every five seconds."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(5)


async def test_an_answer_that_drips_in_has_an_end(service):
    """A byte now and then keeps no run waiting: after two minutes the submission is unknown, and the run ends."""
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        environ = {**service.environ, "RUNCOMFY_MODEL_API_BASE": f"http://127.0.0.1:{port}/v1"}
        report = await operations.run(service.manifest(*plain(1)), clock=LoopClock(), environ=environ)
    assert (report.unknown, report.exit_code) == (1, 2)
    assert 120 <= report.seconds < 200


async def test_a_bill_is_counted_in_one_run_only(service):
    """`cost_usd` is this run's: a stuck result that was billed before adds nothing again."""
    service.fault(InjectedFault(on="result", kind="no_output"))
    assert (await service.run()).cost_usd == pytest.approx(0.0045)
    assert (await service.run()).cost_usd == 0
