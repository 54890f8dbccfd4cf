"""What a later run does with what earlier ones left: nothing is lost, nothing is bought twice."""

from __future__ import annotations

import anyio
import pytest
from support.harness import plain
from support.virtual_time import LoopClock

import runner
from runner import RunOptions
from runner.core.models import State
from runner.emulator import InjectedFault
from runner.engine.catalogue import Quote
from runner.engine.config import RunConfig
from runner.engine.forecast import make_forecast
from runner.ledger.records import encode

pytestmark = pytest.mark.anyio


def mug(prompt: str = "a mug", **more: object) -> dict[str, object]:
    return {"id": "mug", "prompt": prompt, **more}


async def test_changed_inputs_are_a_new_purchase_and_the_old_files_are_kept(service):
    """Another prompt under the same id is bought anew; the old picture moves to .replaced/<id>/<purchase>/."""
    await service.run(service.manifest(mug()))
    old = (service.output / "mug.png").read_bytes()
    report = await service.run(service.manifest(mug("a green mug")))
    assert (report.done, service.submissions) == (1, 2)
    assert service.files() == [".replaced/mug/1/mug.png", "mug.png"]
    assert (service.output / ".replaced/mug/1/mug.png").read_bytes() == old
    assert (service.output / "mug.png").read_bytes() != old
    assert [record.purchase for record in service.purchases("mug")] == [1, 2]


async def test_inputs_edited_back_take_the_old_files_back_without_buying(service):
    """The purchase with those inputs is put in force again, its picture returns, and nothing is submitted."""
    await service.run(service.manifest(mug()))
    old = (service.output / "mug.png").read_bytes()
    await service.run(service.manifest(mug("a green mug")))
    green = (service.output / "mug.png").read_bytes()
    report = await service.run(service.manifest(mug()))
    assert (report.skipped, report.exit_code, service.submissions) == (1, 0, 2)
    assert (service.output / "mug.png").read_bytes() == old
    assert (service.record("mug").purchase, service.record("mug").restored_from) == (3, 1)
    assert report.spent_usd == pytest.approx(2 * 0.0045), "what comes back was paid once"
    assert (await service.run(service.manifest(mug("a green mug")))).skipped == 1
    assert (service.output / "mug.png").read_bytes() == green
    assert service.submissions == 2


async def test_an_older_purchase_whose_files_are_gone_is_fetched_and_counted_so(service):
    """Edited back, and what was set aside has been deleted: the newer picture in its place is not taken for it."""
    await service.run(service.manifest(mug()))
    old = (service.output / "mug.png").read_bytes()
    await service.run(service.manifest(mug("a green mug")))
    (service.output / ".replaced/mug/1/mug.png").unlink()
    report = await service.run(service.manifest(mug()))
    assert (report.done, report.skipped, service.submissions) == (1, 0, 2)
    assert (service.output / "mug.png").read_bytes() == old


async def test_a_failed_change_leaves_the_old_picture_in_force(service):
    """The new inputs are refused: the job is failed, the old picture stays, and going back to it costs nothing."""
    await service.run(service.manifest(mug()))
    service.fault(InjectedFault(on="submit", kind="status", status=422, body="detail", match="green"))
    assert (await service.run(service.manifest(mug("a green mug")))).failed == 1
    assert service.files() == ["mug.png"]
    assert (await service.run(service.manifest(mug()))).skipped == 1


async def test_files_that_are_gone_are_fetched_again_without_buying(service):
    """A deleted picture comes back from the API, as long as that has it."""
    await service.run(jobs=2)
    before = (service.output / "a.png").read_bytes()
    (service.output / "a.png").unlink()
    report = await service.run(jobs=2)
    assert (report.done, report.skipped, report.exit_code) == (1, 1, 0)
    assert (service.output / "a.png").read_bytes() == before
    assert service.submissions == 2


async def test_files_gone_everywhere_are_missing_and_not_bought_again(service):
    """Neither the disk nor the API has it: still `done`, counted as missing, not charged again."""
    await service.run()
    (service.output / "a.png").unlink()
    service.fault(
        InjectedFault(on="file", kind="status", status=404),
        InjectedFault(on="result", kind="forget"),
    )
    report = await service.run()
    assert (report.missing, service.record().state, service.submissions) == (1, State.DONE, 1)


async def test_a_renamed_job_takes_its_record_and_file_over(service):
    """Another id for the same inputs buys nothing: the record goes on under it and the file gets the new name."""
    await service.run(service.manifest(mug()))
    bytes_before = (service.output / "mug.png").read_bytes()
    report = await service.run(service.manifest({**mug(), "id": "cup"}))
    assert (report.skipped, report.total, service.submissions) == (1, 1, 1)
    assert service.files() == ["cup.png"]
    assert (service.output / "cup.png").read_bytes() == bytes_before
    assert service.record("cup").renamed_from == "mug"
    assert (await service.run(service.manifest({**mug(), "id": "cup"}))).skipped == 1
    assert (await service.run(service.manifest(mug()))).skipped == 1
    assert service.files() == ["mug.png"]
    assert service.submissions == 1


