"""Shards of one batch, each a run of its own: together they do what one run does, and nothing twice."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
import pytest
from support.harness import plain
from support.virtual_time import LoopClock

import runner
from runner.core.models import State
from runner.core.shards import Shard, shard_of
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.engine.config import RunConfig
from runner.files.output_folder import Folder
from runner.ledger import merge_shards, open_reader, run_lock
from runner.ledger.records import encode

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
        with pytest.raises(runner.LedgerCorrupt, match=r"results\.2-of-3\.jsonl is missing"):
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


@pytest.mark.slow
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
    with open_reader(service.output) as known:
        assert sorted(record.id for record in known.latest()) == [job["id"] for job in plain(12)]
        assert all(len(known.history(job["id"])) == 1 for job in plain(12))


async def test_a_shard_has_its_share_of_lanes_and_rate(service):
    """Of 7 lanes three shards have 3, 2 and 2; of a rate each a third. A share of its own changes both."""
    manifest = service.manifest(*plain(2), concurrency=7, rate="6/s")
    options = [runner.RunOptions(shard=shard(index)) for index in (1, 2, 3)]
    options.append(runner.RunOptions(shard=shard(9, 9), share=shard(1, 2)))
    configs = [RunConfig.resolve(manifest, option, service.environ) for option in options]
    assert [config.concurrency for config in configs] == [3, 2, 2, 4]
    assert [config.rate_per_second for config in configs] == [2.0, 2.0, 2.0, 3.0]


async def test_fewer_lanes_than_shards_is_refused(service):
    """A shard without a lane would never buy its jobs."""
    with pytest.raises(runner.UsageError, match="concurrency is 2, and each of 3 shards needs at least one slot"):
        await service.run(service.manifest(*plain(2), concurrency=2), shard=shard(1))
    assert not service.output.exists()


def id_in(index: int, of: int = 3, stem: str = "new") -> str:
    """An id that belongs to a shard."""
    return next(f"{stem}-{number}" for number in range(1000) if shard_of(f"{stem}-{number}", of) == index)


async def merge(service) -> int:
    return merge_shards(service.output, "now")


async def test_merged_the_folder_goes_on_as_one(service):
    """One results manifest again; a plain run buys nothing; other shards can be made of it."""
    manifest = service.manifest(*plain(12))
    for index in (1, 2):
        await service.run(manifest, shard=shard(index))
    assert await merge(service) == 3
    assert ledgers(service) == ["results.jsonl"]
    assert sorted(path.name for path in (service.output / ".runner").iterdir()) == ["lock"]
    report = await service.run(manifest)
    assert (report.skipped, report.done, service.submissions) == (12 - len(jobs_of(3)), len(jobs_of(3)), 12)
    assert (await service.run(manifest, shard=shard(1, 2))).done == 0
    assert await merge(service) == 2
    assert await merge(service) == 0
    assert service.submissions == 12


async def test_a_merge_is_refused_while_a_shard_runs(service):
    """What that shard buys next would be lost to the merged results."""
    await service.run(service.manifest(*plain(12)), shard=shard(1))
    with run_lock(service.output, "now", shard(2)), pytest.raises(runner.Locked, match=r"shard 2/3 of .* is in use"):
        await merge(service)
    assert ledgers(service) == SPLIT


@pytest.mark.slow
async def test_two_results_manifests_that_disagree_buy_nothing(service):
    """An old copy put beside newer results of shards is no remnant of a merge."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest, limit=1)
    old = (service.output / "results.jsonl").read_bytes()
    for index in (1, 2, 3):
        await service.run(manifest, shard=shard(index))
    (service.output / "results.jsonl").write_bytes(old)
    for options in ({}, {"shard": shard(1)}):
        with pytest.raises(runner.ConflictError, match=r"each knows of purchases that the other does not"):
            await service.run(manifest, **options)
    assert service.submissions == 12
    assert ledgers(service) == [*SPLIT, "results.jsonl"]


async def test_a_job_renamed_into_another_shard_is_held(service):
    """Its picture is paid, under an id of another shard: it is not bought again, and a merge gives it to the new id."""
    old, new = id_in(1, stem="old"), id_in(2)
    before = service.manifest({"id": old, "prompt": "a mug"})
    for index in (1, 2, 3):
        await service.run(before, shard=shard(index))
    after = service.manifest({"id": new, "prompt": "a mug"})
    reports = [await service.run(after, shard=shard(index)) for index in (1, 2, 3)]
    assert [report.unknown for report in reports] == [0, 1, 0]
    assert reports[1].exit_code == 2
    assert "on hold: bought under another id in another shard. Run `runner merge`" in reports[1].notes[0]
    await merge(service)
    report = await service.run(after)
    assert (report.skipped, service.submissions) == (1, 1)
    assert service.files() == [f"{new}.png"]


