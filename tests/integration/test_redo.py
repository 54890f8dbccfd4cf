"""A redo buys done jobs anew because the user said so: the chosen ones, each once, and the old files are kept."""

from __future__ import annotations

import msgspec
import pytest
from support.harness import plain

import runner
from runner.cli.arguments import Choice, RedoFlags
from runner.core.models import State
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.engine.config import RunConfig
from runner.ledger import open_reader
from runner.ledger.records import encode
from runner.planning.rules import Action
from runner.planning.survey import survey

pytestmark = pytest.mark.anyio

PRICE = 0.0045


async def test_a_redo_buys_the_chosen_jobs_anew_and_keeps_the_old_files(service):
    """`--redo --only a`: a new purchase of the same inputs; the old picture moves aside; the other job is untouched."""
    await service.run(jobs=2)
    report = await service.run(jobs=2, redo=runner.RedoMode.SELECTED, only="a")
    assert (report.done, report.total, report.exit_code, service.submissions) == (1, 1, 0, 3)
    assert service.files() == [".replaced/a/1/a.png", "a.png", "b.png"]
    assert [record.state for record in service.purchases("a")] == ["done", "done"]
    assert report.spent_usd == pytest.approx(3 * PRICE)


async def test_all_chooses_every_done_job_and_new_ones_are_bought_as_ever(service):
    """`--redo --all`: done jobs once more, new jobs once."""
    await service.run(jobs=2)
    report = await service.run(jobs=3, redo=runner.RedoMode.ALL)
    assert (report.done, report.total, service.submissions) == (3, 3, 5)


async def test_after_a_redo_the_same_command_is_a_new_one(service):
    """A redo that ended has ended; a plain run after it buys nothing."""
    await service.run(jobs=2)
    for submissions in (4, 6):
        await service.run(jobs=2, redo=runner.RedoMode.ALL)
        assert service.submissions == submissions
        assert (await service.run(jobs=2)).skipped == 2
    assert service.submissions == 6


async def test_all_marks_are_durable_before_the_first_purchase(service):
    """No intent is written before the last job is chosen, and every new purchase says which redo made it."""
    await service.run(jobs=3)
    service.seen.clear()
    await service.run(jobs=3, redo=runner.RedoMode.ALL)
    first_intent = next(n for n, record in enumerate(service.seen) if record.state is State.SUBMITTING)
    marks = service.seen[:first_intent]
    assert sorted(record.id for record in marks) == ["a", "b", "c"]
    assert [record.redo_chosen for record in marks] == [False, False, True]
    assert {record.redone for record in service.seen if record.state is State.SUBMITTING} == {1}
    assert service.seen[-1].redo_closed


async def test_a_redo_that_fails_leaves_the_old_in_force(service):
    """The new purchase fails: the old file stays, a plain run has nothing to do, and another redo tries again."""
    await service.run()
    service.fault(InjectedFault(on="job", kind="fail"))
    assert (await service.run(redo=runner.RedoMode.ALL)).failed == 1
    assert service.files() == ["a.png"]
    assert ((await service.run()).skipped, service.submissions) == (1, 2)
    service.fault()
    assert (await service.run(redo=runner.RedoMode.ALL)).done == 1
    assert service.files() == [".replaced/a/1/a.png", "a.png"]


async def test_what_is_not_done_is_not_touched(make_service):
    """Owed, unknown and failed jobs are what they were: collected, held, failed."""
    service = await make_service()
    service.fault(
        InjectedFault(on="submit", kind="reset", when="after", match="picture 0"),
        InjectedFault(on="submit", kind="status", status=422, body="detail", match="picture 1"),
        InjectedFault(on="file", kind="status", status=500, match="picture 2"),
    )
    manifest = service.manifest(*plain(3), retries=0)
    await service.run(manifest)
    service.fault()
    report = await service.run(manifest, redo=runner.RedoMode.ALL)
    assert (report.unknown, report.failed, report.done, service.submissions) == (1, 1, 1, 3)
    assert not any(record.redo for record in service.lines())


async def test_what_is_left_of_a_redo_is_bought_by_the_same_command(service):
    """The budget ends a redo in the middle: with more of it the same command buys the rest, and nothing twice."""
    await service.run(jobs=4)
    budget = runner.manifest.parse_budget
    report = await service.run(jobs=4, redo=runner.RedoMode.ALL, budget=budget("0.0275"))
    assert (report.done, report.left, report.exit_code) == (2, 2, 75)
    assert "same command" in " ".join(report.notes)
    report = await service.run(jobs=4, redo=runner.RedoMode.ALL, budget=budget("1"))
    assert (report.done, report.skipped, report.exit_code, service.submissions) == (2, 2, 0, 8)


