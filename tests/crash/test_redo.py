"""A redo is killed after every record that it writes, and the same command buys each chosen job once all the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.core.models import Record, State
from runner.ledger.records import decode

if TYPE_CHECKING:
    from conftest import Bench

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
JOBS = 2


class Folder:
    """A manifest and its results."""

    def __init__(self, bench: Bench, home: Path) -> None:
        self.bench, self.home = bench, home

    def copy(self, target: Path) -> Folder:
        shutil.copytree(self.home, target)
        return Folder(self.bench, target)

    def run(self, kill_at: int = 0, *, redo: bool = True) -> int | None:
        """The report's exit code; None for a run that was killed."""
        trap = ("record", kill_at, "kill") if kill_at else None
        ended = self.bench.run(self.home / "batch.yaml", self.home / "out", trap, redo=redo)
        assert ended["exit"] != 70, ended["said"]
        return None if ended["killed"] else int(ended["exit"])

    def lines(self) -> list[Record]:
        return [decode(line) for line in (self.home / "out" / "results.jsonl").read_bytes().splitlines()]

    @property
    def over(self) -> bool:
        """Whether the redo ended: its closing line is the last thing that it writes."""
        return any(record.redo_closed for record in self.lines())

    def sold(self) -> list[int]:
        """How often the service has sold each job, in all folders."""
        prompts = [request["input"]["prompt"] for request in self.bench.requests()]
        return [prompts.count(f"picture {number}") for number in range(JOBS)]

    def unknown(self) -> list[int]:
        """How many purchases of each job are in doubt."""
        last = {(record.id, record.purchase): record for record in self.lines()}
        doubts = [record.id for record in last.values() if record.state is State.UNKNOWN]
        return [doubts.count(f"job-{number}") for number in range(JOBS)]


@pytest.fixture(scope="module")
def done(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder whose jobs are done."""
    folder = Folder(bench, tmp_path_factory.mktemp("done"))
    jobs = [{"id": f"job-{number}", "prompt": f"picture {number}"} for number in range(JOBS)]
    size = {"width": 64, "height": 64}
    document = {"model": KLEIN, "concurrency": 2, "output": "out", "defaults": size, "jobs": jobs}
    (folder.home / "batch.yaml").write_text(json.dumps(document))
    assert folder.run(redo=False) == 0
    return folder


def check(folder: Folder, before: list[int], code: int) -> None:
    """The redo sold each job once; where that is not certain, it is held."""
    for sold, earlier, unknown in zip(folder.sold(), before, folder.unknown(), strict=True):
        assert 1 - unknown <= sold - earlier <= 1
    assert code == (2 if any(folder.unknown()) else 0)
    assert folder.over or any(folder.unknown())


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_a_redo_killed_at_a_record(done: Folder, tmp_path: Path, step: int) -> None:
    """Killed after its n-th record, for every n (soak): the same command again buys each chosen job exactly once."""
    for number in range(1, 60, step):
        folder, before = done.copy(tmp_path / str(number)), done.sold()
        code = folder.run(number)
        if code is not None:
            check(folder, before, code)
            return
        code = folder.run(redo=not folder.over)  # after its last line it is over: what follows would be a new one
        assert code is not None
        check(folder, before, code)
    raise AssertionError("the redo never came to its end")


@pytest.mark.parametrize("every", [2, *(pytest.param(every, marks=pytest.mark.slow) for every in (1, 3))])
def test_a_redo_killed_over_and_over(done: Folder, tmp_path: Path, every: int) -> None:
    """Killed after every few records until it is through: still each chosen job is bought exactly once."""
    folder, before, code = done.copy(tmp_path / "folder"), done.sold(), None
    for _ in range(30):
        code = folder.run(every)
        if code is not None or folder.over:
            break
    code = folder.run(redo=False) if code is None else code
    assert code is not None
    check(folder, before, code)
