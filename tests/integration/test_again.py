"""Delivering again what was done: the count that is told and the state that is recorded agree."""

from __future__ import annotations

import pytest

from runner.core.models import State

pytestmark = pytest.mark.anyio


def mug(prompt: str = "a mug", **more: object) -> dict[str, object]:
    return {"id": "mug", "prompt": prompt, **more}


async def test_what_cannot_be_renamed_after_all_is_owed_in_the_record_and_in_the_count(service):
    """A file appears in the way after `generated` was written: owed, with its error; the next run delivers it."""
    await service.run(service.manifest(mug()))
    (service.output / "mug.png").unlink()
    results = service.output / "results.jsonl"
    before = results.stat().st_size

    def intrude(record) -> None:
        if record.state is State.GENERATED:
            (service.output / "mug.png").write_bytes(b"somebody's")

    service.seen = Watch(intrude)
    report = await service.run(service.manifest(mug()))
    assert results.stat().st_size > before
    assert (report.owed, report.missing, report.exit_code) == (1, 0, 75)
    assert (service.record("mug").state, service.record("mug").error.code) == (State.GENERATED, "file_in_the_way")
    assert [record.state for record in report.examples] == [State.GENERATED]
    service.seen = []
    (service.output / "mug.png").unlink()
    report = await service.run(service.manifest(mug()))
    assert (report.done, report.exit_code, service.submissions) == (1, 0, 1)


class Watch(list):
    """A list of records that does something at each."""

    def __init__(self, act) -> None:
        super().__init__()
        self.act = act

    def append(self, record) -> None:
        super().append(record)
        self.act(record)


async def test_files_set_aside_under_an_old_name_are_taken_back_without_a_download(service):
    """Changed, renamed, edited back: the first picture lies under the old id's folder and is found there."""
    await service.run(service.manifest(mug()))
    first = (service.output / "mug.png").read_bytes()
    await service.run(service.manifest(mug("a green mug")))
    await service.run(service.manifest({**mug("a green mug"), "id": "cup"}))
    assert ".replaced/mug/1/mug.png" in service.files()
    served = service.emulator.stats["calls"]["file"]
    report = await service.run(service.manifest({**mug(), "id": "cup"}))
    assert (report.skipped, service.submissions) == (1, 2)
    assert service.emulator.stats["calls"]["file"] == served
    assert (service.output / "cup.png").read_bytes() == first
    assert ".replaced/mug/1/mug.png" not in service.files()
