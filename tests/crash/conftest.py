"""A service and a driver in processes of their own, folders to run in, and what must hold after any crash."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runner.core.local_inputs import is_reference, parse_reference
from runner.core.models import Record, State
from runner.ledger.records import decode

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
SHEET = "emulator/contact-sheet/text-to-image"
DRIVER = Path(__file__).with_name("driver.py")
FAULTS = (
    "submit status status=422 body=detail match=refused",
    "submit status status=429 retry_after=1 each=1 match=busy",
    "submit status status=503 code=503001 each=1 match=strained",
    "file truncate each=1 match=torn",
    "job fail text=invalid_prompt match=fails",
    "file status status=404 number=1 match=lacking",
)
"""What the service does to prompts with these words; the others go well."""

Job = dict[str, Any]
Trap = tuple[str, int, str]
"""Kind of event, its number, and the deed."""


@dataclass
class Bench:
    """An emulator and a driver, both outliving every run."""

    base: str
    driver: subprocess.Popen[str]

    def run(self, manifest: Path, output: Path, trap: Trap | None = None, **more: object) -> dict[str, Any]:
        """One run of ``manifest`` in a process of its own; how it ended. Or ``shard`` of it, ``merge``, ``redo``."""
        words = dict(zip(("kind", "count", "deed"), trap, strict=True)) if trap else None
        order = {"manifest": str(manifest), "output": str(output), "base": self.base, "trap": words, **more}
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps(order) + "\n")
        self.driver.stdin.flush()
        return json.loads(self.driver.stdout.readline())  # type: ignore[no-any-return]

    def requests(self) -> list[dict[str, Any]]:
        """Every request that the service ever accepted, oldest first."""
        with urllib.request.urlopen(f"{self.base.removesuffix('/v1')}/_emulator/requests") as answer:
            return json.load(answer)  # type: ignore[no-any-return]


@dataclass
class Place:
    """A folder with a manifest and its results."""

    bench: Bench
    folder: Path
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def write(self, jobs: Sequence[Job], **settings: Any) -> Path:
        """A manifest of ``jobs``."""
        size = {"width": 64, "height": 64}
        document = {"model": KLEIN, "concurrency": 2, "output": "out", "defaults": size, **settings}
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "batch.yaml"
        path.write_text(json.dumps({**document, "jobs": list(jobs)}))
        return path

    def run(self, trap: Trap | None = None, **more: object) -> dict[str, Any]:
        """Run the manifest that is there, or a ``shard`` of it, or ``merge``."""
        ended = self.bench.run(self.folder / "batch.yaml", self.output, trap, **more)
        self.runs.append({"trap": trap, **more, **ended})
        return ended

    def copy(self, target: Path) -> Place:
        shutil.copytree(self.folder, target, symlinks=True)
        return Place(self.bench, target)

    def lines(self) -> list[Record]:
        """Every line of the results manifest; each must be whole."""
        data = (self.output / "results.jsonl").read_bytes()
        assert data.endswith(b"\n"), "the results manifest ends in half a line"
        return [decode(line) for line in data.splitlines()]

    def purchases(self) -> list[Record]:
        """Each purchase as it stands; one that was renamed stands under its new id only."""
        found: dict[tuple[str, int], Record] = {}
        for record in self.lines():
            if record.renamed_from is not None and (record.id, record.purchase) not in found:
                found.pop((record.renamed_from, record.purchase), None)
            found[record.id, record.purchase] = record
        return sorted(found.values(), key=lambda record: record.purchase)

    def digest(self, path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def check(self, accepted: Sequence[dict[str, Any]], jobs: Sequence[Job]) -> None:
        """What holds once the command has run to its end; ``accepted`` is what the service sold to this folder."""
        purchases = self.purchases()
        self._check_sold(accepted, purchases)
        for job in jobs:
            _check_job(job, [record for record in purchases if record.id == job["id"]])
        self._check_files(purchases)
        incoming = self.output / ".runner" / "incoming"
        assert not list(incoming.iterdir()), "temporary files are left"
        assert not list((self.output / ".runner").glob("*.tmp")), "a temporary file of the log is left"

    def check_in_force(self, jobs: Sequence[Job]) -> None:
        """Each done job's files stand under their final names with the bytes recorded."""
        newest = {record.id: record for record in self.purchases()}
        for job in jobs:
            record = newest[job["id"]]
            for output in record.outputs if record.state is State.DONE else ():
                if output.error is not None:
                    continue
                assert output.path is not None
                found = self.digest(self.output / output.path)
                assert found == output.sha256, f"{output.path} is not what its record says"
            for copy in record.copies:
                assert self.digest(self.output / copy.path) == copy.sha256, f"{copy.path} is not what its record says"
                assert copy.of in {output.sha256 for output in record.outputs}, f"{copy.path} is of another picture"

    def copies(self) -> dict[Path, tuple[str, int]]:
        """The hash and the file number of each file that may be a copy or a sidecar."""
        found = [path for path in self.output.rglob("*.*") if path.suffix in (".jpg", ".webp", ".json")]
        return {path: (self.digest(path), path.stat().st_ino) for path in found if ".runner" not in path.parts}

    def check_bill(self, accepted: Sequence[dict[str, Any]]) -> None:
        """What the service charged for each request is what the log says of it; no fingerprint was bought twice."""
        bought = {r.request_id: r for r in self.purchases() if r.request_id is not None and r.restored_from is None}
        charged = {r["request_id"]: r["cost"] for r in accepted if r["request_id"] in bought}
        logged = {request_id: record.cost_usd for request_id, record in bought.items()}
        assert logged == charged
        times = Counter(record.fingerprint for record in bought.values())
        assert max(times.values(), default=0) <= 1, "something was bought twice"

    def _check_sold(self, accepted: Sequence[dict[str, Any]], purchases: Sequence[Record]) -> None:
        """Nothing is sold twice; everything sold is in the books, by its id or as an open question."""
        times = Counter(_by_hash(request["input"]) for request in accepted)
        asked = Counter(_by_hash(record.inputs) for record in purchases if _counts(record))
        assert times <= asked, "something was sold that no purchase stands for"
        known = {record.request_id for record in purchases}
        doubts = Counter(_by_hash(r.inputs) for r in purchases if r.state is State.UNKNOWN)
        lost = [request for request in accepted if request["request_id"] not in known]
        assert Counter(_by_hash(r["input"]) for r in lost) <= doubts, "a paid request is lost"

    def _check_files(self, purchases: Sequence[Record]) -> None:
        """Every file of a picture is one that a record names, with its bytes; every done job in force has its files."""
        hashes = {output.sha256 for record in purchases for output in record.outputs}
        hashes |= {copy.sha256 for record in purchases for copy in record.copies}
        for path in self.output.rglob("*"):
            inside = path.relative_to(self.output)
            ours = inside.parts[0] == ".runner" or path.name in ("results.jsonl", "report.html")
            if path.is_file() and not ours:
                assert self.digest(path) in hashes, f"{inside} is not whole, or not ours"


