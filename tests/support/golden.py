"""Result folders that earlier versions left (``data/golden``), and what the command line says and makes of them.

Only the command line is used, so that the same test holds for any version. ``python tests/support/golden.py NAME``
writes down what is said of a new folder; what is written down once is never written again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

GOLDEN = next(found for up in Path(__file__).parents if (found := up / "data" / "golden").is_dir())
EXPECTED = "expected.json"
LONG_LINE = 1000

LOOKS = (
    ("status", "--json"),
    ("plan", "--json", "--jobs"),
    ("export", "--format", "json"),
    ("export", "--format", "csv"),
    ("verify", "--json"),
    ("reconcile", "--json"),
)
RUN = ("run", "--json", "--quiet")
SHARDS = [("--shard", f"{number}/4") for number in range(1, 5)]
WORK = {
    "damaged": [RUN, ("verify", "--repair-log", "--json"), RUN, RUN],
    "shards": [RUN, *(("plan", "--json", "--jobs", *shard) for shard in SHARDS), *((*RUN, *shard) for shard in SHARDS)],
}
"""What is done after looking, where it is not ``TWICE``."""
TWICE = [RUN, RUN]
"""The first run brings home what has been owed for more than a day, and only then the second one buys."""

SERVE = """
import contextlib, io, json, sys
from runner.__main__ import main

answers = sys.stdout
for line in sys.stdin:
    sys.argv = ["runner", *json.loads(line)]
    stdout = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    with contextlib.redirect_stdout(stdout):
        code = main()
    print(json.dumps([code, stdout.buffer.getvalue().decode()]), file=answers, flush=True)
"""
"""A process that has many command lines, so that what they import is loaded once."""


class Told:
    """The command line on a copy of a golden folder, and what of its words is new with each try."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.folder = folder
        self._process = process
        self._before = hashes(folder)
        logs = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.jsonl")))
        self._texts = logs.decode(errors="replace")

    def __call__(self, verb: str, *words: str) -> dict[str, Any]:
        """The exit code and the data of one command line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        argv = [verb, str(self.folder / "batch.yaml"), "--emulator", *words]
        self._process.stdin.write(json.dumps(argv) + "\n")
        self._process.stdin.flush()
        code, stdout = json.loads(self._process.stdout.readline())
        return {"exit_code": code, "stdout": self._plain(_parsed(stdout, words), self._arrived())}

    def records(self) -> list[Any]:
        """The last line of each purchase; of one that goes on under another id, there."""
        found: dict[tuple[str, int], Any] = {}
        for path in sorted((self.folder / "out").glob("results*.jsonl")):
            lines = path.read_bytes().splitlines(keepends=True)
            for record in (json.loads(line) for line in lines if line.endswith(b"\n")):
                found.pop((record.get("renamed_from"), record.get("renamed_purchase", record["purchase"])), None)
                found[record["id"], record["purchase"]] = record
        return self._plain([found[key] for key in sorted(found)], self._arrived())

    def files(self) -> list[dict[str, str]]:
        """Each file but ``runner``'s own, and where its bytes were before; ``new`` where they were nowhere."""
        were = {digest: path for path, digest in sorted(self._before.items(), reverse=True)}
        found = {path: digest for path, digest in hashes(self.folder).items() if _is_a_users(path)}
        return [
            {"path": path, "was": path if self._before.get(path) == digest else were.get(digest, "new")}
            for path, digest in found.items()
        ]

    def _arrived(self) -> set[str]:
        """The hashes of files that came since; which they are depends on the Pillow that draws them."""
        return set(hashes(self.folder).values()) - set(self._before.values())

    def _plain(self, value: Any, arrived: set[str]) -> Any:
        """``value`` without what no two runs have in common: this folder's path, and what the run itself has made."""
        if isinstance(value, list):
            return [self._plain(inner, arrived) for inner in value]
        if not isinstance(value, dict):
            return self._without_news(value) if isinstance(value, str) else value
        changes: dict[str, Any] = {name: "some" for name in ("seconds", "oldest_owed_seconds") if value.get(name)}
        if value.get("sha256") in arrived:
            changes |= {"sha256": "that of the file", "bytes": "those of the file"}
        return {name: self._plain(inner, arrived) for name, inner in {**value, **changes}.items()}

    def _without_news(self, text: str) -> str:
        text = text.replace(str(self.folder), "FOLDER")
        text = re.sub(r"(?<=http://127\.0\.0\.1:)\d+", "PORT", text)
        for name, pattern in NEWS.items():
            text = re.sub(pattern, lambda found, name=name: found[0] if found[0] in self._texts else name, text)
        return text