async def test_a_job_renamed_within_its_shard_is_taken_over(service):
    """As in a folder that is not split."""
    old, new = id_in(2, stem="old"), id_in(2)
    await service.run(service.manifest({"id": old, "prompt": "a mug"}), shard=shard(2))
    report = await service.run(service.manifest({"id": new, "prompt": "a mug"}), shard=shard(2))
    assert (report.skipped, service.submissions) == (1, 1)
    assert service.files() == [f"{new}.png"]


async def test_a_new_job_with_inputs_that_another_job_still_has_is_bought(service):
    """Two jobs may ask for the same picture, in two shards as well."""
    first, second = {"id": id_in(1, stem="old"), "prompt": "a mug"}, {"id": id_in(2), "prompt": "a mug"}
    await service.run(service.manifest(first), shard=shard(1))
    report = await service.run(service.manifest(first, second), shard=shard(2))
    assert (report.done, service.submissions) == (1, 2)


async def test_a_job_that_was_renamed_before_the_split_is_not_there_twice(service):
    """Its old id's lines go nowhere: neither are they spent again nor taken over by a third job."""
    old, new, third = id_in(1, stem="old"), id_in(2), id_in(1, stem="third")
    await service.run(service.manifest({"id": old, "prompt": "a mug"}))
    await service.run(service.manifest({"id": new, "prompt": "a mug"}))
    both = service.manifest({"id": new, "prompt": "a mug"}, {"id": third, "prompt": "a mug"})
    reports = [await service.run(both, shard=shard(index)) for index in (1, 2)]
    assert [(report.done, report.skipped) for report in reports] == [(1, 0), (0, 1)]
    assert service.submissions == 2
    assert reports[1].spent_usd == pytest.approx(2 * service.record(new).cost_usd)


async def test_a_file_of_another_shards_job_in_the_way_is_told_apart(service):
    """It is ours, so nothing is to be moved by hand: that shard, or a merge, moves it."""
    old, new = id_in(1, stem="old"), id_in(2)
    await service.run(service.manifest({"id": old, "prompt": "a mug", "file": "mug"}), shard=shard(1))
    changed = service.manifest(
        {"id": old, "prompt": "a mug", "file": "cup"}, {"id": new, "prompt": "a bag", "file": "mug"}
    )
    with pytest.raises(
        runner.ConflictError, match=r"mug.png is in the way of job new-\d+ and belongs to another shard: .*run"
    ):
        await service.run(changed, shard=shard(2))
    await service.run(changed, shard=shard(1))
    await service.run(changed, shard=shard(2))
    assert service.files() == ["cup.png", "mug.png"]
    assert service.submissions == 2


async def test_the_budget_is_divided_and_holds(service):
    """Each shard stops at its share, and says so; merged, the rest can be spent."""
    usd = 0.0045
    manifest = service.manifest(*plain(24), budget=f"{9 * usd:.4f}")
    reports = [await service.run(manifest, shard=shard(index)) for index in (1, 2, 3)]
    assert [report.done for report in reports] == [3, 3, 3]
    assert all("for shard" in report.stopped.reason for report in reports)
    assert reports[-1].spent_usd == pytest.approx(9 * usd)


async def test_what_was_spent_before_a_split_counts(service):
    """A folder that has spent all but one picture's price in whatever shard lets its shards buy no more than one."""
    usd = 0.0045
    jobs = [{"id": id_in(1, stem=f"old{number}"), "prompt": f"old {number}"} for number in range(6)]
    await service.run(service.manifest(*jobs))
    manifest = service.manifest(*jobs, *plain(24), budget=f"{8 * usd:.4f}")
    reports = [await service.run(manifest, shard=shard(index)) for index in (1, 2, 3)]
    assert [report.done for report in reports] == [0, 1, 1]
    assert service.submissions == 8


async def test_owed_work_of_all_shards_is_collected_at_once(service):
    """Nobody has to know into how many shards a folder is split, and `collect` needs the folder alone."""
    manifest = service.manifest(*plain(12))
    service.fault(InjectedFault(on="file", kind="status", status=503))
    reports = [await service.run(manifest, shard=shard(index)) for index in (1, 2, 3)]
    assert sum(report.owed for report in reports) == 12
    service.fault()
    with run_lock(service.output, "now", shard(2)), pytest.raises(runner.Locked, match="shard 2/3"):
        await service.collect()
    report = await service.collect()
    assert (report.done, report.owed, report.results) == (12, 0, str(service.output))
    assert ledgers(service) == SPLIT
    assert [(await service.run(manifest, shard=shard(i))).skipped for i in (1, 2, 3)] == [
        len(jobs_of(i)) for i in (1, 2, 3)
    ]


