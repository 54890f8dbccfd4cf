"""A locale without UTF-8, as cron and small containers have: names of files that cannot be written are told first."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from runner.ledger.records import decode

ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(desk: Any, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environ = {key: value for key, value in desk.environ.items() if not key.startswith(("LC_", "LANG"))}
    command = [sys.executable, "-W", "error", "-m", "runner", *arguments]
    return subprocess.run(command, cwd=desk.folder, env={**environ, **ASCII}, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("job", "line"),
    [
        ("{id: mug, prompt: p}\n  - {id: 杯子, prompt: 杯子在桌上}", b"batch.yaml:4:"),
        pytest.param("{id: mug, prompt: p, file: tassen/größe}", b"batch.yaml:3:", marks=pytest.mark.slow),
        pytest.param("{id: tasse-ä, prompt: p, file: tasse}", b"batch.yaml:3:", marks=pytest.mark.slow),
    ],
)
def test_a_name_that_this_system_cannot_write_is_told_before_anything_is_bought(desk, job, line):
    """65 at its place, with the locale to set; and a prompt may have any character."""
    desk.write(f"model: blackforestlabs/flux-2-klein/4b/text-to-image\njobs:\n  - {job}\n")
    ended = run(desk, "run", "batch.yaml", "--emulator")
    assert ended.returncode == 65
    assert line in ended.stderr
    assert b"LC_ALL=C.UTF-8" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert not (desk.folder / "output").exists()


@pytest.mark.parametrize("setting", ["name: größe", "output: größe"])
def test_so_is_a_folder_that_cannot_be_made(desk, setting):
    """`name:` and `output:` name folders."""
    model = "model: blackforestlabs/flux-2-klein/4b/text-to-image"
    desk.write(f"{model}\n{setting}\njobs:\n  - {{id: mug, prompt: Größe}}\n")
    ended = run(desk, "run", "batch.yaml", "--emulator")
    assert (ended.returncode, b"batch.yaml:2:" in ended.stderr, b"LC_ALL" in ended.stderr) == (65, True, True)


@pytest.mark.slow
def test_what_was_bought_under_such_a_name_waits_for_the_right_locale(desk, serve):
    """`collect` and `status` without UTF-8 lose nothing and say what to set; with it the picture is fetched."""
    service = serve("--fault", "file status status=500 each=1")
    desk.base = service.base
    manifest = desk.write(
        "model: blackforestlabs/flux-2-klein/4b/text-to-image\noutput: out\nretries: 0\n"
        "defaults: {width: 64, height: 64}\njobs:\n  - {id: 杯子, prompt: p}\n  - {id: mug, prompt: q}\n"
    )
    assert desk("run", manifest).returncode == 75
    lines = (desk.folder / "out/results.jsonl").read_bytes().splitlines()
    assert {decode(line).id for line in lines} == {"杯子", "mug"}
    assert (run(desk, "status", "out").returncode, run(desk, "verify", "out").returncode) == (0, 0)
    ended = run(desk, "collect", "out")
    assert (ended.returncode, b"LC_ALL=C.UTF-8" in ended.stderr, b"Traceback" in ended.stderr) == (75, True, False)
    assert [path.name for path in (desk.folder / "out").glob("*.png")] == ["mug.png"]
    assert desk("collect", "out").returncode == 0
    assert (desk.folder / "out/杯子.png").is_file()
    assert service.stats["submissions"] == 2
    assert run(desk, "status", "out").returncode == 0