async def test_a_renamed_job_takes_over_what_is_owed_and_what_is_held(make_service):
    """Renaming loses neither a purchase under way nor a hold."""
    service = await make_service(seconds=100.0)
    await service.run(service.manifest(mug(), timeout="5s"))
    report = await service.run(service.manifest({**mug(), "id": "cup"}, timeout="10m"))
    assert (report.done, report.total, service.files(), service.submissions) == (1, 1, ["cup.png"], 1)
    service.fault(InjectedFault(on="submit", kind="reset", when="after"))
    await service.run(service.manifest({**mug("lamp"), "id": "lamp"}))
    report = await service.run(service.manifest({**mug("lamp"), "id": "light"}))
    assert (report.unknown, report.exit_code, service.submissions) == (1, 2, 2)


async def test_another_file_name_moves_the_file(service):
    """`file:` changed in the manifest: the picture is renamed on disk, and nothing is bought."""
    await service.run(service.manifest(mug()))
    report = await service.run(service.manifest(mug(file="shop/hero")))
    assert (report.skipped, service.files(), service.submissions) == (1, ["shop/hero.png"], 1)
    assert service.record("mug").outputs[0].path == "shop/hero.png"


async def test_folders_that_a_new_file_name_leaves_empty_are_removed(service):
    """A new `file:` leaves no empty folders behind; a folder that holds anything else stays, and so does one beside."""
    await service.run(service.manifest(mug(file="old/cups/hero"), {**mug(), "id": "lamp", "file": "old/lamps/hero"}))
    (service.output / "old" / "mine").mkdir()
    (service.output / "old" / "lamps" / "notes.txt").write_text("mine")
    await service.run(service.manifest(mug(file="new/hero"), {**mug(), "id": "lamp", "file": "new/lamp"}))
    folders = {path.relative_to(service.output).as_posix() for path in service.output.rglob("*") if path.is_dir()}
    assert {name for name in folders if not name.startswith(".")} == {"new", "old", "old/mine", "old/lamps"}
    await service.run(service.manifest(mug("a green mug", file="hero"), {**mug(), "id": "lamp", "file": "lamp"}))
    assert not (service.output / "new").exists()
    assert service.files() == [".replaced/mug/1/hero.png", "hero.png", "lamp.png", "old/lamps/notes.txt"]


async def test_a_job_that_is_gone_from_the_manifest_keeps_its_lines_and_files(service):
    """Removing a job deletes nothing; what it owes is still brought home."""
    await service.run(service.manifest(*plain(2)))
    await service.run(service.manifest(*plain(1)))
    assert service.files() == ["a.png", "b.png"]
    assert service.record("b").state is State.DONE


async def test_changed_inputs_wait_for_what_is_owed(make_service):
    """While the old purchase is owed it is brought home first; then the new inputs are bought, in the same run."""
    service = await make_service(seconds=100.0)
    await service.run(service.manifest(mug(), timeout="5s"))
    report = await service.run(service.manifest(mug("a green mug"), timeout="10m"))
    assert (report.done, report.total, report.exit_code, service.submissions) == (1, 1, 0, 2)
    assert service.files() == [".replaced/mug/1/mug.png", "mug.png"]
    assert [record.state for record in service.purchases("mug")] == ["done", "done"]


async def test_an_unknown_holds_whatever_the_inputs_say_now(service):
    """A purchase in doubt is not repeated by changing the prompt."""
    service.fault(InjectedFault(on="submit", kind="reset", when="after"))
    await service.run(service.manifest(mug()))
    service.fault()
    report = await service.run(service.manifest(mug("a green mug")))
    assert (report.unknown, report.exit_code, service.submissions) == (1, 2, 1)


async def test_what_is_owed_is_collected_before_anything_is_bought(make_service):
    """A run asks first after what is paid for, oldest first, and buys beside it."""
    service = await make_service(seconds=50.0)
    await service.run(service.manifest(*plain(3), concurrency=3, timeout="5s"))
    service.seen.clear()
    report = await service.run(service.manifest(*plain(6), concurrency=3, timeout="10m"))
    assert (report.done, report.total) == (6, 6)
    first_bought = next(i for i, record in enumerate(service.seen) if record.state is State.SUBMITTING)
    assert "a" in {record.id for record in service.seen[:first_bought]}


async def test_a_result_that_waits_for_more_than_a_day_stops_the_buying(make_service):
    """Something paid for yesterday and still not home: it is fetched, nothing new is bought, exit 75."""
    service = await make_service(seconds=90_000.0)
    await service.run(service.manifest(*plain(1), timeout="10m"))
    await anyio.sleep(80_000)
    await anyio.sleep(10_000)
    report = await service.run(service.manifest(*plain(2)))
    assert (report.done, report.left, report.exit_code) == (1, 1, 75)
    assert service.submissions == 1


