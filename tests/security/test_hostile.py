"""A service that tries everything at once, the real command in a real process, and what is left of it.

Each attack of ``attacks.py``, or of a sample, has a job, between good ones. The command runs twice under attack, and
once more when the service is well.
"""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from security.attacks import ATTACKS, Attack, prepare
from security.server import World, serving

from runner.api.client import MAX_ANSWER
from runner.core.models import Record
from runner.ledger.records import decode

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
TOKEN = "rc-hostile-0123456789abcdef"
SAMPLE = (
    *("submit-redirect-307", "submit-bomb", "submit-escapes", "submit-id-path", "submit-refused", "submit-echo"),
    *("result-redirect", "result-other", "result-failed", "result-output-file", "at-canary", "at-login", "at-token"),
    *("named-loopback", "file-redirect", "file-png-lying", "file-size", "file-name", "file-forged"),
)
"""Attacks of each kind, for a test that is not slow."""
PATIENCE_SECONDS = 90
COMMANDS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, the line feed excepted."""
ROOM_BYTES = 24 * MAX_ANSWER + (96 << 20)
"""How much more memory an attack may cost than good work.

An answer of ``MAX_ANSWER`` bytes that is nothing but brackets becomes 24 times as many bytes of Python lists for the
moment in which it is read, and answers are read one at a time; the rest is for bodies under way. What the bombs unpack
to is twice as much as that.
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory by /proc")


def with_good_jobs(attacks: Mapping[str, Attack], jobs: int) -> list[str]:
    """Every attack, with a good job after each of the first ones."""
    found = list(attacks)
    for number in range(jobs - len(found)):
        found.insert(1 + 2 * number, f"good-{number}")
    return found


@dataclass
class Place:
    """A small world on the disk, in which a manifest is run; only ``out`` may ever change."""

    root: Path
    beside: Path
    """For notes of this test, outside that world."""
    api: str
    names: list[str]
    """Of the jobs."""
    said: list[str] = field(default_factory=list)
    """Everything that was printed."""

    def build(self) -> None:
        for folder in ("home/.config", "tmp", "project", "elsewhere"):
            (self.root / folder).mkdir(parents=True)
        self.beside.mkdir(exist_ok=True)
        (self.root / "elsewhere" / "evil.png").write_text("not to be touched")
        (self.root / "project" / "notes.txt").write_text("neither")
        settings = {"model": KLEIN, "concurrency": 100, "timeout": "8s", "retries": 1, "max_file": "4MB"}
        jobs = [{"id": name, "prompt": f"{name} as ordered"} for name in self.names]
        document = {**settings, "defaults": {"width": 64, "height": 64}, "jobs": jobs}
        (self.root / "project" / "batch.yaml").write_text(json.dumps(document))

    @property
    def out(self) -> Path:
        return self.root / "project" / "out"

    @property
    def environ(self) -> dict[str, str]:
        home = {"HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp"), "XDG_CACHE_HOME": ""}
        return {"PATH": os.environ["PATH"], "RUNCOMFY_TOKEN": TOKEN, "PYTHONDONTWRITEBYTECODE": "1", **home}

    def command(self, verb: str, *options: str) -> list[str]:
        driver = [sys.executable, "-W", "error", str(Path(__file__).with_name("driver.py")), str(self.note)]
        where = ["batch.yaml", "--output", str(self.out)] if verb != "models" else []
        return [*driver, verb, *where, *options]

    @property
    def note(self) -> Path:
        return self.beside / "peak"

    @property
    def peak(self) -> int:
        """Bytes of memory that the last command needed at most."""
        return int(self.note.read_text())

    def __call__(self, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        """A command to its end, which must come by itself."""
        done = subprocess.run(
            self.command(verb, *options),
            cwd=self.root / "project",
            env=self.environ,
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            text=True,
        )
        assert "Traceback" not in done.stderr
        self.said += [done.stdout, done.stderr]
        return done

    def at_terminal(self, verb: str, *options: str) -> str:
        """What a command prints to a terminal, where nobody filters it."""
        ours, theirs = pty.openpty()
        command = self.command(verb, *options)
        with subprocess.Popen(command, cwd=self.root / "project", env=self.environ, stdout=theirs, stderr=theirs):
            os.close(theirs)
            printed = b"".join(read_all(ours))
        os.close(ours)
        self.said.append(printed.decode().replace("\r\n", "\n"))
        return self.said[-1]

    def records(self) -> dict[str, Record]:
        return {record.id: record for record in map(decode, (self.out / "results.jsonl").read_bytes().splitlines())}

    def snapshot(self) -> dict[str, str]:
        """Everything that stands around the output folder."""
        paths = (path for path in sorted(self.root.rglob("*")) if not path.is_relative_to(self.out))
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in paths}


def read_all(terminal: int) -> Iterator[bytes]:
    with suppress(OSError):  # how a terminal says that everybody has left
        while piece := os.read(terminal, 65_536):
            yield piece


def wrong(attack: Attack | None, record: Record) -> str:
    """How a record differs from what design.md asks for; empty where it does not. A good job is simply done.

    A file that was wrong in two runs alike is ``undeliverable``, and the words tell why.
    """
    state, error = (attack.state if attack else "done"), record.error
    code, words = (error.code, error.message) if error else ("", "")
    if record.state.value != state:
        return f"is {record.state}, not {state} ({code}: {words})"
    codes = ("", code, "bad_file", "too_large", "storage") if code == "undeliverable" else ("", code)
    if attack is not None and not (attack.code in codes and any(text in words for text in attack.words.split(" | "))):
        return f"says {code}: {words}, not {attack.code}: {attack.words}"
    paid = record.request_id is not None
    return "is paid and called failed" if paid and state == "failed" and not _failed_by_the_api(record) else ""


