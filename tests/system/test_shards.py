"""Shards of one batch, each a run of its own: together they do what one run does, and nothing twice."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
import pytest
from harness import plain

import runner
from runner.download.place import Folder
from runner.ledger import run_lock
from runner.model import State
from runner.options import reading
from runner.shards import Shard, shard_of

pytestmark = pytest.mark.anyio


def shard(index: int, of: int = 3) -> Shard:
    return Shard(index=index, of=of)


def jobs_of(index: int, of: int = 3, count: int = 12) -> list[str]:
    return [job["id"] for job in plain(count) if shard_of(job["id"], of) == index]


def ledgers(service) -> list[str]:
    return sorted(path.name for path in service.output.glob("results*"))


SPLIT = ["results.1-of-3.jsonl", "results.2-of-3.jsonl", "results.3-of-3.jsonl"]


async def test_shards_share_the_jobs(service):
    """Each buys its own jobs, all of them together every job once; the pictures lie in one tree."""
    manifest = service.manifest(*plain(12))
    reports = [await service.run(manifest, shard=shard(index)) for index in (1, 2, 3)]
    assert [report.done for report in reports] == [len(jobs_of(index)) for index in (1, 2, 3)]
    assert service.submissions == 12
    assert service.files() == sorted(f"{job['id']}.png" for job in plain(12))
    assert ledgers(service) == SPLIT
    assert [report.results for report in reports] == [str(service.output / name) for name in SPLIT]


async def test_shards_run_at_the_same_time(service):
    """They wait for each other only to begin."""
    manifest = service.manifest(*plain(12))
    reports = []

    async def one(index: int) -> None:
        reports.append(await service.run(manifest, shard=shard(index)))

    async with anyio.create_task_group() as group:
        for index in (1, 2, 3):
            group.start_soon(one, index)
    assert sum(report.done for report in reports) == service.submissions == 12


async def test_a_shard_again_buys_nothing(service):
    """The same command again is always right, of a shard too."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest, shard=shard(2))
    report = await service.run(manifest, shard=shard(2))
    assert report.skipped == len(jobs_of(2)) == service.submissions


async def test_the_limit_counts_the_jobs_of_the_shard(service):
    """`--limit 2` is the first two of this shard's."""
    await service.run(service.manifest(*plain(12)), shard=shard(2), limit=2)
    assert [record.id for record in service.lines() if record.state is State.DONE] == jobs_of(2)[:2]


async def test_a_whole_folder_is_split_and_nothing_is_bought_again(service):
    """What was bought before is each shard's to know, whichever starts first."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest, limit=7)
    reports = [await service.run(manifest, shard=shard(index)) for index in (3, 1, 2)]
    assert sum(report.skipped for report in reports) == 7
    assert service.submissions == 12
    assert ledgers(service) == SPLIT


async def test_a_plain_run_of_a_split_folder_is_refused(service):
    """It would know of no purchase and buy everything again; it makes no results manifest of its own."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest, shard=shard(1))
    with pytest.raises(runner.ConflictError, match=r"split into 3 shards.*--shard 1/3 to 3/3.*`runner merge`.*Nothing"):
        await service.run(manifest)
    assert ledgers(service) == SPLIT
    assert service.submissions == len(jobs_of(1))


async def test_another_number_of_shards_is_refused(service):
    """A job would belong to another shard than its purchases."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest, shard=shard(1))
    with pytest.raises(runner.ConflictError, match=r"split into 3 shards, not 4.*`runner merge`"):
        await service.run(manifest, shard=shard(1, 4))
    assert service.submissions == len(jobs_of(1))


async def test_a_lost_results_manifest_of_a_shard_buys_nothing(service):
    """All were made at once, so one that is gone was lost, with what had been bought."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest, shard=shard(1))
    await service.run(manifest, shard=shard(2))
    before = service.submissions
    (service.output / SPLIT[1]).unlink()
    for index in (1, 2, 3):
        with pytest.raises(runner.LedgerCorrupt, match=r"results\.2-of-3\.jsonl is gone"):
            await service.run(manifest, shard=shard(index))
    assert service.submissions == before


async def test_a_shard_in_use_is_refused_while_others_run(service):
    """Two runs of one shard would buy twice; the message names the shard."""
    manifest = service.manifest(*plain(12))
    with run_lock(service.output, "now", shard(1)):
        with pytest.raises(runner.Locked, match=r"shard 1/3 of .* is in use by process"):
            await service.run(manifest, shard=shard(1))
        await service.run(manifest, shard=shard(2))
    assert service.submissions == len(jobs_of(2))


async def test_a_shard_waits_a_minute_for_the_folder(service):
    """Others hold it for a moment when they begin; a run of the whole folder for longer, and then it is named."""
    manifest = service.manifest(*plain(12))
    start = anyio.current_time()
    with run_lock(service.output, "now"), pytest.raises(runner.Locked, match=r"out is in use by process .*, since now"):
        await service.run(manifest, shard=shard(1))
    assert 60 <= anyio.current_time() - start < 61
    with ExitStack() as held:
        held.enter_context(run_lock(service.output, "now"))
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: service.run(manifest, shard=shard(1)))
            await anyio.sleep(30)
            held.close()
    assert service.submissions == len(jobs_of(1))


async def test_a_shard_that_waits_can_be_interrupted(service):
    """Ctrl-C is heard while the folder is held by another."""
    stop = runner.Stop()
    stop.interrupt("interrupted by SIGINT")
    with run_lock(service.output, "now"), pytest.raises(runner.Locked):
        await service.run(jobs=1, shard=shard(1), stop=stop)


async def test_everything_is_read_as_one(service):
    """Who only looks sees the shards together."""
    manifest = service.manifest(*plain(12))
    for index in (1, 2, 3):
        await service.run(manifest, shard=shard(index))
    with reading(Folder(service.output)) as known:
        assert sorted(record.id for record in known.latest()) == [job["id"] for job in plain(12)]
        assert all(len(known.history(job["id"])) == 1 for job in plain(12))


async def test_a_shard_has_its_share_of_lanes_and_rate(service):
    """Of 7 lanes three shards have 3, 2 and 2; of a rate each a third. A share of its own changes both."""
    from runner.app import terms_of

    manifest = service.manifest(*plain(2), concurrency=7, rate="6/s")
    options = [runner.RunOptions(shard=shard(index)) for index in (1, 2, 3)]
    assert [terms_of(manifest, option).lanes for option in options] == [3, 2, 2]
    assert [terms_of(manifest, option).per_second for option in options] == [2.0, 2.0, 2.0]
    slot = runner.RunOptions(shard=shard(9, 9), share=shard(1, 2))
    assert (terms_of(manifest, slot).lanes, terms_of(manifest, slot).per_second) == (4, 3.0)


async def test_fewer_lanes_than_shards_is_refused(service):
    """A shard without a lane would never buy its jobs."""
    with pytest.raises(runner.UsageError, match="concurrency is 2, and each of 3 shards needs a lane"):
        await service.run(service.manifest(*plain(2), concurrency=2), shard=shard(1))
    assert not service.output.exists()
