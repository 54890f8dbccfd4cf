"""Every shell and Python block of the README and of the guide runs as it stands, against the emulator."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Served
from support.guide_blocks import PAGES, ROOT, Block, Shop, blocks

NOT_RUN = {
    "README: python3 -m venv .venv": "`.ci/run` runs both commands of the README in a fresh environment",
    "contributing: python3 -m venv .venv": "installs the project; `.ci/run` does the same",
    "scaling: dask scheduler --host 10.0.0.5": "needs machines of a cluster; `tests/cluster` has one",
    "scaling: podman build -t runner": "needs a container engine; the lines of the Containerfile are checked below",
    "results: jq -r 'select(.state ==": "`jq` is not everywhere",
}
"""Blocks that are only checked for their syntax, by their page and first words, with the reason."""
LANGUAGES = {"sh", "python", "yaml", "csv", "json", "text", "ini", "dockerfile"}
BEFORE = {
    "feeds": ["runner", "run", "jobs/photos.yaml", "--emulator", "--quiet"],
    "report": ["runner", "run", "spring.yaml", "--quiet"],
}
"""What a reader of a page has run before."""
ALL = list(blocks())
SHELL = [block for block in ALL if block.language == "sh"]
RUN = [block for block in SHELL if block.key not in NOT_RUN]
CRON = [block for block in ALL if block.language == "text" and "* * *" in block.text]
SERVICES = [block for block in ALL if "[Service]" in block.text]


def named(block: Block) -> str:
    return f"{block.page}-{block.line}"


@pytest.fixture
def shop(tmp_path: Path, serve: Callable[..., Served]) -> Shop:
    """A shop with the README's files, and an emulator that takes its orders."""
    found = Shop(tmp_path / "shop", serve("--seconds", "0.05").base)
    found.lay_out()
    return found


def test_each_block_has_a_language_and_each_exception_a_block() -> None:
    """A block without a language would be neither run nor checked."""
    assert [block.key for block in ALL if block.language not in LANGUAGES] == []
    assert NOT_RUN.keys() <= {block.key for block in SHELL}


def test_no_fence_of_a_page_is_overlooked() -> None:
    """A block that is indented, or begins with other signs, would be neither run nor checked."""
    for path in PAGES:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\s*(```|~~~)", line)]
        assert len(lines) == 2 * sum(block.page == path.stem for block in ALL), path.stem


def test_the_token_belongs_to_the_user_of_the_run_and_so_do_the_logs() -> None:
    """Any user's cron can read the one and write the other; the other tests run as one user and would not notice."""
    for block in ALL:
        for line in block.text.splitlines():
            assert "install -m 600" not in line or " -o shop " in line
            assert "/var/log" not in line


@pytest.mark.parametrize("block", SHELL, ids=named)
def test_the_shell_reads_each_block(block: Block) -> None:
    """Also those that need another machine."""
    assert subprocess.run(["bash", "-n", "-c", block.text], check=False).returncode == 0


@pytest.mark.parametrize(
    "block", [pytest.param(b, marks=() if b.page == "README" else pytest.mark.slow) for b in RUN], ids=named
)
def test_each_shell_block_runs(shop: Shop, block: Block) -> None:
    """Each command of a block succeeds, and what it buys is delivered."""
    if before := BEFORE.get(block.page):
        assert shop.run(before).returncode == 0
    if block.page == "report":
        shop.choose(picked="MUG-01-front", rejected="MUG-02-side")
    ended = shop.run(["bash", "-euo", "pipefail", "-c", shop.here(block.text)])
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "python"], ids=named)
def test_each_python_block_runs(shop: Shop, block: Block) -> None:
    """A program of the guide is one that can be copied."""
    ended = shop.run([sys.executable, "-W", "error", "-c", block.text])
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("block", CRON, ids=named)
def test_each_line_for_cron_runs(shop: Shop, block: Block) -> None:
    """With `sh` and hardly any environment, after the five fields of the time; the log says nothing of an error."""
    command = shop.here(block.text.strip().split(maxsplit=5)[5])
    assert "%" not in command, "cron ends the command at a percent sign"
    ended = shop.run_as_cron(command)
    logs = shop.folder.rglob("runner.log")
    assert (ended.returncode, ended.stderr, [log.read_text() for log in logs]) == (0, "", [""])
    assert shop.pictures


@pytest.mark.parametrize("block", SERVICES, ids=named)
def test_each_service_of_systemd_starts_a_run(shop: Shop, block: Block) -> None:
    """The unit's command runs in its folder with the variables of its file, and a timer stands beside it."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(shop.here(block.text))
    service = unit["Service"]
    assert service["WorkingDirectory"] == str(shop.folder)
    variables = dict(line.split("=", 1) for line in Path(service["EnvironmentFile"]).read_text().splitlines())
    ended = shop.run(shlex.split(service["ExecStart"]), **variables)
    assert ended.returncode == 0, ended.stderr
    assert shop.pictures
    assert (service["User"], service["SuccessExitStatus"]) == ("shop", "75")
    assert any(other.page == block.page and "OnCalendar=" in other.text for other in ALL)


def test_the_readme_shows_what_plan_prints(shop: Shop) -> None:
    """Every line of its example, but for the folder."""
    texts = [block.text for block in ALL if block.page == "README"]
    shop.write("spring.yaml", next(text for text in texts if text.startswith("name: spring")))
    shown = next(text for text in texts if "buy: submitted and charged" in text)
    printed = shop.run(["runner", "plan", "spring.yaml"]).stdout
    assert printed.startswith(shop.here(shown))


def test_the_container_copies_and_starts_what_is_there() -> None:
    """The files, the extra and the command of the Containerfile are those of the project."""
    lines = next(block.text for block in ALL if block.language == "dockerfile").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert {"pyproject.toml", "runner", project["readme"], *project["license-files"]} == set(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert {extra for line in lines for extra in re.findall(r"\.\[(\w+)\]", line)} <= project[
        "optional-dependencies"
    ].keys()
    (entry,) = [json.loads(line.removeprefix("ENTRYPOINT ")) for line in lines if line.startswith("ENTRYPOINT")]
    assert set(entry) <= project["scripts"].keys()
    python = next(line for line in lines if line.startswith("FROM")).partition(":")[2].partition("-")[0]
    assert f"Programming Language :: Python :: {python}" in project["classifiers"]
