"""Help texts: each command says what it does, with an example, on one screen; mistakes lead to the right command."""

from __future__ import annotations

import re
from importlib import import_module

import click
import pytest

from runner.cli.main import COMMANDS, cli

QUESTIONS = {"What", "Whether", "Where", "How", "Which", "Who", "Why", "When"}
LINES = 40


def command(name: str) -> click.Command:
    found = import_module(f"runner.cli.commands.{name}").command
    assert isinstance(found, click.Command)
    return found


def help_of(name: str) -> str:
    context = click.Context(command(name), info_name=f"runner {name}", terminal_width=80)
    return command(name).get_help(context)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_on_a_screen_and_has_an_example(name):
    """In a terminal of 80 columns and 40 lines nothing scrolls away."""
    lines = help_of(name).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 80
    assert any(re.fullmatch(r" +Examples?:", line) for line in lines)
    assert any(line.strip().startswith(f"runner {name}") for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_something_does_and_asks_no_question(name):
    """ "List …" and "Use …", not "What is listed" or "Whether to use"."""
    texts = [COMMANDS[name], command(name).help or ""]
    texts += [option.help or "" for option in command(name).params if isinstance(option, click.Option)]
    assert all(texts), "every option has a help text"
    assert [text for text in texts if text.split()[0] in QUESTIONS] == []


def test_the_list_of_commands_fits_on_a_screen():
    """Each command has one line."""
    lines = cli.get_help(click.Context(cli, info_name="runner", terminal_width=80)).splitlines()
    assert len(lines) <= LINES
    assert sum(line.split()[:1] == [name] for name in COMMANDS for line in lines) == len(COMMANDS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["stats", "batch.yaml"], "Did you mean `runner status`?"),
        (["resume", "batch.yaml"], "Did you mean `runner run`?"),
        (["run", "batch.yaml", "--dry-run"], "`runner plan` shows what a run would do"),
        (["run", "batch.yaml", "--workers", "4"], "--concurrency"),
        (["run", "batch.yaml", "--emulater"], "--emulator"),
    ],
)
def test_an_unknown_command_or_option_names_the_right_one(desk, words, told):
    """Words of other tools are understood, and misspelt ones corrected: exit 64, and nothing is bought."""
    ended = desk(*words)
    assert ended.returncode == 64
    assert told in ended.stderr
