"""Broken manifests and feeds: for each, the exact text that a person sees.

Every ``broken/THEME/CASE.txt`` is what the command line prints of the manifest beside it, called from its folder.
After a change that is meant,

    REWRITE_GOLDEN=1 pytest tests/manifest/test_broken.py

writes every text anew, and that of a new case for the first time; ``git diff`` shows what has become of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.broken_manifests import BROKEN, CASES, WRITTEN, golden, told
from support.examples import examples

from runner.cli.console import show_error
from runner.core.errors import ManifestError
from runner.core.models import Position
from runner.manifest import load

KLEIN_ID = "blackforestlabs/flux-2-klein/4b/text-to-image"


@pytest.mark.parametrize("case", CASES)
def test_a_broken_manifest_is_told_exactly_so(case: str) -> None:
    """Every fault has its place, what is wrong, and what would be right; none is told as a traceback."""
    if os.environ.get("REWRITE_GOLDEN"):
        golden(case).write_text(told(case), encoding="utf-8")
    assert told(case) == golden(case).read_text(encoding="utf-8")


def test_ten_thousand_faults_are_kept_and_all_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A giant that is wrong everywhere fills neither the memory nor the screen, and its faults are counted."""
    with pytest.raises(ManifestError) as caught:
        load("-", text=b"model: a/b\njobs:\n" + b"- x\n" * 10_003)
    assert len(caught.value.problems) == 10_000
    show_error(caught.value)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 201
    assert lines[-1] == "runner: 10,003 problems in the manifest, 200 of them shown; nothing was bought"


def test_no_text_is_left_behind() -> None:
    """Every expected text belongs to a case."""
    assert sorted(path.relative_to(BROKEN) for path in BROKEN.glob("*/*.txt")) == sorted(
        golden(case).relative_to(BROKEN) for case in CASES
    )


SEEDS = [path.read_bytes() for path in WRITTEN if path.stat().st_size < 8000]
FEEDS = [path for path in BROKEN.glob("*/*/*") if path.stat().st_size < 8000]
PIECES = (
    b".\n. .  .\t.- .: .#.'.\".{.}.[.].{{.}}.{%.&a .*a.!.|.%.<<.,.;.\r.\0.\xff.\xc3\xa9.null.012.999999999999999999999"
).split(b".")


@st.composite
def mutated(draw: st.DrawFn, seed: bytes) -> bytes:
    """``seed`` with bytes deleted, inserted or replaced, and lines moved or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            start, length = draw(st.integers(0, len(seed))), draw(st.integers(0, 12))
            seed = seed[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + seed[start + length :]
        else:
            lines = seed.splitlines(keepends=True) or [b""]
            moved = draw(st.sampled_from(lines))
            if draw(st.booleans()):
                lines.remove(moved)
            lines.insert(draw(st.integers(0, len(lines))), moved)
            seed = b"".join(lines)
    return seed


def check_is_told(manifest: bytes, files: dict[str, bytes]) -> None:
    """Load; everything that is said has a place that is there, and is one line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.manifest.loader.MAX_JOBS", 1000)
        try:
            loaded = load("-", text=manifest)
            loaded.jobs.close()
            problems = loaded.warnings
        except ManifestError as error:
            problems = error.problems
            assert problems
    for problem in problems:
        check_place(problem.place, {"-": manifest, **files}[problem.place.source])
        assert len(str(problem).splitlines()) == 1


def check_place(place: Position, data: bytes) -> None:
    if place.line:
        line = re.split(r"\r\n|\r|\n", data.decode("utf-8-sig", errors="replace"))[place.line - 1]
        assert 1 <= place.column <= len(line) + 1


@settings(max_examples=examples(200), deadline=None)
@given(st.sampled_from(SEEDS).flatmap(mutated))
def test_any_change_to_a_broken_manifest_is_jobs_or_told(manifest: bytes) -> None:
    """However a manifest is broken, the answer is jobs, or faults that each have a place inside the file."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        check_is_told(manifest, {})


ENTRIES = ['{from: %s, id: "{{ sku }}", prompt: "a {{ name }}"}', "{from: %s}"]


@settings(max_examples=examples(200), deadline=None)
@given(st.data(), st.sampled_from(FEEDS), st.sampled_from(ENTRIES), st.sampled_from(["stop", "skip"]))
def test_any_change_to_a_broken_feed_is_jobs_or_told(data: st.DataObject, feed: Path, entry: str, policy: str) -> None:
    """Nor does any feed end in a traceback, or in a place that is not there."""
    changed = data.draw(mutated(feed.read_bytes()))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(feed.name).write_bytes(changed)
        manifest = f"on_bad_row: {policy}\nmodel: {KLEIN_ID}\njobs:\n- {entry % feed.name}\n"
        check_is_told(manifest.encode(), {feed.name: changed})
