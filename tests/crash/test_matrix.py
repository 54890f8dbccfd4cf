"""The process is killed at every step of a run, and the same command run again loses nothing and buys nothing twice.

A step is a durable record, an operation on a file below the output folder (half a write too), or the arrival of an
answer that is never read. ``driver.py`` kills itself with SIGKILL there; the service lives on. Each scenario is what a
folder held before the command, and the command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Bench, Place, Trap

Jobs = list[dict[str, Any]]

MOST = 400
"""A run of so few jobs has fewer steps."""


def job(job_id: str, prompt: str, **more: object) -> dict[str, Any]:
    return {"id": job_id, "prompt": prompt, **more}


def sheet(job_id: str, prompt: str) -> dict[str, Any]:
    """A job with two outputs."""
    return {"id": job_id, "prompt": prompt, "model": "emulator/contact-sheet/text-to-image", "count": 2}


def kit(job_id: str, prompt: str) -> dict[str, Any]:
    """A job with outputs of three kinds, the second of which is not to be had for ``lacking`` ones."""
    return {"id": job_id, "prompt": prompt, "model": "emulator/kit/text-to-image"}


def caption(job_id: str, prompt: str) -> dict[str, Any]:
    """A job whose result is a text inside the answer."""
    return {"id": job_id, "prompt": prompt, "model": "emulator/caption/image-to-text"}


PHOTOS = Path(__file__).parents[2] / "jobs/photos"


def edit(job_id: str, prompt: str, photo: str) -> dict[str, Any]:
    """A job that sends a photo of this machine."""
    return {
        "id": job_id, "prompt": prompt, "model": "emulator/edit/image-to-image", "image_url": str(PHOTOS / photo)
    }  # fmt: skip


def published(job: dict[str, Any], **more: object) -> dict[str, Any]:
    """A job with two copies and a sidecar."""
    web = {"file": "web/{{ job.id }}.jpg", "fit": "32x32", "label": "ai", **more}
    return {**job, "copies": [web, {"file": "thumb/{{ job.id }}.webp", "fit": "16x16"}], "sidecar": "json"}


def nothing(_: Place) -> None:
    """The folder does not exist."""


def bought(*jobs: dict[str, Any]) -> Callable[[Place], None]:
    """A run of ``jobs`` went well."""

    def prepare(place: Place) -> None:
        place.write(jobs)
        assert place.run()["exit"] == 0

    return prepare


def killed_owing(*jobs: dict[str, Any]) -> Callable[[Place], None]:
    """A run of ``jobs`` was killed as soon as each had its request id."""

    def prepare(place: Place) -> None:
        place.write(jobs)
        assert place.run(("record", 2 * len(jobs), "kill"))["killed"]

    return prepare


def with_files_gone(place: Place) -> None:
    bought(*PAIR)(place)
    for name in ("a.png", "b-2.png"):
        (place.output / name).unlink()


def edited_there(place: Place) -> None:
    """Bought, edited, bought again."""
    bought(*PAIR)(place)
    bought(job("a", "one, green"), sheet("b", "two, green"))(place)


PAIR = (job("a", "one"), sheet("b", "two"))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What was there, what the manifest says now, how many purchases that is, and the exit code without a crash."""

    before: Callable[[Place], None]
    jobs: Callable[[str], Jobs]
    """The jobs of the command; the tag makes prompts unlike those of any other run."""
    buys: int
    exit_code: int = 0


SCENARIOS = {
    "fresh": Scenario(
        before=nothing, jobs=lambda tag: [job("a", f"{tag} one"), sheet("b", f"{tag} two"), job("c", tag)], buys=3
    ),
    "refusals and failures": Scenario(
        before=nothing,
        jobs=lambda tag: [
            job("a", f"{tag} busy"),
            job("b", f"{tag} refused"),
            job("c", f"{tag} fails"),
            job("d", f"{tag} strained torn"),
        ],
        buys=3,
        exit_code=1,
    ),
    "owed": Scenario(before=killed_owing(*PAIR), jobs=lambda tag: [*PAIR, job("c", tag)], buys=1),
    "owed, changed since": Scenario(
        before=killed_owing(*PAIR), jobs=lambda tag: [job("a", f"{tag} one"), PAIR[1]], buys=1
    ),
    "changed": Scenario(before=bought(*PAIR), jobs=lambda tag: [job("a", f"{tag} 1"), sheet("b", f"{tag} 2")], buys=2),
    "edited back": Scenario(before=edited_there, jobs=lambda _: [*PAIR], buys=0),
    "renamed jobs": Scenario(
        before=edited_there, jobs=lambda _: [job("c", "one, green"), sheet("d", "two, green")], buys=0
    ),
    "renamed files": Scenario(
        before=bought(*PAIR), jobs=lambda _: [{**PAIR[0], "file": "x/a"}, {**PAIR[1], "file": "x/b"}], buys=0
    ),
    "files gone": Scenario(before=with_files_gone, jobs=lambda tag: [*PAIR, job("c", tag)], buys=1),
    "an output that cannot be had": Scenario(
        before=bought(job("a", "one")), jobs=lambda tag: [kit("a", f"{tag} lacking"), caption("b", tag)], buys=2
    ),
    "copies": Scenario(
        before=bought(published(PAIR[0]), published(PAIR[1]), published(job("d", "four"))),
        jobs=lambda tag: [
            published(job("a", f"{tag} one")),
            published(PAIR[1], quality=30),
            published(job("c", tag)),
            published(job("d", "four")),
        ],
        buys=2,
    ),
    "photos": Scenario(
        before=bought(job("a", "one")),
        jobs=lambda tag: [edit("a", f"{tag} busy", "mug.jpg"), edit("b", tag, "vase.jpg")],
        buys=2,
    ),
}


