"""The disk refuses: full, flushing in vain, read-only, out of handles, deleted. Nothing more is bought, and room heals.

The driver makes the disk fail right before the n-th step of a run and from then on; then the same command runs again
with all well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.sampling import sampled

if TYPE_CHECKING:
    from conftest import Bench, Place

Jobs = list[dict[str, Any]]
LANES = 2
MOST = 200

root_only = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a file system of its own")


def three(tag: str) -> Jobs:
    return [{"id": name, "prompt": f"{tag} {name}"} for name in "abc"]


@contextmanager
def mounted(folder: Path, options: str = "size=128k") -> Iterator[Path]:
    """A small file system in memory at ``folder``."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Trouble:
    """Runs three jobs, each time with a disk that fails at another step."""

    def __init__(self, bench: Bench, place: Callable[[str], Place]) -> None:
        self.bench = bench
        self.place = place

    def at(self, kind: str, number: int, deed: str) -> tuple[Place, Jobs, dict[str, Any], list[dict[str, Any]]]:
        """Run into the trouble; where, what, how it ended, and what was sold."""
        place = self.place(f"{deed}{number}")
        jobs = three(uuid.uuid4().hex)
        place.write(jobs, concurrency=LANES)
        before = len(self.bench.requests())
        ended = place.run((kind, number, deed))
        assert ended["exit"] != 70, ended["said"]
        return place, jobs, ended, self.bench.requests()[before:]

    def heals(self, place: Place, jobs: Jobs, ended: dict[str, Any], sold: list[dict[str, Any]]) -> None:
        """All well again: the next run completes, buys nothing twice, and knows or was told of every purchase."""
        before = len(self.bench.requests())
        last = place.run()
        sold = [*sold, *self.bench.requests()[before:]]
        doubts = [record for record in place.purchases() if record.state == "unknown"]
        assert last["exit"] == (2 if doubts else 0), (place.runs, doubts)
        place.check(sold, jobs)
        place.check_in_force(jobs)
        known = {record.request_id for record in place.purchases()}
        untold = [r["request_id"] for r in sold if r["request_id"] not in known | set(words(ended["said"]))]
        assert not untold, f"bought, not recorded, and the person was not told: {untold}, but {ended['said']}"


def words(text: str) -> list[str]:
    """The words of a message, request ids among them."""
    return text.replace("=", " ").replace(",", " ").replace("`", " ").split()


@pytest.fixture
def trouble(bench: Bench, place: Callable[[str], Place]) -> Trouble:
    return Trouble(bench, place)


def sweep(trouble: Trouble, deed: str, first: int, stride: int, codes: tuple[int, ...]) -> None:
    """Fail at every ``stride``-th step until one is beyond the end of the run."""
    for number in range(first, MOST, stride):
        place, jobs, ended, sold = trouble.at("disk", number, deed)
        if not ended["sprung"]:
            assert ended["exit"] == 0
            return
        assert ended["exit"] in codes, ended
        assert ended["exit"] in (0, 75) or ended["said"], "the end is not explained"
        trouble.heals(place, jobs, ended, sold)
    pytest.fail("the run never came to its end")


CODES = {
    "no_room": (73, 0),
    "break_sync": (73, 0),
    "no_handles": (73, 69, 75, 0),
}
"""How a run may end whose disk fails from some step on; 0 where only the rewrite at the end was left."""
FIRST = {"no_room": 2, "break_sync": 2, "no_handles": 33}
"""Before that, without a handle for a connection, a run waits for a quarter of an hour: only the soak test does."""
FILLED_AT = (12, 16, 20, 26, 34, 45)
"""More steps at which a file system is full."""


@pytest.mark.parametrize("stride", [29, pytest.param(7, marks=pytest.mark.slow)])
@sampled("deed", CODES, quick=2)
def test_a_failing_disk_stops_the_run_and_the_next_one_completes(trouble: Trouble, deed: str, stride: int) -> None:
    """No room, flushes that fail, no handles: said, exit 73, nothing bought on it; afterwards all is completed."""
    sweep(trouble, deed, FIRST[deed], stride, CODES[deed])


@pytest.mark.soak
@pytest.mark.parametrize("deed", CODES)
def test_a_disk_that_fails_at_every_step(trouble: Trouble, deed: str) -> None:
    """The same for every single step."""
    sweep(trouble, deed, 1, 5 if deed == "no_handles" else 1, CODES[deed])


@root_only
@pytest.mark.parametrize("number", [9, 30, *(pytest.param(n, marks=pytest.mark.slow) for n in FILLED_AT)])
def test_a_file_system_that_is_full(trouble: Trouble, tmp_path: Path, number: int) -> None:
    """The last byte is taken: exit 73, or 0 where the rest still fitted; after making room the rerun completes."""
    with mounted(tmp_path / f"fill{number}"):
        spot, jobs, ended, sold = trouble.at("disk", number, "fill")
        assert ended["exit"] in (73, 0), ended
        (spot.folder / "ballast").unlink()
        trouble.heals(spot, jobs, ended, sold)


def test_a_flush_that_fails_before_the_first_purchase_lets_nothing_out(trouble: Trouble) -> None:
    """The first intent cannot be made durable: nothing is submitted at all, and its line is taken back."""
    place, _, ended, sold = trouble.at("write", 1, "break_sync")
    assert (ended["exit"], sold) == (73, [])
    assert (place.output / "results.jsonl").read_bytes() == b""


def test_a_failed_flush_poisons_the_ledger(trouble: Trouble) -> None:
    """After one failed flush nothing is written any more, although writing would work again."""
    place, jobs, ended, sold = trouble.at("record", 1, "break_sync")
    assert ended["exit"] == 73
    assert "nothing more is bought" in ended["said"]
    assert len(sold) <= LANES
    trouble.heals(place, jobs, ended, sold)


@pytest.mark.parametrize("number", [1, 3, 5, 7])
def test_an_output_folder_that_is_deleted_ends_the_run(trouble: Trouble, number: int) -> None:
    """Records in a deleted file protect from nothing: the run notices, buys no more, and names what it bought."""
    place, _, ended, sold = trouble.at("record", number, "delete")
    assert ended["exit"] == 73
    assert "deleted" in ended["said"]
    assert len(sold) <= LANES + number // 2
    assert not (place.output / "results.jsonl").exists()


@root_only
def test_a_read_only_output_folder_is_refused_before_anything_is_bought(bench: Bench, place: Any) -> None:
    """Exit 73, and not one submission; on a finished batch just as on a new one."""
    spot = place("read-only")
    spot.write(three("read-only"))
    before = len(bench.requests())
    with mounted(spot.output, "ro"):
        ended = spot.run()
    assert (ended["exit"], len(bench.requests())) == (73, before)
    assert "cannot be written" in ended["said"]


def test_the_command_line_says_that_the_disk_is_full(bench: Bench, place: Any) -> None:
    """A file-size limit of one block: exit 73, one clear line, no traceback."""
    spot = place("limited")
    manifest = spot.write([{"id": f"job-{n}", "prompt": f"limited {n}"} for n in range(9)])
    environ = {**os.environ, "RUNCOMFY_MODEL_API_BASE": bench.base, "RUNCOMFY_TOKEN": "test-token"}
    command = f"ulimit -f 2; exec {sys.executable} -W error -m runner run {manifest}"
    ended = subprocess.run(
        ["bash", "-c", command], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 73, ended.stderr
    assert "File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    again = subprocess.run(
        [sys.executable, "-m", "runner", "run", str(manifest)],
        env=environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert again.returncode in (0, 2)