async def test_a_plan_says_that_nothing_is_bought_before_what_waits_is_home(make_service):
    """Something paid for waits since yesterday: the plan names the reason for which the next run buys nothing."""
    service = await make_service(seconds=90_000.0)
    await service.run(service.manifest(*plain(1), timeout="10m"))
    for _ in range(2):
        await anyio.sleep(45_000)
    now = LoopClock().now()
    manifest = service.manifest(*plain(2))
    config = RunConfig.resolve(manifest, RunOptions(), service.environ)
    plan = make_forecast(config, manifest.jobs, now=now, visit=lambda *_: None)
    said = plan.as_json(Quote())
    assert (said["collect"], said["buy"], said["not_now"][:35]) == (1, 1, "a paid result has waited for more t")


async def test_collect_brings_everything_home_without_a_manifest(service):
    """`collect` needs nothing but the folder: the manifest may be gone or broken."""
    service.fault(InjectedFault(on="file", kind="status", status=500))
    manifest = service.manifest(*plain(3), retries=0)
    assert (await service.run(manifest)).owed == 3
    (service.folder / "batch.yaml").unlink()
    service.fault()
    report = await service.collect()
    assert (report.done, report.total, report.exit_code) == (3, 3, 0)
    assert service.files() == ["a.png", "b.png", "c.png"]
    assert service.submissions == 3


async def test_records_of_another_api_are_never_taken_for_this_ones(make_service):
    """A folder bought at one address is not reused, collected or asked after at another, where nothing is bought."""
    one = await make_service()
    other = await make_service()
    await one.run(one.manifest(mug()))
    mine = (one.output / "mug.png").read_bytes()
    with pytest.raises(runner.ConflictError, match="made at"):
        await other.run(other.manifest(mug()))
    assert sum(other.emulator.stats["calls"].get(kind, 0) for kind in ("submit", "status", "result", "file")) == 0
    assert (one.output / "mug.png").read_bytes() == mine
    again = await one.run(one.manifest(mug()))
    assert (again.skipped, one.submissions) == (1, 1), "back at the first address its own record counts"


async def test_two_manifests_may_not_share_a_folder(service):
    """A record that another existing manifest bought is neither replaced nor taken over: exit 65 naming both."""
    await service.run(service.manifest(mug(), name="spring.yaml"))
    with pytest.raises(runner.ConflictError, match=r"mug.*spring\.yaml"):
        await service.run(service.manifest(mug("a green mug"), name="autumn.yaml"))
    assert service.submissions == 1
    (service.folder / "spring.yaml").unlink()
    assert (await service.run(service.manifest(mug("a green mug"), name="autumn.yaml"))).done == 1


async def test_somebody_elses_picture_is_never_overwritten(service):
    """A foreign file under a name that the run would write is an error before anything is bought."""
    service.output.mkdir()
    (service.output / "mug.jpg").write_bytes(b"a designer's")
    (service.output / "mug.psd").write_bytes(b"no collision")
    with pytest.raises(runner.ConflictError, match=r"mug\.jpg"):
        await service.run(service.manifest(mug()))
    assert service.submissions == 0
    (service.output / "mug.jpg").unlink()
    assert (await service.run(service.manifest(mug()))).done == 1


async def test_a_crash_between_intent_and_answer_is_held(service):
    """A results manifest that ends in an intent: the job is unknown, held, and listed; the others are done."""
    await service.run(service.manifest(*plain(2)))
    results = service.output / "results.jsonl"
    intent = next(record for record in service.seen if record.state is State.SUBMITTING)
    results.write_bytes(b"".join(encode(r) for r in [intent, *[x for x in service.lines() if x.id == "b"]]))
    (service.output / "a.png").unlink()
    report = await service.run(service.manifest(*plain(2)))
    assert (report.unknown, report.skipped, report.exit_code) == (1, 1, 2)
    assert service.record("a").error.code == "interrupted"
    assert service.submissions == 2


async def test_a_torn_last_line_is_cut_and_the_run_goes_on(service):
    """Half a line at the end of the results manifest is set aside; nothing is bought twice."""
    await service.run(jobs=2)
    results = service.output / "results.jsonl"
    whole = results.read_bytes()
    results.write_bytes(whole + whole[:77])
    report = await service.run(jobs=2)
    assert (report.skipped, service.submissions) == (2, 2)
    assert results.read_bytes() == whole
    assert any(".torn" in path.name for path in (service.output / ".runner").iterdir())


async def test_damage_before_the_tail_is_refused(service):
    """A results manifest damaged in the middle buys nothing; the error names line and remedy."""
    await service.run(jobs=3)
    results = service.output / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(lines[0] + b"garbage\n" + lines[2])
    with pytest.raises(runner.LedgerCorrupt, match=r"results\.jsonl:2.*repair-log"):
        await service.run(jobs=3)
    assert service.submissions == 3