class Case:
    """One scenario, prepared once and run from there as often as it has steps."""

    def __init__(self, bench: Bench, home: Path, scenario: Scenario, place: Callable[[str], Place]) -> None:
        self.bench, self.home, self.scenario, self.points = bench, home, scenario, 0
        self.recovery_killed = False
        self.start = place("start")
        self.start.folder.mkdir()
        before = len(bench.requests())
        scenario.before(self.start)
        self.sold_before = bench.requests()[before:]

    def survives(self, *traps: Trap) -> bool:
        """Run until each trap in turn has sprung, then to the end, and check; whether the first trap never sprang."""
        self.points += 1
        tag = f"{self.home.name} {self.points}"
        place = self.start.copy(self.home / str(self.points))
        jobs = self.scenario.jobs(tag)
        place.write(jobs)
        before = len(self.bench.requests())
        first = place.run(traps[0])
        for trap in traps[1:] if first["killed"] else ():
            self.recovery_killed = place.run(trap)["killed"]
        made = place.copies()
        last = place.run() if place.runs[-1]["killed"] else place.runs[-1]
        sold = self.bench.requests()[before:]
        self._check(place, jobs, sold, last)
        if self.scenario is SCENARIOS["copies"]:
            self._check_copies(place, jobs, made)
        return not first["killed"]

    def _check_copies(self, place: Place, jobs: Jobs, made: dict[Path, tuple[str, int]]) -> None:
        """Every copy is there, and none that was as it is now when the process died was made again."""
        done = {record.id: record for record in place.purchases() if record.state == "done"}
        for one in jobs:
            record = done.get(one["id"])
            assert record is None or len(record.copies) == 3 * len(record.outputs), f"{one['id']} lacks a copy"
        now = place.copies()
        again = [path for path, (digest, number) in made.items() if now[path][0] == digest and now[path][1] != number]
        assert again == [], "a copy was made twice"
        assert "copies" not in place.run()["report"], "something was made a second time"

    def _check(self, place: Place, jobs: Jobs, sold: list[dict[str, Any]], last: dict[str, Any]) -> None:
        story = "\n".join(map(str, place.runs))
        unknown = sum(record.state == "unknown" for record in place.purchases())
        assert len(sold) <= self.scenario.buys, story
        assert len(sold) >= self.scenario.buys - unknown, story
        assert last["exit"] == (2 if unknown else self.scenario.exit_code), story
        place.check([*self.sold_before, *sold], jobs)
        place.check_in_force(jobs)


@pytest.fixture
def case(bench: Bench, tmp_path: Path, place: Callable[[str], Place]) -> Callable[[str], Case]:
    return lambda name: Case(bench, tmp_path, SCENARIOS[name], place)


def steps(matrix: Case, kind: str, first: int, stride: int, *, again: bool) -> int:
    """Kill at each step from ``first`` on until one is beyond the end of the run; how many there were."""
    for number in range(first, MOST, stride):
        traps = [(kind, number, "kill")] * (2 if again else 1)
        if matrix.survives(*traps):
            return matrix.points - 1
    pytest.fail("the run never came to its end")


STRIDES = {"record": 1, "answer": 3, "half": 9, "disk": 23}
"""Of how many steps of a kind a test takes one, each scenario others; the soak test takes every one."""
SAMPLE = {
    "fresh": "record",
    "refusals and failures": "answer",
    "owed": "half",
    "edited back": "disk",
    "renamed jobs": "record",
    "photos": "answer",
    "copies": "half",
}
"""Of some scenarios the kind that is not slow; each kind has its turn."""


CASES = [
    pytest.param(name, kind, marks=() if SAMPLE.get(name) == kind else pytest.mark.slow)
    for name in SCENARIOS
    for kind in STRIDES
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_killed_at_a_step(case: Callable[[str], Case], name: str, kind: str) -> None:
    """Killed at the n-th step and run again: nothing is lost, nothing is bought twice."""
    stride = STRIDES[kind]
    steps(case(name), kind, 1 + list(SCENARIOS).index(name) % stride, stride, again=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_again_while_recovering(case: Callable[[str], Case], name: str) -> None:
    """The run that recovers from a crash is killed too: the one after it brings all home."""
    steps(case(name), "disk", 3 + list(SCENARIOS).index(name), 37, again=True)


@pytest.mark.soak
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("kind", STRIDES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_step(
    case: Callable[[str], Case], name: str, kind: str, again: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed at the n-th step, for every n, once and twice in a row."""
    count = steps(case(name), kind, 1, 1, again=again)
    with capfd.disabled():
        sys.stdout.write(f" {name}, {kind}: {count} kill points\n")


@pytest.mark.soak
@pytest.mark.parametrize("name", ["fresh", "changed"])
def test_killed_at_every_pair_of_records(case: Callable[[str], Case], name: str) -> None:
    """Killed after the n-th record, and the recovery after its m-th, for every n and m."""
    matrix = case(name)
    for first in range(1, MOST):
        for second in range(1, MOST):
            if matrix.survives(("record", first, "kill"), ("record", second, "kill")):
                return
            if not matrix.recovery_killed:
                break
