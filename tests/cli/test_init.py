"""The first minutes with `runner`: a manifest to start from, help with examples, completion."""

from __future__ import annotations

import json

import pytest

from runner.cli.main import COMMANDS


def complete(desk, words: str) -> list[str]:
    """What the shell is offered for the last of ``words``."""
    environ = {"_RUNNER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    return desk.zygote.run([], desk.folder, {**desk.environ, **environ}, "").stdout.splitlines()


def test_the_starter_runs_as_it_is(desk):
    """`runner init`, `runner run`: pictures, without a warning."""
    assert desk("init").returncode == 0
    assert (desk("plan", "batch.yaml").returncode, desk("plan", "batch.yaml").stderr) == (0, "")
    ended = desk("run", "batch.yaml", "--emulator")
    assert (ended.returncode, "warning" in ended.stderr) == (0, False)
    assert len(list((desk.folder / "output/batch-emulator").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("name", "file"), [("spring", "spring.yaml"), ("jobs/spring.yml", "jobs/spring.yml"), ("v1.2", "v1.2.yaml")]
)
def test_it_goes_where_its_name_says(desk, name, file):
    ended = desk("init", name)
    assert (ended.returncode, f"runner run {file} --emulator" in ended.stdout) == (0, True)
    assert (desk.folder / file).is_file()


@pytest.mark.parametrize(
    "name",
    ["straße 7", "v1.2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("spring", "012", "true", 'a"b'))],
)
def test_the_results_stay_where_they_are_when_the_starter_is_renamed(desk, name):
    """It has a `name:` of its own, whatever its file was called."""
    assert desk("init", f"{name}.yaml").returncode == 0
    desk("run", f"{name}.yaml", "--emulator")
    (desk.folder / f"{name}.yaml").rename(desk.folder / "another.yaml")
    ended = desk("run", "another.yaml", "--emulator", "--json")
    assert json.loads(ended.stdout)["skipped"] == 3


def test_it_overwrites_nothing(desk):
    """A manifest that is there stays as it is: exit 64."""
    path = desk.write("mine", "spring.yaml")
    assert desk("init", "spring").returncode == 64
    assert path.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_said(desk):
    desk.write("a file", "jobs")
    ended = desk("init", "jobs/spring")
    assert (ended.returncode, "Traceback" in ended.stderr) == (73, False)


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_shows_an_example(desk, verb):
    """`--help` of each command has a line to copy."""
    text = desk(verb, "--help").stdout
    assert "Example" in text
    assert f"  runner {verb}" in text


def test_names_complete_themselves(desk):
    """Commands, options, and files for MANIFEST, by the line that `runner --help` shows."""
    assert "_RUNNER_COMPLETE=bash_source runner" in desk("--help").stdout
    assert complete(desk, "runner sta") == ["plain,status"]
    assert complete(desk, "runner run --log-f") == ["plain,--log-format"]
    assert complete(desk, "runner run jobs/x") == ["file,jobs/x"]