async def test_an_open_question_is_settled_in_its_shard(service):
    """While other shards run: only the one that it is about must not."""
    manifest = service.manifest(*plain(12))
    service.fault(InjectedFault(on="submit", kind="reset", when="after", match="picture 0"))
    for index in (1, 2, 3):
        await service.run(manifest, shard=shard(index))
    service.fault()
    mine = shard(shard_of("a", 3))
    other = shard(mine.index % 3 + 1)
    with run_lock(service.output, "now", mine), pytest.raises(runner.Locked, match=f"shard {mine}"):
        await service.reconcile("lost a")
    with run_lock(service.output, "now", other):
        assert not (await service.reconcile("lost a")).open
    assert (await service.run(manifest, shard=mine)).done == 1


async def test_files_are_checked_and_mended_across_shards(service):
    """Two pictures swapped by hand, in two shards: each goes home, and no file of another shard is a foreign one."""
    one, two = id_in(1, stem="one"), id_in(2, stem="two")
    manifest = service.manifest({"id": one, "prompt": "a mug"}, {"id": two, "prompt": "a bag"})
    for index in (1, 2, 3):
        await service.run(manifest, shard=shard(index))
    paths = [service.output / f"{job_id}.png" for job_id in (one, two)]
    mug, bag = (path.read_bytes() for path in paths)
    paths[0].write_bytes(bag)
    paths[1].write_bytes(mug)
    done = await operations.repair(Folder(service.output), environ=service.environ, clock=LoopClock())
    assert not done.after.wrong
    assert [path.read_bytes() for path in paths] == [mug, bag]
    assert service.submissions == 2


@pytest.mark.slow
async def test_a_damaged_results_manifest_of_a_shard_is_mended(service):
    """It is named, and the others are left as they are."""
    manifest = service.manifest(*plain(12))
    for index in (1, 2, 3):
        await service.run(manifest, shard=shard(index))
    path = service.output / SPLIT[1]
    path.write_bytes(b"garbage\n" + path.read_bytes())
    with pytest.raises(runner.LedgerCorrupt, match=r"results\.2-of-3\.jsonl:1"):
        await service.run(manifest, shard=shard(1))
    mended = operations.repair_log(Folder(service.output), operations.RunOptions(), environ=service.environ)
    assert [log.copy is not None for log in mended] == [False, True, False]
    assert sum([(await service.run(manifest, shard=shard(index))).skipped for index in (1, 2, 3)]) == 12


async def test_a_redo_is_one_of_each_shard(service):
    """Chosen and bought once in each; what one shard has bought anew, a merge and a plain run leave alone."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest)
    for index in (1, 2, 3):
        assert (await service.run(manifest, shard=shard(index), redo=runner.RedoMode.ALL)).done == len(jobs_of(index))
    assert service.submissions == 24
    await merge(service)
    assert (await service.run(manifest)).skipped == 12
    assert (await service.run(manifest, redo=runner.RedoMode.SELECTED, only="a")).done == 1
    assert service.submissions == 25


@pytest.mark.slow
async def test_a_redo_that_a_split_finds_unfinished_is_gone_on_with(service):
    """Each shard goes on with its own part, choosing no more; nothing is merged before all of them are through."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest)
    stop = runner.Stop()

    def see(record) -> None:
        service.seen.append(record)
        if record.redone and record.state is State.SUBMITTED:
            stop.interrupt("enough")

    await operations.run(
        manifest,
        operations.RunOptions(redo=runner.RedoMode.ALL),
        observer=see,
        stop=stop,
        clock=LoopClock(),
        environ=service.environ,
    )
    bought = service.submissions
    assert 12 < bought < 24
    await service.run(manifest, shard=shard(1), redo=runner.RedoMode.ALL)
    with pytest.raises(runner.ConflictError, match=r"a redo is not finished in shard .*--shard \d/3` goes on"):
        await merge(service)
    for index in (2, 3):
        await service.run(manifest, shard=shard(index))
    assert service.submissions == 24
    await merge(service)
    assert (await service.run(manifest)).skipped == 12


