"""Memory follows the concurrency and not the length of the batch: what one more job adds is small and fixed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.material import FLAT, FOLDERS, write_done, write_feed

import runner
from runner.engine.config import RunConfig
from runner.engine.options import RunOptions
from runner.ledger import Log, open_reader
from runner.planning.conflicts import MAX_CONFLICTS
from runner.planning.rules import Action
from runner.planning.survey import survey

API = "http://127.0.0.1:9/v1"
JOBS = 500


def held_per_job(make: Callable[[int], Callable[[], object]]) -> float:
    """Bytes that what is made by the work which ``make`` prepares holds for each further job."""
    less, more = make(JOBS), make(2 * JOBS)
    less()  # whatever is loaded once is loaded
    return (held(more) - held(less)) / JOBS


def held(work: Callable[[], object]) -> int:
    """Bytes of what ``work`` makes that ``runner`` asked for; Python's own tables grow when they like."""
    tracemalloc.start()
    made = work()
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, f"{Path(runner.__file__).parent}/*")])
    tracemalloc.stop()
    del made
    return sum(trace.size for trace in ours.traces)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a folder with a feed of so many rows."""

    def make(rows: int) -> Path:
        (made := tmp_path / str(rows)).mkdir()
        write_feed(made, rows)
        return made

    return make


def look(manifest: Path, actions: set[Action]) -> object:
    """What ``plan`` does, in this process; all that it holds in the end."""
    loaded = runner.load(manifest)
    config = RunConfig.resolve(loaded, RunOptions(api=API), {})
    with open_reader(config.folder.root) as ledger:
        planner = config.planner(loaded.jobs, ledger)
        return planner, survey(planner, loaded.jobs, lambda _, decision: actions.add(decision.action))


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "limit"), [(FLAT, 50), (FOLDERS, 130)])
def test_a_job_of_a_feed_leaves_a_few_bytes(folder: Callable[[int], Path], layout: str, limit: int) -> None:
    """Its id, and file and folder if it has its own, each as a digest: the job itself waits on disk."""

    def prepare(jobs: int) -> Callable[[], object]:
        manifest = folder(jobs) / f"{layout}.yaml"
        return lambda: runner.load(manifest)

    assert held_per_job(prepare) < limit


@pytest.mark.slow
def test_a_purchase_on_record_leaves_a_few_bytes(folder: Callable[[int], Path]) -> None:
    """A results manifest is not read into memory; the place of each purchase's last line is."""

    def prepare(jobs: int) -> Callable[[], object]:
        manifest = folder(jobs) / "flat.yaml"
        write_done(manifest, API)
        return lambda: Log(manifest.with_suffix("") / "results.jsonl", writable=False)

    assert held_per_job(prepare) < 80


@pytest.mark.parametrize(
    ("edit", "action", "limit"),
    [
        ("done", Action.REUSE, 180),
        pytest.param("renamed", Action.REUSE, 320, marks=pytest.mark.slow),
        pytest.param("gone", Action.DELIVER, 180, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_plan_streams(folder: Callable[[int], Path], edit: str, action: Action, limit: int) -> None:
    """Whatever became of a million jobs since they were done, a plan holds none of them."""
    actions = set[Action]()

    def prepare(jobs: int) -> Callable[[], object]:
        manifest = folder(jobs) / "folders.yaml"
        write_done(manifest, API)
        if edit == "renamed":
            text = manifest.read_text(encoding="utf-8")
            manifest.write_text(text.replace('id: "{{ sku }}"', 'id: "new-{{ sku }}"'), encoding="utf-8")
        if edit == "gone":
            (manifest.parent / "shared" / "front.png").unlink()
        return lambda: look(manifest, actions)

    assert held_per_job(prepare) < limit
    assert actions == {action}


def test_a_great_many_files_in_the_way_are_told_in_part(folder: Callable[[int], Path]) -> None:
    """A thousand are named, the others counted: nobody reads a million lines, and nothing is bought anyway."""
    manifest = folder(MAX_CONFLICTS + 5) / "flat.yaml"
    (manifest.parent / "flat").mkdir()
    for number in range(MAX_CONFLICTS + 5):
        (manifest.parent / "flat" / f"sku-{number:08}.png").touch()
    with pytest.raises(runner.ConflictError) as caught:
        look(manifest, set())
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("sku-00000000.png is in the way of job sku-00000000 and is not from runner")
    assert (len(lines), lines[-2:]) == (MAX_CONFLICTS + 2, ["… and 5 more", "Nothing was bought."])