async def test_a_plain_run_goes_on_with_a_redo_that_was_not_finished(service):
    """The marks are the user's word: without --redo they are bought too, and then it is over."""
    await service.run(jobs=2)
    service.fault(InjectedFault(on="submit", kind="status", status=402, code=400002, times=1))
    await service.run(service.manifest(*plain(2), concurrency=1), redo=runner.RedoMode.ALL)
    report = await service.run(jobs=2)
    assert (report.done, report.exit_code, service.submissions) == (2, 0, 5)
    assert (await service.run(jobs=2)).skipped == 2


async def test_a_redo_in_doubt_waits_for_the_users_word(service):
    """The new purchase is unknown: the same command neither repeats it nor begins another; given up, it is bought."""
    await service.run(jobs=2)
    service.fault(InjectedFault(on="submit", kind="reset", when="after", times=1))
    manifest = service.manifest(*plain(2), concurrency=1)
    assert (await service.run(manifest, redo=runner.RedoMode.ALL)).unknown == 1
    service.fault()
    for _ in range(2):
        report = await service.run(manifest, redo=runner.RedoMode.ALL)
        assert (report.unknown, report.skipped, report.exit_code, service.submissions) == (1, 1, 2, 4)
    await service.reconcile("lost a")
    report = await service.run(manifest, redo=runner.RedoMode.ALL)
    assert (report.done, report.exit_code, service.submissions) == (1, 0, 5)


async def test_what_a_redo_has_not_brought_home_is_collected_by_the_same_command(make_service):
    """A redo that ends with something owed goes on with that, and buys nothing more."""
    service = await make_service(seconds=1.0)
    await service.run(jobs=2)
    service.fault(InjectedFault(on="file", kind="status", status=500))
    assert (await service.run(service.manifest(*plain(2), retries=0), redo=runner.RedoMode.ALL)).owed == 2
    service.fault()
    report = await service.run(jobs=2, redo=runner.RedoMode.ALL)
    assert (report.done, report.exit_code, service.submissions) == (2, 0, 4)


async def test_missing_chooses_what_is_gone_everywhere(service):
    """`--redo --missing`: what the API still has is fetched for nothing; only what is gone there too is bought."""
    await service.run(jobs=3)
    for name in ("a.png", "b.png"):
        (service.output / name).unlink()
    service.fault(
        InjectedFault(on="file", kind="status", status=404, match="picture 0"),
        InjectedFault(on="result", kind="forget", each=1, match="picture 0"),
    )
    await service.run(jobs=3)
    assert service.files() == ["b.png", "c.png"]
    (service.output / "b.png").unlink()
    service.fault(InjectedFault(on="file", kind="status", status=404, match="picture 0", times=1))
    report = await service.run(jobs=3, redo=runner.RedoMode.MISSING)
    assert service.files() == ["a.png", "b.png", "c.png"]
    assert (report.done, report.skipped, report.missing, report.exit_code) == (2, 1, 0, 0)
    assert service.submissions == 4
    assert (await service.run(jobs=3, redo=runner.RedoMode.MISSING)).skipped == 3
    assert service.submissions == 4


def half_chosen(service) -> None:
    """What a crash leaves that came while jobs were being chosen: one mark, and no word that it was the last."""
    mark = msgspec.structs.replace(service.record("a"), redo=1)
    with (service.output / "results.jsonl").open("ab") as log:
        log.write(encode(mark))


async def test_a_choice_that_a_crash_cut_short_is_completed_by_the_same_command(service):
    """The same command chooses the rest before it buys: each job once."""
    await service.run(jobs=3)
    half_chosen(service)
    report = await service.run(jobs=3, redo=runner.RedoMode.ALL)
    assert (report.done, report.exit_code, service.submissions) == (3, 0, 6)
    assert (await service.run(jobs=3)).skipped == 3


async def test_a_choice_that_a_crash_cut_short_is_taken_as_it_is_by_a_plain_run(service):
    """Without --redo only what was marked is bought anew, and then that redo is over."""
    await service.run(jobs=3)
    half_chosen(service)
    report = await service.run(jobs=3)
    assert (report.done, report.skipped, report.exit_code, service.submissions) == (1, 2, 0, 4)
    assert (await service.run(jobs=3, redo=runner.RedoMode.ALL)).done == 3


