"""Purchases that cannot be delivered: told, counted, closed by the user, and never in the way of other jobs."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from support.harness import Service, plain

from runner.core.errors import UsageError
from runner.core.models import State
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.engine.maintenance.reconcile import find_open_purchases
from runner.engine.maintenance.verify import check
from runner.engine.redo import RedoMode
from runner.files.folder_reader import FolderReader
from runner.ledger import open_reader

pytestmark = pytest.mark.anyio

FIRST_JOB = "picture 0"


def file(kind: str, **parameters: object) -> InjectedFault:
    return InjectedFault(on="file", kind=kind, **parameters)


def served(service: Service) -> int:
    return service.emulator.stats["calls"].get("file", 0)


async def stuck(service: Service, jobs: int = 1) -> None:
    """Make the file of job ``a`` an error page, in two runs."""
    service.fault(file("html", match=FIRST_JOB))
    manifest = service.manifest(*plain(jobs), retries=0)
    assert (await service.run(manifest)).exit_code == 75
    assert (await service.run(manifest)).exit_code == 2


async def test_the_same_wrong_bytes_in_two_runs_are_stuck(service):
    """An error page in place of the picture: owed after the first run, told as stuck after the second (exit 2)."""
    await stuck(service)
    record = service.record()
    assert (record.state, record.error.code) == (State.GENERATED, "undeliverable")
    assert "the same error in two runs" in record.error.message
    with open_reader(service.output) as ledger:
        assert [found.id for found in find_open_purchases(ledger).stuck] == ["a"]


async def test_a_stuck_purchase_is_still_asked_for_and_arrives_when_the_storage_heals(service):
    """Every run asks again, free: stuck is a word to the user, and gives nothing up."""
    await stuck(service)
    service.fault()
    report = await service.run(service.manifest(*plain(1)))
    assert (report.exit_code, report.done, service.submissions) == (0, 1, 1)
    assert (service.record().state, service.record().error) == (State.DONE, None)


async def test_gone_at_the_storage_in_two_runs_is_stuck_and_a_bad_day_is_not(service):
    """A 404 behind a fresh link, twice, will not come right; a 500 may."""
    for status, exit_code in ((404, 2), (500, 75)):
        service.fault(file("status", status=status))
        manifest = service.manifest(*plain(1), retries=2)
        for _ in range(2):
            report = await service.run(manifest)
        assert report.exit_code == exit_code


async def test_two_different_failures_are_no_stuck_purchase(service):
    """Wrong bytes today and no connection yesterday: neither was met twice."""
    manifest = service.manifest(*plain(1), retries=0)
    for fault in (file("reset"), file("html")):
        service.fault(fault)
        assert (await service.run(manifest)).exit_code == 75
    assert service.record().error.code == "bad_file"


async def test_accept_closes_a_stuck_purchase_and_nothing_is_bought(service):
    """`reconcile --accept`: done without its file; runs skip it, fetch nothing, end with 0; it stays spent."""
    await stuck(service, jobs=2)
    assert (await service.reconcile("accept a")).exit_code == 0
    record, asked = service.record(), served(service)
    assert (record.state, record.warning, record.cost_usd) == (State.DONE, "accepted", 0.0045)
    assert [output.error.code for output in record.outputs] == ["undeliverable"]
    report = await service.run(service.manifest(*plain(2)))
    assert (report.exit_code, report.skipped, report.spent_usd) == (0, 2, 0.009)
    assert (service.submissions, served(service)) == (2, asked)
    with open_reader(service.output) as ledger:
        assert check(ledger, FolderReader(service.output)).wrong == ()


async def test_an_accepted_purchase_follows_the_rules_of_a_done_one(service):
    """Changed inputs buy anew; the old inputs again buy nothing; a redo that names it buys once."""
    await stuck(service)
    await service.reconcile("accept a")
    service.fault()
    changed = service.manifest({"id": "a", "prompt": "another"})
    assert (await service.run(changed)).done == 1
    assert (await service.run(service.manifest(*plain(1)))).skipped == 1
    assert service.submissions == 2
    assert (await service.run(service.manifest(*plain(1)), redo=RedoMode.SELECTED, only="a")).done == 1
    assert service.submissions == 3


async def test_what_may_not_have_been_bought_cannot_be_accepted(service):
    """An unknown has no request: `--lost` or `--rebuy` decide about it, and nothing is recorded."""
    service.fault(InjectedFault(on="submit", kind="reset", when="after", times=1))
    await service.run()
    before = service.lines()
    with pytest.raises(UsageError, match=r"--accept a.*unknown.*--lost or --rebuy"):
        await service.reconcile("accept a")
    assert service.lines() == before


@pytest.mark.parametrize("fault", [file("html", match=FIRST_JOB), file("redirect", location="https://x.example.org/a")])
async def test_an_old_purchase_with_trouble_of_its_own_keeps_no_other_from_being_bought(service, fault):
    """Two days old, and refused or wrong at every try: the other jobs are bought all the same."""
    service.fault(fault)
    await service.run(service.manifest(*plain(1), retries=0))
    service.fault(replace(fault, match=FIRST_JOB))
    for _ in range(2):
        await anyio.sleep(80_000)
    report = await service.run(service.manifest(*plain(5), retries=0))
    assert (report.done, report.stopped, service.submissions) == (4, None, 5)


async def test_undeliverable_results_count_for_halt(service):
    """`halt: 3`: three purchases of this run whose files are error pages stop the buying."""
    service.fault(file("html", match="bad"))
    jobs = [{"id": f"j{number}", "prompt": f"{'bad' if number else 'good'} {number}"} for number in range(40)]
    report = await service.run(service.manifest(*jobs, retries=0, concurrency=1, halt=3))
    assert "stopped on failures" in report.stopped.reason
    assert service.submissions < 10


async def test_old_stuck_purchases_do_not_halt_the_next_run(service):
    """They are asked for in every run; only what a run has bought itself counts against it."""
    service.fault(file("html", match="bad"))
    bad = [{"id": f"bad{number}", "prompt": f"bad {number}"} for number in range(3)]
    for _ in range(2):
        await service.run(service.manifest(*bad, retries=0))
    report = await service.run(service.manifest(*bad, *plain(3), retries=0, halt=3))
    assert (report.unknown, report.stopped, report.done) == (3, None, 3)


async def test_buying_pauses_until_the_first_download_succeeds(service):
    """A storage that is away: few are bought, not the whole batch; the run says so and names an example."""
    service.fault(file("status", status=500))
    jobs = [{"id": f"j{number}", "prompt": f"p {number}"} for number in range(60)]
    manifest = service.manifest(*jobs, retries=1)
    report = await service.run(manifest)
    bought = service.submissions
    assert bought <= 8 + 2 * 4
    assert (report.owed, report.left, report.exit_code) == (bought, 60 - bought, 75)
    assert "downloads of this run failed, such as j" in report.stopped.reason
    report = await service.run(manifest)
    assert service.submissions <= bought + 1, "the next run buys one, to find out, and no more"
    service.fault()
    assert (await service.run(manifest)).exit_code == 0
    assert service.submissions == 60


@pytest.mark.slow
async def test_a_paused_run_goes_on_when_the_storage_comes_back(service):
    """What waits is tried again within the run; with its first success buying goes on."""
    service.fault(file("status", status=500, times=30))
    jobs = [{"id": f"j{number}", "prompt": f"p {number}"} for number in range(60)]
    assert (await service.run(service.manifest(*jobs, retries=9))).done == 60


async def test_old_results_that_fail_do_not_keep_a_run_from_finding_out(service):
    """Ten old results behind an address that nobody trusts: one job is bought, arrives, and the others follow."""
    jobs = [{"id": f"j{number}", "prompt": f"old {number}"} for number in range(10)]
    service.fault(file("redirect", location="https://x.example.org/a", match="old"))
    await service.run(service.manifest(*jobs, retries=0, concurrency=10))
    bought = service.submissions
    assert bought >= 8
    new = [{"id": f"n{number}", "prompt": f"new {number}"} for number in range(5)]
    report = await service.run(service.manifest(*new, retries=0))
    assert (report.done, service.submissions) == (5, bought + 5)


async def test_collect_ends_where_nothing_can_be_delivered(service):
    """`collect` buys nothing, so it has nothing to pause: it tries each result and ends."""
    service.fault(file("status", status=500))
    jobs = [{"id": f"j{number}", "prompt": f"p {number}"} for number in range(12)]
    await service.run(service.manifest(*jobs, retries=0, concurrency=12))
    report = await operations.collect(
        operations.Folder(service.output), observer=service.seen.append, environ=service.environ
    )
    assert (report.owed, report.exit_code) == (service.submissions, 75)


@pytest.mark.slow
async def test_a_great_many_stuck_purchases_keep_no_other_job_from_being_bought(service):
    """A hundred error pages, asked for again in each run, are no storage that is away."""
    service.fault(file("html", match="bad"))
    bad = [{"id": f"b{number}", "prompt": f"bad {number}"} for number in range(101)]
    manifest = service.manifest({"id": "good", "prompt": "good"}, *bad, retries=0, concurrency=16)
    for _ in range(2):
        await service.run(manifest)
    new = [{"id": f"n{number}", "prompt": f"new {number}"} for number in range(20)]
    assert (await service.run(service.manifest(*bad, *new, retries=0, concurrency=16))).done == 20


async def test_a_test_purchase_that_the_api_fails_says_nothing_about_downloads(service):
    """Old results fail, and so does the one job that is bought to find out: the next one is the test."""
    old = [{"id": f"j{number}", "prompt": f"old {number}"} for number in range(10)]
    trap = file("redirect", location="https://x.example.org/a", match="old")
    service.fault(trap)
    await service.run(service.manifest(*old, retries=0, concurrency=10))
    service.fault(trap, InjectedFault(on="job", kind="fail", match="new 0"))
    new = [{"id": f"n{number}", "prompt": f"new {number}"} for number in range(5)]
    report = await service.run(service.manifest(*new, retries=0))
    assert (report.done, report.failed) == (4, 1)


async def test_the_files_of_an_accepted_purchase_follow_a_new_name(service):
    """One of four pictures could not be had and was accepted so; the others are moved, and it stays accepted."""
    sheet = {"id": "a", "prompt": "a mug", "model": "emulator/contact-sheet/text-to-image"}
    service.fault(file("status", status=500, number=1))
    await service.run(service.manifest(sheet, defaults={}, retries=0))
    await service.reconcile("accept a")
    assert service.files() == ["a-3.png", "a-4.png", "a.png"]
    report = await service.run(service.manifest({**sheet, "file": "new/a"}, defaults={}, retries=0))
    assert (report.skipped, service.submissions) == (1, 1)
    assert service.files() == ["new/a-3.png", "new/a-4.png", "new/a.png"]
    assert service.record().warning == "accepted"


async def test_a_bad_day_and_a_missing_file_are_not_the_same_failure(service):
    """A 500 yesterday and a 404 today: only the 404 of tomorrow is the second one."""
    manifest = service.manifest(*plain(1), retries=2)
    for status, exit_code in ((500, 75), (404, 75), (404, 2)):
        service.fault(file("status", status=status))
        assert (await service.run(manifest)).exit_code == exit_code
