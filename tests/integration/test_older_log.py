"""An older copy of the results log is put back: what it lacks was bought, and is not bought again unasked."""

from __future__ import annotations

from typing import Any

import pytest
from support.harness import Service, plain
from support.sampling import sampled

import runner
from runner.core.models import State
from runner.core.shards import Shard
from runner.engine.config import RunConfig
from runner.engine.forecast import make_forecast
from runner.ledger import merge_shards
from runner.ledger.records import encode
from runner.ledger.repair import repair

pytestmark = pytest.mark.anyio


def plan(service: Service, manifest: runner.Manifest) -> Any:
    config = RunConfig.resolve(manifest, runner.RunOptions(), service.environ)
    return make_forecast(config, manifest.jobs, now=0.0, visit=lambda *_: None)


async def older(service: Service) -> tuple[bytes, bytes]:
    """Buy two jobs, then five; the log as it was after each."""
    path = service.output / "results.jsonl"
    await service.run(service.manifest(*plain(2)))
    before = path.read_bytes()
    await service.run(service.manifest(*plain(5)))
    return before, path.read_bytes()


async def test_an_older_log_buys_nothing_and_holds_what_it_lacks(service: Service) -> None:
    """65: says so and what to put back; jobs whose pictures are there wait for `reconcile`, every time."""
    before, _ = await older(service)
    path = service.output / "results.jsonl"
    path.write_bytes(before)
    manifest = service.manifest(*plain(7))
    with pytest.raises(runner.ConflictError, match=r"results\.jsonl is older than the last run left it"):
        plan(service, manifest)
    for _ in range(2):
        with pytest.raises(runner.ConflictError) as told:
            await service.run(manifest)
        assert f"{path} is older than the last run left it" in str(told.value)
        assert "Restore its newest copy" in str(told.value)
    assert service.submissions == 5
    opened = await service.reconcile()
    assert sorted(record.id for record in opened.unknown) == ["c", "d", "e"]
    assert service.record("c").inputs["prompt"] == "picture 2"
    assert service.files() == ["a.png", "b.png", "c.png", "d.png", "e.png"]


async def test_the_newest_copy_put_back_goes_on_as_if_nothing_had_been(service: Service) -> None:
    """The log that the last run left: all is known again, and the rest is bought."""
    before, newest = await older(service)
    path = service.output / "results.jsonl"
    path.write_bytes(before)
    with pytest.raises(runner.ConflictError):
        await service.run(service.manifest(*plain(7)))
    path.write_bytes(newest)
    report = await service.run(service.manifest(*plain(7)))
    assert (report.skipped, report.done, service.submissions) == (5, 2, 7)


async def test_without_a_newer_copy_the_user_decides_and_the_run_goes_on(service: Service) -> None:
    """`verify --repair-log` goes on with the older one: only what `reconcile` gives up is bought again."""
    before, _ = await older(service)
    path = service.output / "results.jsonl"
    path.write_bytes(before)
    with pytest.raises(runner.ConflictError):
        await service.run(service.manifest(*plain(6)))
    repair(path, at="2027-01-01T00:00:00.000Z", api=service.emulator.base)
    report = await service.run(service.manifest(*plain(6)))
    assert (report.skipped, report.done, report.unknown, report.exit_code) == (2, 1, 3, 2)
    await service.reconcile("lost c")
    (service.output / "c.png").unlink()
    report = await service.run(service.manifest(*plain(6)))
    assert (report.done, report.unknown, service.submissions) == (1, 2, 7)


async def test_an_older_log_that_lacks_no_purchase_stops_nobody(service: Service) -> None:
    """It only says less of what became of them: that is asked anew, free, and the run says that the log is older."""
    path = service.output / "results.jsonl"
    await service.run(service.manifest(*plain(2)))
    lines = [encode(record) for record in service.seen if record.state is State.SUBMITTED]
    path.write_bytes(b"".join(lines))
    report = await service.run(service.manifest(*plain(2)))
    assert (report.done, report.exit_code, service.submissions) == (2, 0, 2)
    assert "older than the last run left it" in "".join(report.notes)
    renamed = service.manifest(*[{**job, "id": f"{job['id']}2"} for job in plain(2)])
    assert (await service.run(renamed)).skipped == 2


