"""A folder is killed at every step of being split into shards, and of being merged again: it is one or the other.

Whatever comes next, the same command, a plain run or another number of shards, knows of every purchase: in the end each
job was bought once, and everything that was paid is there.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from runner.ledger import look

if TYPE_CHECKING:
    from conftest import Bench, Place

OLD = [{"id": f"old-{number}", "prompt": f"old {number}"} for number in range(4)]
MOST = 200


def start(place: Place) -> None:
    """Some jobs are done, some are paid and not fetched; one was renamed."""
    place.write([OLD[0], {**OLD[1], "id": "was-1"}])
    assert place.run()["exit"] == 0
    place.write(OLD)
    assert place.run(("record", 4, "kill"))["killed"]


def finish(place: Place) -> None:
    """Whatever way the folder is: run what there is, merge, run."""
    for shard in look(place.output).shards:
        assert place.run(shard=str(shard))["exit"] in (0, 2), place.runs
    assert place.run(merge=True)["exit"] == 0, place.runs
    assert place.run()["exit"] in (0, 2), place.runs


class Case:
    """The start, prepared once, and each time a copy of it."""

    def __init__(self, bench: Bench, place: Callable[[str], Place]) -> None:
        self.bench = bench
        self.start = place("start")
        self.start.folder.mkdir()
        self.sold: list[dict[str, Any]] = []
        before = len(bench.requests())
        start(self.start)
        self.sold = bench.requests()[before:]
        self.number = 0

    def survives(self, commands: list[tuple[dict[str, Any], int]]) -> bool:
        """Do each command, killed at its disk step; then finish and check. Whether none was killed."""
        self.number += 1
        place = self.start.copy(self.start.folder.parent / str(self.number))
        jobs = [*OLD, *({"id": f"new-{n}", "prompt": f"{place.folder} {n}"} for n in range(4))]
        place.write(jobs, concurrency=4)
        before = len(self.bench.requests())
        killed = False
        for command, step in commands:
            killed |= place.run(("disk", step, "kill") if step else None, **command)["killed"]
        finish(place)
        sold = self.bench.requests()[before:]
        times = Counter(request["input"]["prompt"] for request in [*self.sold, *sold])
        unknown = {record.id for record in place.purchases() if record.state == "unknown"}
        for job in jobs:
            assert times[job["prompt"]] == 1 or (job["id"] in unknown and not times[job["prompt"]]), place.runs
        place.check([*self.sold, *sold], jobs)
        place.check_in_force(jobs)
        return not killed


NEXT: dict[str, list[tuple[dict[str, Any], int]]] = {
    "the same": [({"shard": "2/3"}, 0)],
    "a plain run": [({}, 0)],
    "another number": [({"shard": "1/2"}, 0)],
    "a merge": [({"merge": True}, 0)],
}


def kill_each(case: Case, command: dict[str, Any], before: list[Any], after: list[Any], steps: range) -> int:
    for step in steps:
        if case.survives([*before, (command, step), *after]):
            return step
    return steps.stop


@pytest.fixture
def case(bench: Bench, place: Callable[[str], Place]) -> Case:
    return Case(bench, place)


CASES = [
    pytest.param(after, stride, marks=() if stride == 31 and after in ("the same", "a merge") else pytest.mark.slow)
    for after in NEXT
    for stride in (31, 7)
]
"""What comes next, and of how many steps a test takes one, others for each; the soak test takes every one."""
SPLITTING = 34
"""Disk steps from the beginning of a shard's run to beyond the end of the split."""


@pytest.mark.parametrize(("after", "stride"), CASES)
def test_killed_while_splitting(case: Case, after: str, stride: int) -> None:
    """The folder stays whole, or is split: what comes next goes on from there."""
    first = (1 + list(NEXT).index(after)) * stride // 7
    kill_each(case, {"shard": "2/3"}, [], NEXT[after], range(first, SPLITTING, stride))


@pytest.mark.slow
@pytest.mark.parametrize(("after", "stride"), CASES)
def test_killed_while_merging(case: Case, after: str, stride: int) -> None:
    """The same, the other way."""
    first = (1 + list(NEXT).index(after)) * stride // 7
    kill_each(case, {"merge": True}, [({"shard": "2/3"}, 0)], NEXT[after], range(first, MOST, stride))


@pytest.mark.soak
@pytest.mark.parametrize("after", NEXT)
def test_killed_at_every_step(case: Case, after: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Each step of a shard's run, of a merge, and of the same again."""
    again = NEXT[after]
    counts = [
        kill_each(case, {"shard": "2/3"}, [], again, range(1, MOST)),
        kill_each(case, {"merge": True}, [({"shard": "2/3"}, 0)], again, range(1, MOST)),
    ]
    with capfd.disabled():
        sys.stdout.write(f" {after}: {sum(counts)} kill points\n")
