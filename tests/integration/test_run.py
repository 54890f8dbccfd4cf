"""What a run brings home, and what its results manifest says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image
from support.harness import KLEIN, plain
from support.virtual_time import LoopClock

from runner.core.clock import epoch
from runner.core.models import Job, Record, State
from runner.engine import operations

pytestmark = pytest.mark.anyio


async def test_every_job_becomes_a_picture_of_the_asked_size(service):
    """A finished run leaves one whole PNG a job, of exactly the size that the job asked for."""
    manifest = service.manifest(
        {"id": "wide", "prompt": "a mug", "size": "320x128"},
        {"id": "many", "prompt": "a bag", "sizes": ["64x64", "96x128"]},
        {"id": "tall", "prompt": "a lamp", "file": "lamps/tall", "width": 70, "height": 200},
    )
    report = await service.run(manifest)
    assert (report.exit_code, report.done, report.total) == (0, 4, 4)
    sizes = {
        "wide.png": (320, 128),
        "many-64x64.png": (64, 64),
        "many-96x128.png": (96, 128),
        "lamps/tall.png": (70, 200),
    }
    assert service.files() == sorted(sizes)
    for name, size in sizes.items():
        with Image.open(service.output / name) as picture:
            picture.load()
            assert (picture.format, picture.size) == ("PNG", size)


async def test_the_record_of_a_done_job_says_all_that_a_receipt_needs(service):
    """A done record names model, inputs as sent, request, cost, times, and the file with its hash."""
    await service.run()
    record = service.record()
    assert record.state is State.DONE
    assert record.model == KLEIN
    assert record.inputs == {"prompt": "picture 0", "width": 64, "height": 64}
    assert record.request_id == service.emulator.requests[0]["request_id"]
    assert (record.cost_usd, record.reserved_usd) == (0.0045, 0.0045)
    assert record.api == service.emulator.base
    assert record.manifest == "../batch.yaml"
    (output,) = record.outputs
    assert (output.path, output.media_type, output.width, output.height) == ("a.png", "image/png", 64, 64)
    assert output.bytes == (service.output / "a.png").stat().st_size


async def test_the_states_of_a_job_are_recorded_in_the_order_of_the_rules(service):
    """Intent, request in hand, complete, path and hash of what is about to be renamed, done."""
    await service.run()
    states = [record.state for record in service.seen]
    assert states == ["submitting", "submitted", "generated", "generated", "done"]
    assert [bool(record.request_id) for record in service.seen] == [False, True, True, True, True]
    assert [bool(record.outputs and record.outputs[0].sha256) for record in service.seen[2:]] == [False, True, True]


async def test_a_run_never_holds_more_requests_than_lanes(service):
    """`concurrency` bounds what is in flight at the API."""
    report = await service.run(service.manifest(*plain(12), concurrency=3))
    assert report.done == 12
    assert service.emulator.stats["peak_in_flight"] == 3


async def test_auto_keeps_as_many_in_flight_as_the_api_works_on(make_service, caplog):
    """`concurrency: auto` starts with eight and grows where the API works on more at once; the log tells."""
    caplog.set_level("INFO")
    wide = await make_service(workers=20, seconds=2.0, spread=0.3)
    jobs = [{"id": f"j{number}", "prompt": f"picture {number}"} for number in range(160)]
    report = await wide.run(wide.manifest(*jobs, concurrency="auto"))
    assert report.done == 160
    assert 20 <= wide.emulator.stats["peak_in_flight"] <= 80
    assert "from now on (the API" in caplog.text


class _Watched:
    """A manifest's jobs, which see whether the event loop has its turn while they are looked through."""

    def __init__(self, jobs: Any) -> None:
        self._jobs = jobs
        self._loop = asyncio.get_running_loop()
        self.heard = threading.Event()

    def __iter__(self) -> Iterator[Job]:
        for job in self._jobs:
            if threading.current_thread() is not threading.main_thread():
                self._loop.call_soon_threadsafe(self.heard.set)
                assert self.heard.wait(20)
            yield job

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)


async def test_signals_are_heard_while_a_long_manifest_is_looked_through(service):
    """A million jobs take minutes to decide about: Ctrl-C, twice if need be, does not wait for that."""
    manifest = service.manifest(*plain(2))
    watched = _Watched(manifest.jobs)
    assert (await service.run(replace(manifest, jobs=watched))).done == 2
    assert watched.heard.is_set()