@pytest.mark.parametrize("empty", [False, True])
async def test_a_log_that_is_gone_is_missed(service: Service, *, empty: bool) -> None:
    """Deleted, or emptied: the pictures of all jobs are there, and none is bought again."""
    await service.run(service.manifest(*plain(3)))
    path = service.output / "results.jsonl"
    if empty:
        path.write_bytes(b"")
    else:
        path.unlink()
    with pytest.raises(runner.ConflictError, match="is older than the last run left it, or was emptied"):
        plan(service, service.manifest(*plain(3)))
    with pytest.raises(runner.ConflictError, match="3 jobs whose pictures are in the folder"):
        await service.run(service.manifest(*plain(3)))
    assert service.submissions == 3


async def test_a_last_line_of_an_earlier_time_hides_no_older_copy(service: Service) -> None:
    """A renamed job's line keeps its time, and may be the last: the latest time of any line counts."""
    before, _ = await older(service)
    await service.run(service.manifest({"id": "first", "prompt": "picture 0"}, *plain(5)[1:]))
    (service.output / "results.jsonl").write_bytes(before)
    with pytest.raises(runner.ConflictError, match="older"):
        await service.run(service.manifest(*plain(5)))
    assert service.submissions == 5


async def test_an_older_copy_of_a_compacted_log_is_recognised(service: Service) -> None:
    """Rewriting the log keeps its last line."""
    path = service.output / "results.jsonl"
    await service.run(service.manifest(*plain(1)))
    before = path.read_bytes()
    assert (await service.run(service.manifest(*plain(3)))).done == 2
    assert len(path.read_bytes().splitlines()) == 3, "it was compacted"
    assert (await service.run(service.manifest(*plain(3)))).skipped == 3
    path.write_bytes(before)
    with pytest.raises(runner.ConflictError, match="older"):
        await service.run(service.manifest(*plain(3)))
    assert service.submissions == 3


async def test_what_a_crash_or_another_machine_appended_is_no_older_copy(service: Service) -> None:
    """The note is one run old: the log has gone on since, in place or elsewhere, and was even compacted."""
    note = service.output / ".runner/results.jsonl.last"
    await service.run(service.manifest({"id": "a", "prompt": "p"}))
    noted = note.read_bytes()
    await service.run(service.manifest({"id": "a", "prompt": "q"}))
    note.write_bytes(noted)
    lines = (service.output / "results.jsonl").read_bytes().splitlines(keepends=True)
    (service.output / "results.jsonl").write_bytes(lines[-1])
    report = await service.run(service.manifest({"id": "a", "prompt": "q"}))
    assert (report.skipped, report.exit_code) == (1, 0)
    assert "older" not in "".join(report.notes)


@sampled("note", [b"", b"{", b"[]", None], quick=2)
async def test_without_a_note_nothing_is_concluded(service: Service, note: bytes | None) -> None:
    """Results that were copied elsewhere without `.runner/`, or a note that cannot be read."""
    before, _ = await older(service)
    (service.output / "results.jsonl").write_bytes(before)
    path = service.output / ".runner/results.jsonl.last"
    if note is None:
        path.unlink()
    else:
        path.write_bytes(note)
    assert plan(service, service.manifest(*plain(2))).counts == {"reuse": 2}
    assert (await service.run(service.manifest(*plain(2)))).skipped == 2


async def test_shards_recognise_it_and_a_split_and_a_merge_are_no_older_copies(service: Service) -> None:
    """Each log has a note of its own; what is written anew begins a new one."""
    manifest = service.manifest(*plain(9))
    await service.run(service.manifest(*plain(4)))
    shards = [Shard(index=index, of=2) for index in (1, 2)]
    reports = [await service.run(manifest, shard=shard) for shard in shards]
    assert sum(report.done for report in reports) == 5
    logs = [service.output / f"results.{shard.name}.jsonl" for shard in shards]
    first = [log.read_bytes().splitlines(keepends=True)[0] for log in logs]
    newest = logs[0].read_bytes()
    logs[0].write_bytes(first[0])
    with pytest.raises(runner.ConflictError, match=r"results\.1-of-2\.jsonl is older"):
        await service.run(manifest, shard=shards[0])
    with pytest.raises(runner.ConflictError, match=r"results\.1-of-2\.jsonl is older.*Nothing was changed"):
        merge_shards(service.output, "now")
    logs[0].write_bytes(newest)
    for _ in range(2):
        merge_shards(service.output, "now")
        assert (await service.run(manifest)).skipped == 9
        for shard in shards:
            assert (await service.run(manifest, shard=shard)).exit_code == 0
    assert service.submissions == 9
    assert {record.state for record in service.lines()} == {State.DONE}