NEWS = {
    "TIME": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "DAY": r"\A\d{4}-\d\d-\d\d\Z",
    "REQUEST": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
"""What a run makes; where the folder held the very same before, it stays as it is."""


def _parsed(stdout: str, words: tuple[str, ...]) -> Any:
    if "csv" in words:
        return list(csv.DictReader(io.StringIO(stdout)))
    return json.loads(stdout) if stdout else None


def _is_a_users(path: str) -> bool:
    return not path.startswith("out/.runner/") and not re.fullmatch(r"out/results.*\.jsonl", path)


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below ``folder``."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@contextmanager
def opened(name: str, room: Path) -> Iterator[Told]:
    """The command line on a copy of the golden folder ``name`` in ``room``, which is empty."""
    shutil.copytree(GOLDEN / name, room / name, ignore=shutil.ignore_patterns(EXPECTED))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RUNCOMFY", "XDG"))}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE],
        env={**kept, "HOME": str(room / "home")},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield Told(process, room / name)


def look(told: Told) -> dict[str, Any]:
    """What is said of a folder by those who only look."""
    return {" ".join(words): told(*words) for words in LOOKS}


def work(told: Told, name: str) -> dict[str, Any]:
    """What running again says and comes to."""
    done = [{"command": " ".join(words), **told(*words)} for words in WORK.get(name, TWICE)]
    then = {command: _in_order(said) for command, said in look(told).items() if "csv" not in command}
    return {"commands": done, "then": then, "records": told.records(), "files": told.files()}


def _in_order(value: Any) -> Any:
    """``value`` with its lists in order: which of several new purchases was written first is chance."""
    if isinstance(value, dict):
        return {name: _in_order(inner) for name, inner in value.items()}
    return sorted(value, key=json.dumps) if isinstance(value, list) else value


def differences(expected: Any, found: Any, known: set[str], where: str = "") -> list[str]:
    """Where ``found`` is not what was ``expected``; a name that is not ``known`` yet may have come since."""
    if isinstance(expected, dict) and isinstance(found, dict):
        added = (found.keys() - expected.keys()) & known
        strange = [f"{where}/{name}: {found[name]!r} is new" for name in added]
        gone = [f"{where}/{name}: gone" for name in expected.keys() - found.keys()]
        both = [name for name in expected if name in found]
        inner = [line for name in both for line in differences(expected[name], found[name], known, f"{where}/{name}")]
        return [*strange, *gone, *inner]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for at, (one, other) in pairs for line in differences(one, other, known, f"{where}/{at}")]
    return [] if expected == found else [f"{where}: {expected!r} is {found!r} now"]


def names_in(value: Any) -> set[str]:
    """Every name that ``value`` has anywhere."""
    if isinstance(value, dict):
        return set(value).union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


def write_down(name: str) -> None:
    """Write what is said of a new golden folder. Raises ``FileExistsError`` for one of which that is written."""
    with TemporaryDirectory() as room, opened(name, Path(room)) as told:
        found = {"look": look(told), "work": work(told, name)}
    with (GOLDEN / name / EXPECTED).open("x", encoding="utf-8") as file:
        file.write(_as_text(found) + "\n")


def _as_text(value: Any, margin: str = "\n") -> str:
    """JSON in lines that can be read and compared."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) < LONG_LINE or not isinstance(value, dict | list):
        return text
    texts = [_as_text(inner, f"{margin} ") for inner in (value.values() if isinstance(value, dict) else value)]
    if isinstance(value, list):
        return "[" + ",".join(f"{margin} {text}" for text in texts) + f"{margin}]"
    pairs = (f"{margin} {json.dumps(name)}: {text}" for name, text in zip(value, texts, strict=True))
    return "{" + ",".join(pairs) + f"{margin}}}"


if __name__ == "__main__":
    write_down(sys.argv[1])