@pytest.mark.slow
async def test_auto_keeps_less_in_flight_after_the_api_refused(make_service):
    """`concurrency: auto` at an API that refuses more than 12 at once: every job is done, and refusals stay few."""
    narrow = await make_service(workers=30, seconds=2.0, spread=0.3, max_in_flight=12)
    jobs = [{"id": f"j{number}", "prompt": f"picture {number}"} for number in range(120)]
    report = await narrow.run(narrow.manifest(*jobs, concurrency="auto"))
    assert (report.done, report.exit_code) == (120, 0)
    assert narrow.submissions - 120 < 24


async def test_a_rerun_of_a_finished_batch_submits_nothing(service):
    """Repeating a finished command costs nothing and says that all was done before."""
    await service.run(jobs=3)
    lines = service.lines()
    report = await service.run(jobs=3)
    assert (report.skipped, report.done, report.exit_code, report.cost_usd) == (3, 0, 0, 0)
    assert report.spent_usd == pytest.approx(3 * 0.0045)
    assert service.submissions == 3
    assert service.lines() == lines


async def test_models_with_several_or_nested_outputs_deliver_every_file(service):
    """`images`, nested URIs and videos are delivered the same way; the extension follows the bytes."""
    report = await service.run(
        service.manifest(
            {"id": "sheet", "model": "emulator/contact-sheet/text-to-image", "prompt": "x", "count": 3},
            {"id": "nest", "model": "emulator/nested/text-to-image", "prompt": "x"},
            {"id": "clip", "model": "emulator/clip/text-to-video", "prompt": "x"},
            defaults={},
        )
    )
    assert report.exit_code == 0
    assert service.files() == ["clip.mp4", "nest.png", "sheet-2.png", "sheet-3.png", "sheet.png"]


async def test_only_and_limit_choose_jobs_in_the_manifests_order(service):
    """`--only` filters by id, `--limit` takes the first of those, and repeating buys nothing."""
    manifest = service.manifest(*plain(5))
    report = await service.run(manifest, only="[b-e]", limit=2)
    assert (report.total, report.done) == (2, 2)
    assert service.files() == ["b.png", "c.png"]
    assert (await service.run(manifest, only="[b-e]", limit=2)).skipped == 2


class Meddling(list):
    """An observer that meddles as soon as something was submitted."""

    def __init__(self, meddle):
        self._meddle = meddle
        super().__init__()

    def append(self, record):
        super().append(record)
        if record.state is State.SUBMITTED and self._meddle is not None:
            self._meddle()
            self._meddle = None


OTHER = "id,prompt\nj1,other\nj2,other\nextra,other\n"


@pytest.mark.parametrize("how", ["replaced", "truncated", "deleted"])
async def test_a_feed_that_changes_while_the_run_goes_on_changes_nothing(service, how):
    """What was checked is what is sent, to the last row, whatever becomes of the file after the first submission."""
    feed, new = service.folder / "feed.csv", service.folder / "new.csv"
    rows = [f"j{n},picture {n} {'é' * 2000}" for n in range(12)]
    feed.write_text("\n".join(["id,prompt", *rows]) + "\n")
    new.write_text(OTHER)
    ways = {"replaced": lambda: new.replace(feed), "truncated": lambda: feed.write_text(""), "deleted": feed.unlink}
    service.seen = Meddling(ways[how])
    report = await service.run(service.manifest({"from": "feed.csv"}, concurrency=1))
    assert (report.done, report.total, report.exit_code) == (12, 12, 0)
    sent = [f"{record.id},{record.inputs['prompt']}" for record in service.seen if record.state is State.SUBMITTED]
    assert sent == rows
    assert sorted(r["input"]["prompt"] for r in service.emulator.requests) == sorted(r.partition(",")[2] for r in rows)


async def test_a_rate_spaces_the_submissions(service):
    """`rate: 2/s` leaves half a second between any two submissions."""
    await service.run(service.manifest(*plain(5), rate="2/s", concurrency=5))
    created = sorted(epoch(record.submitted_at) for record in service.lines())
    assert len(created) == 5
    assert all(later - earlier >= 0.499 for earlier, later in pairwise(created))


async def test_an_observer_that_raises_ends_the_run_gently_and_loses_nothing(service):
    """What is in flight is downloaded, nothing is left in doubt, and the caller gets the exception."""

    def observer(record: Record) -> None:
        if record.state is State.SUBMITTED:
            raise ValueError("a mistake of the program")

    manifest = service.manifest(*plain(6), concurrency=2)
    with pytest.raises(ValueError, match="a mistake of the program"):
        await operations.run(manifest, observer=observer, clock=LoopClock(), environ=service.environ)
    bought = service.submissions
    assert {service.record(line.id).state for line in service.lines()} <= {State.DONE, State.RELEASED}
    assert 1 <= bought <= 2
    report = await service.run(service.manifest(*plain(6), concurrency=2))
    assert (report.done + bought, report.unknown, service.submissions) == (6, 0, 6)
