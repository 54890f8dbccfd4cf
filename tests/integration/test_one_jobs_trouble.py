"""One job's trouble is one job's: an exception that nobody foresaw is recorded, and the other jobs go on."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from PIL import Image
from support.harness import plain
from support.media import inspect_bytes

from runner.api.client import Api
from runner.core.models import INTERNAL, State
from runner.emulator import InjectedFault
from runner.engine.steps import fetch_output
from runner.files import download
from runner.files.output_folder import Folder

pytestmark = pytest.mark.anyio

SHELF = "a drawing of a shelf"


def breaks(call: Callable[..., Any], about: Callable[..., bool]) -> Callable[..., Any]:
    """``call``, which raises what no code of the runner's expects where its arguments are about the job ``bad``."""

    @wraps(call)
    def broken(*arguments: Any, **named: Any) -> Any:
        if about(*arguments, **named):
            raise LookupError(SHELF)
        return call(*arguments, **named)

    return broken


class OfBad:
    """Which arguments are about the job ``bad``, once its request and files are known."""

    def __init__(self, service: Any) -> None:
        self._service = service

    def prompt(self, _api: Any, _model: str, inputs: dict[str, Any], *_others: Any, **_: Any) -> bool:
        return inputs["prompt"] == "bad"

    def request(self, _api: Any, request_id: str, **_: Any) -> bool:
        return request_id in {record.request_id for record in self._service.purchases("bad")}

    def record(self, _self: Any, record: Any, *_others: Any, **_: Any) -> bool:
        return record.id == "bad"

    def url(self, _client: Any, url: str, *_others: Any, **_: Any) -> bool:
        return any(output.url == url for record in self._service.purchases("bad") for output in record.outputs)


STEPS = {
    "submitting": (Api, "submit", "prompt", State.UNKNOWN),
    "polling": (Api, "result", "request", State.SUBMITTED),
    "downloading": (fetch_output, "download", "url", State.GENERATED),
    "looking for files in the way": (Folder, "occupied", "record", State.GENERATED),
    "giving files their names": (Folder, "place", "record", State.GENERATED),
}


@pytest.mark.parametrize(("owner", "name", "about", "state"), STEPS.values(), ids=STEPS)
async def test_an_unforeseen_exception_in_a_step_is_recorded_and_the_others_go_on(
    service, monkeypatch, owner, name, about, state
):
    """Exit 70, the exception and its place in the record, nothing lost; five of six jobs are done."""
    jobs = [*plain(5), {"id": "bad", "prompt": "bad"}]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaks(getattr(owner, name), getattr(OfBad(service), about)))
        report = await service.run(service.manifest(*jobs))
    assert (report.done, report.exit_code) == (5, 70)
    record = service.record("bad")
    assert (record.state, record.error.code) == (state, INTERNAL)
    assert f"LookupError: {SHELF}" in record.error.message
    assert ".py:" in record.error.message


@pytest.mark.parametrize("step", ["polling", "downloading", "looking for files in the way", "giving files their names"])
async def test_what_a_bug_left_owed_is_fetched_by_a_run_without_it(service, monkeypatch, step):
    """The purchase is not lost and not bought again, whichever step met the bug."""
    owner, name, about, _ = STEPS[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaks(getattr(owner, name), getattr(OfBad(service), about)))
        await service.run(service.manifest({"id": "bad", "prompt": "bad"}))
    report = await service.run(service.manifest({"id": "bad", "prompt": "bad"}))
    assert (report.done, report.exit_code, service.submissions) == (1, 0, 1)
    assert service.files() == ["bad.png"]


async def test_a_submission_that_met_a_bug_is_held(service, monkeypatch):
    """It may have been bought: the next run does not buy it again."""
    with monkeypatch.context() as patch:
        patch.setattr(Api, "submit", breaks(Api.submit, lambda *_: True))
        await service.run(jobs=1)
    report = await service.run(jobs=1)
    assert (report.unknown, report.exit_code, service.submissions) == (1, 2, 0)


async def test_an_answer_that_is_read_at_the_second_look_is_no_bug(service, monkeypatch):
    """A request is polled again after an unforeseen exception, a few times."""
    calls: list[str] = []

    def first(_api: Any, request_id: str) -> bool:
        calls.append(request_id)
        return len(calls) == 1

    with monkeypatch.context() as patch:
        patch.setattr(Api, "result", breaks(Api.result, first))
        report = await service.run(jobs=1)
    assert (report.done, report.exit_code) == (1, 0)


def mpo() -> bytes:
    """A JPEG as cameras and some services write it: with an MPF segment and a second picture."""
    file = io.BytesIO()
    first, second = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    first.save(file, "MPO", save_all=True, append_images=[second])
    return file.getvalue()


def test_a_jpeg_with_an_mpf_segment_is_a_jpeg():
    """Pillow calls it MPO; it is a JPEG to everybody else."""
    media = inspect_bytes(mpo())
    assert (media.media_type, media.extension, media.width) == ("image/jpeg", "jpg", 64)


async def test_a_decoder_that_fails_costs_its_own_job_only(service, monkeypatch):
    """Whatever a check of the bytes raises, the purchase stays owed and the others are done."""
    service.fault(InjectedFault(on="file", kind="slow", seconds=0.0))
    seen: list[bytes] = []

    def first(body: bytes, *_rest: Any, **_more: Any) -> bool:
        seen.append(body)
        return len(seen) == 1

    with monkeypatch.context() as patch:
        patch.setattr(download, "inspect", breaks(download.inspect, first))
        report = await service.run(jobs=3)
    assert (report.done, report.owed, report.exit_code) == (2, 1, 70)
