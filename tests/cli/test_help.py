"""Help texts: each command says what it does, with an example, on one screen; mistakes lead to the right command."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

import runner
from runner.cli import other_tools
from runner.cli.command_help import FEW, GROUPS
from runner.cli.main import COMMANDS, cli, main

QUESTIONS = {"What", "Whether", "Where", "How", "Which", "Who", "Why", "When"}
LINES = 40
GUIDE = Path(runner.__file__).parent / "guide"


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


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_names_a_page_of_the_manual_that_exists(name):
    """Its last line is a command that prints the page; `guide` is the manual itself."""
    if name == "guide":
        return
    told = re.fullmatch(r"Manual: runner guide ([\w-]+)", help_of(name).splitlines()[-1])
    assert told is not None
    assert (GUIDE / f"{told[1]}.md").is_file()


@pytest.mark.parametrize("name", COMMANDS)
def test_many_options_are_in_groups(name):
    """Every option is shown once, under the same heading in all commands, and the headings have one order."""
    lines = help_of(name).splitlines()
    options = [param for param in command(name).params if isinstance(param, click.Option)]
    for option in options:
        assert sum(line.split()[:1] == [option.opts[-1]] for line in lines) == 1, option.opts
    headings = [line[:-1] for line in lines if re.fullmatch(r"[A-Z]\w+:", line)]
    if len(options) <= FEW:
        assert set(headings) <= {"Options"}
    else:
        assert headings == [heading for heading in GROUPS if heading in headings]
        assert {option.opts[-1] for option in options} <= {name for names in GROUPS.values() for name in names}


def test_no_word_of_another_tool_is_one_of_ours():
    """A word in the tables would never be reached if it were a command, and no option of `run` is answered."""
    assert not COMMANDS.keys() & {*other_tools.COMMANDS, *other_tools.SAME_COMMAND}
    assert not other_tools.COMMANDS.keys() & other_tools.SAME_COMMAND.keys()
    assert set(other_tools.SAME_COMMAND.values()) <= COMMANDS.keys()
    assert not other_tools.OPTIONS.keys() & {name for option in command("run").params for name in option.opts}
    known = {name for name in COMMANDS for option in command(name).params for name in option.opts} | {
        "--help",
        "--version",
    }
    for told in other_tools.OPTIONS.values():
        assert set(re.findall(r"(?<![\w-])--[\w-]+", told)) <= known


@pytest.mark.parametrize("option", sorted(other_tools.OPTIONS))
def test_an_option_of_another_tool_is_answered(option, capsys, monkeypatch):
    """Exit 64, and one sentence that says what to use here."""
    monkeypatch.setattr("sys.argv", ["runner", "run", "batch.yaml", option])
    assert main() == 64
    assert other_tools.OPTIONS[option] in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_answer_names_no_option_that_the_command_lacks(name):
    """`runner report -j 4` does not send to `--concurrency`, which `report` would refuse as well."""
    known = {option for param in command(name).params for option in param.opts} | {"--help"}
    for word in other_tools.OPTIONS.keys() - known:
        told = other_tools.answer_option(word, name, known)
        assert told is not None
        if not told.startswith("For `runner run`: "):
            assert other_tools.named_options(told) <= known, word


def test_a_file_to_write_is_named_in_the_way_of_each_command(capsys, monkeypatch):
    """`-o` means a file in many tools: `report` has `--to`, and `export` prints."""
    for words, told in (
        (["report", "output/spring", "-o", "a.html"], "The page is named with --to"),
        (["export", "output/spring", "--out", "a.csv"], "add `> receipts.csv`"),
        (["status", "output/spring", "-j", "4"], "For `runner run`: Use --concurrency"),
    ):
        monkeypatch.setattr("sys.argv", ["runner", *words])
        assert main() == 64
        assert told in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("word", sorted({*other_tools.COMMANDS, *other_tools.SAME_COMMAND}))
def test_a_command_of_another_tool_is_answered(word, capsys, monkeypatch):
    """Exit 64, and the command here, or a sentence."""
    monkeypatch.setattr("sys.argv", ["runner", word])
    assert main() == 64
    told = other_tools.COMMANDS.get(word) or f"Did you mean `runner {other_tools.SAME_COMMAND.get(word)}`?"
    assert told in capsys.readouterr().err.replace("\n", " ")


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