@pytest.mark.slow
async def test_a_redo_that_was_over_before_the_split_is_over_in_each_shard(service):
    """The line that said so is in one of them; the others begin a redo of their own all the same."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest)
    await service.run(manifest, redo=runner.RedoMode.ALL)
    for index in (1, 2, 3):
        report = await service.run(manifest, shard=shard(index), redo=runner.RedoMode.SELECTED, only=jobs_of(index)[0])
        assert (report.done, report.notes) == (1, ())
    assert service.submissions == 27


@pytest.mark.slow
async def test_a_shard_that_was_killed_leaves_nothing_of_its_own_behind(service):
    """Half a download lies where only its shard sweeps: another one that runs still needs its own."""
    manifest = service.manifest(*plain(12))
    await service.run(manifest, shard=shard(1))
    left = [service.output / ".runner" / f"{index}-of-3" / "incoming" / "half" for index in (1, 2)]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    await service.run(manifest, shard=shard(1))
    assert [path.exists() for path in left] == [False, True]
    await service.run(manifest, shard=shard(2))
    assert [path.exists() for path in left] == [False, False]


async def test_a_takeover_that_was_cut_short_before_a_split_buys_nothing(service):
    """The old id's last lines are in another shard: what was paid there is held, and after a merge it goes on."""
    old, new = id_in(1, stem="old"), id_in(2)
    await service.run(service.manifest({"id": old, "prompt": "a mug"}))
    await service.run(service.manifest({"id": old, "prompt": "a cup"}))
    results = service.output / "results.jsonl"
    before = results.read_bytes()
    renamed = service.manifest({"id": new, "prompt": "a mug"})
    await service.run(renamed)
    newest = next(line for line in service.lines() if (line.id, line.purchase) == (new, 2))
    results.write_bytes(before + encode(newest))  # where a crash came after the first line of the takeover
    reports = [await service.run(renamed, shard=shard(index)) for index in (1, 2, 3)]
    assert [report.unknown for report in reports] == [0, 1, 0]
    assert service.submissions == 2
    await merge(service)
    await service.run(renamed)
    assert service.submissions == 2


async def test_a_results_manifest_that_is_lost_beside_empty_ones_buys_nothing(service):
    """The others need not have begun for it to be known that there was one."""
    manifest = service.manifest({"id": id_in(1), "prompt": "a mug"})
    await service.run(manifest, shard=shard(1))
    (service.output / SPLIT[0]).unlink()
    with pytest.raises(runner.LedgerCorrupt, match=r"results\.1-of-3\.jsonl is missing"):
        await service.run(manifest, shard=shard(1))
    assert service.submissions == 1


async def test_a_split_that_lost_one_of_its_own_buys_nothing(service):
    """The same where a whole folder was split, and all that is left is empty."""
    manifest = service.manifest({"id": id_in(1), "prompt": "a mug"})
    await service.run(manifest)
    await service.run(manifest, shard=shard(2))
    (service.output / SPLIT[0]).unlink()
    with pytest.raises(runner.LedgerCorrupt, match=r"results\.1-of-3\.jsonl is missing"):
        await service.run(manifest, shard=shard(1))
    assert service.submissions == 1


async def test_who_may_read_results_stays_so_through_split_and_merge(service):
    """Prompts that were made private stay private."""
    manifest = service.manifest(*plain(6))
    await service.run(manifest)
    (service.output / "results.jsonl").chmod(0o600)
    await service.run(manifest, shard=shard(1))
    assert {(service.output / name).stat().st_mode & 0o777 for name in SPLIT} == {0o600}
    await merge(service)
    assert (service.output / "results.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_shards_results_manifest_that_leads_nowhere_is_an_error(service):
    """A link in its place is neither followed nor a bug of ours."""
    service.output.mkdir()
    (service.output / SPLIT[1]).symlink_to(service.folder / "nowhere")
    for options in ({"shard": shard(1)}, {"shard": shard(2)}, {}):
        with pytest.raises(runner.RunnerError, match=r"results\.2-of-3\.jsonl"):
            await service.run(service.manifest(*plain(6)), **options)
    assert not (service.folder / "nowhere").exists()


async def test_looking_afresh_touches_nothing_that_is_there(service):
    """Whatever stands in the folder under a name of ours, a link out of it above all."""
    service.output.mkdir()
    (service.output / ".runner.probe").symlink_to(service.folder / "nowhere")
    await service.run(service.manifest(*plain(1)))
    assert (service.output / ".runner.probe").is_symlink()
    assert not (service.folder / "nowhere").exists()
    assert not [path for path in service.output.iterdir() if path.name.startswith(".runner.probe-")]


async def test_collecting_one_shard_splits_no_folder(service):
    """What buys nothing leaves the folder as it is laid out, and the next night's plain run with it."""
    await service.run(service.manifest(*plain(3)))
    with pytest.raises(runner.UsageError, match="is not split into shards"):
        await operations.collect(
            Folder(service.output), operations.RunOptions(shard=shard(1)), clock=LoopClock(), environ=service.environ
        )
    assert ledgers(service) == ["results.jsonl"]
