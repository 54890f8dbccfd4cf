"""Blocks of the README and of the guide as programs: what each needs is laid out in a folder of its own.

Absolute paths of the pages become paths below that folder. Commands of other programs are stand-ins: a command that
runs another one (``sudo``, ``srun``) runs it, the others read their input or do nothing, and succeed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "runner" / "guide").glob("*.md"))]
RUNS_ANOTHER: Final = ("sudo", "srun")
CHANGES_THE_SYSTEM: Final = ("useradd", "chown", "python3", "pip")
READS_ITS_INPUT: Final = ("curl", "mail", "rclone")
OF_THE_SYSTEM: Final = ("/etc/", "/srv/shop", "/scratch/shop", "/var/log/")
HOOK: Final = {"RUNNER_EXIT_CODE": "1", "RUNNER_NEW_FILES": "new-files.txt"}
SLURM: Final = {
    "SLURM_ARRAY_TASK_ID": "1",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_MAX": "16",
    "SLURM_ARRAY_TASK_COUNT": "16",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``line`` is the line of its fence."""

    page: str
    line: int
    language: str
    text: str

    @property
    def key(self) -> str:
        """Return the page and the first words, which stay when lines are added above."""
        return f"{self.page}: {' '.join(self.text.split()[:4])}"


def blocks() -> Iterator[Block]:
    """Yield all fenced blocks of all pages."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            yield Block(path.stem, text.count("\n", 0, match.start()) + 1, match[1], match[2])


@dataclass(frozen=True)
class Shop:
    """A folder with the files that the pages speak of, and an emulator at ``base``."""

    folder: Path
    base: str

    def lay_out(self) -> None:
        """Write the README's feed and manifest with small pictures, ``jobs/``, the commands and the scripts."""
        found = {block.text.split("\n")[0]: block.text for block in blocks() if block.page == "README"}
        self.write("products.csv", next(text for text in found.values() if text.startswith("sku,")))
        spring = next(text for text in found.values() if text.startswith("name: spring"))
        self.write("spring.yaml", spring.replace("1024x1024", "64x64"))
        self.write("big.yaml", spring.replace("name: spring", "name: big").replace("1024x1024", "64x64"))
        shutil.copytree(ROOT / "jobs", self.folder / "jobs")
        self.write("new-files.txt", "MUG-01/front.png\n")
        self.write("etc/runner.env", f"RUNCOMFY_TOKEN=a-token\nRUNCOMFY_MODEL_API_BASE={self.base}\n")
        (self.folder / "var/log").mkdir(parents=True)
        (self.folder / "etc/systemd/system").mkdir(parents=True)
        self._program(".venv/bin/runner", f'PYTHONPATH={ROOT} exec {sys.executable} -W error -m runner "$@"')
        self._program("bin/runner", f'exec {self.folder}/.venv/bin/runner "$@"')
        for name in RUNS_ANOTHER:
            self._program(f"bin/{name}", 'exec "$@"')
        for name in CHANGES_THE_SYSTEM:
            self._program(f"bin/{name}", "exit 0")
        self._program(".venv/bin/pip", "exit 0")
        for name in READS_ITS_INPUT:
            self._program(f"bin/{name}", "[ -t 0 ] || cat > /dev/null")

        for block in blocks():
            if script := re.match(r"#!/bin/sh\n# /srv/shop/(\w+)\n", block.text):
                self.write(script[1], self.here(block.text))
                (self.folder / script[1]).chmod(0o755)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    @property
    def pictures(self) -> list[Path]:
        """Return the pictures that were delivered."""
        return sorted((self.folder / "output").rglob("*.png")) + sorted((self.folder / "jobs/output").rglob("*.png"))

    def choose(self, *, picked: str, rejected: str) -> None:
        """Write the selection that a person has saved on the page: two pictures with their marks."""
        lines = (self.folder / "output/spring/results.jsonl").read_text(encoding="utf-8").splitlines()
        done = {record["id"]: record["outputs"][0] for record in map(json.loads, lines) if record["state"] == "done"}
        marks = {picked: "pick", rejected: "reject"}
        pictures = [{"id": name, "sha256": done[name]["sha256"], "mark": mark} for name, mark in marks.items()]
        self.write("selection.json", json.dumps({"version": 1, "pictures": pictures}))

    def _program(self, name: str, line: str) -> None:
        self.write(name, f"#!/bin/sh\n{line}\n")
        (self.folder / name).chmod(0o755)

    def here(self, text: str) -> str:
        """Return ``text`` for this folder and this user, at an hour before the end of the night.

        A run with ``--until 06:30`` would buy nothing in the morning.
        """
        text = text.replace("--until 06:30", f"--until {datetime.now() + timedelta(hours=1):%H:%M}")  # noqa: DTZ005 - local
        for path in OF_THE_SYSTEM:
            inside = self.folder if path in ("/srv/shop", "/scratch/shop") else f"{self.folder}{path}"
            text = text.replace(path, str(inside))
        return text.replace(" -o shop ", " ").replace("sudo cp products.csv spring.yaml ", "true ")

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder as a user with a token would."""
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        account = {"RUNCOMFY_MODEL_API_BASE": self.base, "RUNCOMFY_TOKEN": "a-token"}
        return self._run(command, {"PATH": path, "PYTHONPATH": str(ROOT), **account, **HOOK, **SLURM, **more})

    def run_as_cron(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command as cron does: with ``sh`` and hardly any environment."""
        return self._run(["/bin/sh", "-c", line], {"PATH": "/usr/bin:/bin"})

    def _run(self, command: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        home = {"HOME": str(self.folder), "LANG": "C.UTF-8"}
        return subprocess.run(
            command, cwd=self.folder, env={**home, **environ}, capture_output=True, text=True, timeout=120, check=False
        )