async def test_an_unfinished_redo_shows_in_the_plan(service):
    """`plan` says `buy` for what a redo has chosen and not bought, with the reason."""
    await service.run(jobs=2)
    half_chosen(service)
    manifest = service.manifest(*plain(2))
    config = RunConfig.resolve(manifest, operations.RunOptions(), service.environ)
    found = []
    with open_reader(service.output) as ledger:
        planner = config.planner(manifest.jobs, ledger)
        survey(planner, manifest.jobs, lambda job, decision: found.append((job.id, decision.action, decision.reason)))
    assert found == [("a", Action.BUY, "done, and bought again (redo 1)"), ("b", Action.REUSE, "done")]


async def test_missing_with_nothing_missing_buys_nothing(service):
    """All files are there: no redo begins."""
    await service.run(jobs=2)
    report = await service.run(jobs=2, redo=runner.RedoMode.MISSING)
    assert (report.skipped, report.exit_code, service.submissions) == (2, 0, 2)


async def test_a_job_that_left_the_manifest_does_not_keep_a_redo_open(service):
    """Chosen, not bought, and gone: the redo ends without it, and if it comes back it is not bought."""
    await service.run(jobs=2)
    service.fault(InjectedFault(on="submit", kind="status", status=402, code=400002))
    await service.run(jobs=2, redo=runner.RedoMode.ALL)
    service.fault()
    assert (await service.run(jobs=1)).done == 1
    bought = service.emulator.stats["accepted"]
    report = await service.run(jobs=2)
    assert (report.skipped, service.emulator.stats["accepted"]) == (2, bought)


async def test_an_unfinished_redo_of_other_jobs_is_said(service):
    """Another redo begins only when the last is over; the error says what to do."""
    await service.run(jobs=2)
    service.fault(InjectedFault(on="submit", kind="status", status=402, code=400002))
    await service.run(jobs=2, redo=runner.RedoMode.SELECTED, only="a")
    service.fault()
    with pytest.raises(runner.UsageError, match=r"not finished.*runner run"):
        await service.run(jobs=2, redo=runner.RedoMode.SELECTED, only="b")
    assert (await service.run(jobs=2)).done == 1
    assert (await service.run(jobs=2, redo=runner.RedoMode.SELECTED, only="b")).done == 1
    assert service.emulator.stats["accepted"] == 4


async def test_another_file_name_and_a_redo_at_once(service):
    """The new picture gets the new name, the old one moves aside from its old name."""
    await service.run(service.manifest({"id": "a", "prompt": "x"}))
    moved = service.manifest({"id": "a", "prompt": "x", "file": "shop/a"})
    report = await service.run(moved, redo=runner.RedoMode.ALL)
    assert (report.done, service.submissions) == (1, 2)
    assert service.files() == [".replaced/a/1/a.png", "shop/a.png"]


async def test_a_redo_keeps_off_what_another_manifest_bought(service):
    """A folder that another existing manifest fills is not bought anew, and nothing is marked."""
    await service.run(service.manifest({"id": "a", "prompt": "x"}, name="spring.yaml"))
    other = service.manifest({"id": "a", "prompt": "x"}, name="autumn.yaml")
    with pytest.raises(runner.ConflictError, match=r"spring\.yaml"):
        await service.run(other, redo=runner.RedoMode.ALL)
    assert service.submissions == 1
    assert not any(record.redo for record in service.lines())


def test_a_redo_of_selected_jobs_needs_a_selection():
    """A library that forgets `only` does not buy the whole batch again."""
    with pytest.raises(runner.UsageError, match=r"RedoMode\.ALL"):
        runner.RunOptions(redo=runner.RedoMode.SELECTED)


@pytest.mark.parametrize(
    ("redo", "missing", "every", "only"),
    [
        (True, False, False, None),
        (False, True, False, None),
        (False, False, True, "a"),
        (True, True, True, None),
    ],
)
def test_a_redo_on_the_command_line_names_its_jobs(redo, missing, every, only):
    """`--redo` alone selects nothing, and `--missing` or `--all` without it mean nothing: usage, exit 64."""
    with pytest.raises(runner.UsageError, match="--"):
        RedoFlags(redo, missing, every).mode(Choice((only,) if only else (), None, failed=False))