def _by_hash(inputs: dict[str, Any]) -> str:
    """Inputs as one text, in which a photo is its SHA-256, whether it was sent or is named by a record."""

    def plain(value: Any) -> Any:
        if is_reference(value):
            return parse_reference(value)[1]
        if isinstance(value, str) and value.startswith("data:"):
            return hashlib.sha256(base64.b64decode(value.partition(",")[2])).hexdigest()
        return value

    return json.dumps({name: plain(value) for name, value in inputs.items()}, sort_keys=True)


def _counts(record: Record) -> bool:
    return record.state is not State.RELEASED and record.restored_from is None


def _check_job(job: Job, history: Sequence[Record]) -> None:
    """A job ends done with its files in place, or as what the service made of it; in doubt it was never repeated."""
    assert history, f"{job['id']} has no record"
    newest = history[-1]
    assert newest.state in (State.DONE, State.UNKNOWN, State.FAILED, State.CANCELLED), f"{job['id']}: {newest.state}"
    if newest.state is State.DONE:
        assert newest.inputs["prompt"] == job["prompt"]
        assert newest.outputs
    for earlier, later in pairwise(history):
        assert earlier.state is not State.UNKNOWN, f"{job['id']}: purchase {later.purchase} was made in doubt"


@contextmanager
def _process(command: Sequence[object], **pipes: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*map(str, command)], text=True, stdout=subprocess.PIPE, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A service whose requests take no time, and a driver."""
    faults = [word for fault in FAULTS for word in ("--fault", fault)]
    emulator = [sys.executable, "-m", "runner", "emulator", "--port", "0", "--seconds", "0", *faults]
    with ExitStack() as stack:
        service = stack.enter_context(_process(emulator))
        driver = stack.enter_context(_process([sys.executable, DRIVER], stdin=subprocess.PIPE))
        assert service.stdout is not None
        yield Bench(service.stdout.readline().strip(), driver)


@pytest.fixture
def place(bench: Bench, tmp_path: Path) -> Callable[[str], Place]:
    """Make a folder to run in."""
    return lambda name: Place(bench, tmp_path / name)
