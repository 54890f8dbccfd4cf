"""What is installed: nothing that the guide gives no reason for, and nothing that is used without being named."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import runner

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "runner" / "guide" / "dependencies.md").read_text(encoding="utf-8")
EXTRAS = {name: bounds for name, bounds in PROJECT["optional-dependencies"].items() if name != "dev"}
NAMED = [*PROJECT["dependencies"], *(bound for bounds in EXTRAS.values() for bound in bounds)]
ALL = [*NAMED, *PROJECT["optional-dependencies"]["dev"]]
BROUGHT = {"cloudpickle": "distributed", "markupsafe": "jinja2", "yarl": "aiohttp"}
"""Used and not named, because another package promises to bring it."""


def name_of(bound: str) -> str:
    return re.split(r"[<>=!~;\[ ]", bound, maxsplit=1)[0].lower().replace("_", "-")


def test_every_dependency_has_a_reason_in_the_guide() -> None:
    """The table names all that is installed, with the extra that brings it, and nothing else."""
    table = PAGE
    rows = re.findall(r"^\| ([\w-]+)(?: \(extra `(\w+)`\))? \| (.+?) \| [\d.]+ MB", table, re.MULTILINE)
    told = {(name.lower(), extra) for name, extra, reason in rows if len(reason) > 10}
    wanted = {(name_of(bound), "") for bound in PROJECT["dependencies"]}
    wanted |= {(name_of(bound), extra) for extra, bounds in EXTRAS.items() for bound in bounds}
    assert told == wanted


def test_every_tool_of_the_extra_dev_is_named_in_the_guide() -> None:
    """And no tool that has gone; packages of other extras have rows of their own."""
    told = set(re.findall(r"`([\w-]+)`", PAGE.partition("the tools of")[2].partition("Lower bounds")[0])) - {
        "contributing"
    }
    extras = {name_of(bound) for bounds in EXTRAS.values() for bound in bounds}
    assert set(map(str.lower, told)) == {name_of(bound) for bound in PROJECT["optional-dependencies"]["dev"]} - extras


def test_nothing_is_used_that_is_not_named() -> None:
    """An import that works by luck breaks when another package changes what it brings."""
    found = set()
    for path in (ROOT / "runner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    distributions = packages_distributions()
    used = {distributions[name][0].lower().replace("_", "-") for name in found - sys.stdlib_module_names - {"runner"}}
    named = set(map(name_of, NAMED))
    assert used - BROUGHT.keys() <= named
    assert set(BROUGHT.values()) <= named


@pytest.mark.parametrize("bound", ALL)
def test_every_dependency_has_a_lower_bound_and_no_upper_one(bound: str) -> None:
    """`.ci/lowest` can test it, and whoever shares an environment is not kept from newer versions."""
    assert re.fullmatch(r"[\w-]+>=\d+(\.\d+)*(; sys_platform != 'win32')?", bound)


@pytest.mark.parametrize("command", ["run", "lowest", "audit"])
def test_the_commands_can_be_called(command: str) -> None:
    """As they are named in the guide for contributors."""
    path = ROOT / ".ci" / command
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    guide = ROOT / "runner" / "guide" / "contributing.md"
    assert f".ci/{command}" in guide.read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    """In the package, in what is installed, and at the top of the changelog."""
    newest = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert runner.__version__ == PROJECT["version"]
    assert newest in (runner.__version__, "Unreleased")