def _failed_by_the_api(record: Record) -> bool:
    return record.id == "result-failed"


def check_end(place: Place, *, healed: bool) -> Counter[str]:
    """Every job is where it should be; how many there are of each state."""
    records = place.records()
    found = Counter(record.state.value for record in records.values())
    if not healed:
        faults = {name: wrong(ATTACKS.get(name), records[name]) for name in place.names}
        assert {name: fault for name, fault in faults.items() if fault} == {}
        assert records["file-size"].warning == "size"
        return found
    wanted = {name: ATTACKS[name].healed if name in ATTACKS else "done" for name in place.names}
    assert {n: (records[n].state.value, w) for n, w in wanted.items() if records[n].state.value != w} == {}
    return found


def check_files(place: Place) -> None:
    """What stands in the output folder is what done jobs name, whole and right."""
    done = [output for record in place.records().values() if record.state == "done" for output in record.outputs]
    hashes = {output.path: output.sha256 for output in done}
    found = {str(path.relative_to(place.out)): path for path in place.out.rglob("*.*") if path.is_file()}
    ours = {name: path for name, path in found.items() if not name.startswith((".runner", "results.jsonl", "report"))}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in ours.items()} == hashes


def check_words(place: Place) -> None:
    """Nothing that was printed commands a terminal or forges a line."""
    assert [COMMANDS.findall(text) for text in place.said if COMMANDS.search(text)] == []
    assert [text for text in place.said if "\n0.0 WARNING forged" in text] == []


def check_secret(place: Place) -> None:
    """The token is in nothing that was printed or written, here or beside."""
    written = [path for top in (place.root, place.beside) for path in top.rglob("*") if path.is_file()]
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
    assert not any(TOKEN in text for text in place.said)
    assert (place.beside / "env").read_text()
    assert json.loads((place.beside / "heard").read_text())["total"] == len(place.names)


def check_careful(world: World, jobs: int) -> None:
    """Nobody called the canary; the token went with every question to the API and with no download."""
    assert world.canaries
    assert world.calls == []
    assert world.trespasses == []
    assert {prompt: count for prompt, count in world.submissions.items() if count != 1} == {}
    assert len(world.submissions) == jobs


def run_good_jobs(place: Place, world: World) -> int:
    """The memory that the same manifest needs at a service that does no harm."""
    world.healed = True
    place.build()
    assert place("run", "--api", f"{place.api}/v1", "--verbose").returncode == 0
    return place.peak


@pytest.mark.parametrize(
    ("attacks", "jobs"),
    [
        pytest.param({name: ATTACKS[name] for name in SAMPLE}, 40, id="sample"),
        pytest.param(ATTACKS, 200, id="all", marks=pytest.mark.slow),
    ],
)
def test_a_hostile_service_gets_nothing_and_keeps_nothing_from_its_owner(
    tmp_path: Path, attacks: Mapping[str, Attack], jobs: int
) -> None:
    """Two hundred jobs, every attack among them, or fewer and a sample: the run ends, good jobs are done, each bad one
    says why; later all that is paid comes home and nothing is bought twice. Nobody else is called, nothing outside is
    written, no memory is filled, and the token is in nothing."""
    prepare()
    names = with_good_jobs(attacks, jobs)
    with serving(attacks) as world, serving({}) as good:
        place = Place(tmp_path / "world", tmp_path / "beside", world.api, names)
        place.build()
        before, api = place.snapshot(), ["--api", f"{world.api}/v1"]
        hear = f"env > {place.beside}/env; cat > {place.beside}/heard"

        began = time.monotonic()
        assert place("run", *api, "--verbose", "--on-finish", hear).returncode == 75
        attacked, seconds, states = place.peak, time.monotonic() - began, check_end(place, healed=False)

        assert place("run", *api, "--verbose", "--log-format", "json").returncode == 75
        again = place.peak
        check_end(place, healed=False)
        for verb in ("status", "reconcile", "verify"):
            assert "submit-escapes" in place.at_terminal(verb) or verb == "verify"
        assert "red" in place.at_terminal("models", KLEIN, *api)
        assert "from $0.0045" in place.at_terminal("models", *api)
        for verb, options in {"report": [], "export": ["--format", "jsonl"], "plan": ["--jobs", *api]}.items():
            place(verb, *options)

        world.healed = True
        assert place("run", *api, "--json").returncode == 2
        after = check_end(place, healed=True)
        check_files(place)
        check_words(place)
        check_secret(place)
        check_careful(world, jobs)
        assert place.snapshot() == before

        usual = run_good_jobs(Place(tmp_path / "good", tmp_path / "beside", good.api, names), good)
        assert max(attacked, again) < usual + ROOM_BYTES
        canaries = f"{len(world.calls)} calls to canaries at {', '.join(world.canaries)}, port {world.canary}"
        peaks = f"{attacked >> 20} MiB under attack, {again >> 20} when repeated, {usual >> 20} in good times"
        figures = [f"{len(attacks)} attacks in {jobs} jobs, {seconds:.1f} s: {dict(states)}; then {dict(after)}"]
        figures += [f"{canaries}; {sum(world.submissions.values())} submissions; peak memory: {peaks}"]
        sys.stdout.write("\n".join(["", *figures, ""]))
