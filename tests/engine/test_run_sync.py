"""A run from a program without an event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import runner

BATCH = """
model: blackforestlabs/flux-2-klein/4b/text-to-image
defaults: {width: 64, height: 64}
jobs:
  - {id: mug, prompt: A mug}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> runner.Manifest:
    path = tmp_path / "batch.yaml"
    path.write_text(BATCH)
    return runner.load(path)


def test_a_batch_runs_without_an_event_loop(manifest: runner.Manifest, tmp_path: Path) -> None:
    """The report and the records are those of ``run``, and the picture is in its place."""
    seen: list[runner.Record] = []
    report = runner.run_sync(manifest, runner.RunOptions(emulator=True), observer=seen.append)
    assert (report.exit_code, report.done) == (0, 1)
    assert seen[-1].state is runner.State.DONE
    assert [path.name for path in (tmp_path / "output").rglob("mug.*")] == ["mug.png"]


def test_inside_a_loop_it_names_what_works_there(manifest: runner.Manifest, tmp_path: Path) -> None:
    """Nothing is submitted, and the message says what to write."""

    async def notebook() -> None:
        runner.run_sync(manifest, runner.RunOptions(emulator=True))

    with pytest.raises(runner.UsageError, match=r"await runner\.run"):
        asyncio.run(notebook())
    manifest.jobs.close()
    assert not (tmp_path / "output").exists()
