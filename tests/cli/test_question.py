"""The question before a run replaces pictures that are done and paid."""

from __future__ import annotations

import os
import signal

import pytest
from support.sampling import sampled
from support.terminal import Terminal

JOBS = """\
model: blackforestlabs/flux-2-klein/4b/text-to-image
output: out
defaults: {{width: {width}, height: 64}}
jobs:
  - {{id: red, prompt: a red mug}}
  - {{id: blue, prompt: a blue mug}}
"""
QUESTION = "Replace them? [y/N]"


@pytest.fixture
def changed(desk, serve):
    """A manifest whose size was changed after both pictures were bought."""
    desk.base = serve().base
    assert desk("run", desk.write(JOBS.format(width=64))).returncode == 0
    return desk.write(JOBS.format(width=128))


def asked(desk, *words: object) -> Terminal:
    return Terminal([str(word) for word in words], desk.folder, desk.environ, 80, desk.zygote)


def answer(terminal: Terminal, text: bytes) -> int:
    terminal.read_until(lambda: QUESTION in terminal.text)
    assert "2 replace paid pictures: width changed, $0.0090" in terminal.text
    os.write(terminal.master, text)
    return terminal.read_to_the_end()


def widths(desk) -> dict[str, int]:
    return {name: record.inputs["width"] for name, record in desk.records().items()}


def test_yes_replaces_the_pictures(desk, changed):
    """One question, with number, inputs and cost; then the run goes on as always."""
    with asked(desk, "run", changed) as terminal:
        assert answer(terminal, b"y\n") == 0
    assert widths(desk) == {"red": 128, "blue": 128}


@sampled("text", [b"\n", b"no\n", b"\x04"], quick=1)
def test_anything_else_buys_nothing(desk, changed, text):
    """Enter, a no, and the end of the input: exit 75, and the summary says how to go on."""
    with asked(desk, "run", changed) as terminal:
        assert answer(terminal, text) == 75
        assert "--yes" in terminal.text
    assert widths(desk) == {"red": 64, "blue": 64}


def test_ctrl_c_is_a_no(desk, changed):
    """The question does not keep the run from ending."""
    with asked(desk, "run", changed) as terminal:
        terminal.read_until(lambda: QUESTION in terminal.text)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.read_to_the_end() == 75
    assert widths(desk) == {"red": 64, "blue": 64}


@pytest.mark.slow
def test_yes_in_advance_and_a_redo_are_not_asked(desk, changed):
    """--yes is the answer, and who names jobs for a redo has given it."""
    with asked(desk, "run", changed, "--yes") as terminal:
        assert terminal.read_to_the_end() == 0
        assert QUESTION not in terminal.text
    with asked(desk, "run", changed, "--redo", "--only", "red") as terminal:
        assert terminal.read_to_the_end() == 0
        assert QUESTION not in terminal.text


def test_without_a_terminal_the_run_goes_on_and_says_so(desk, changed):
    """A night job has nobody to ask: one line in its log."""
    ended = desk("run", changed)
    assert ended.returncode == 0
    assert ended.stderr.count("2 replace paid pictures: width changed, $0.0090; nobody is asked") == 1
    assert widths(desk) == {"red": 128, "blue": 128}


@pytest.mark.slow
def test_a_cluster_asks_once_before_its_workers_start(desk, changed):
    """The question is that of a run in one process; a no starts no shard, a yes replaces."""
    pytest.importorskip("distributed")
    for text, code, width in ((b"n\n", 75, 64), (b"y\n", 0, 128)):
        with asked(desk, "run", changed, "--cluster", "local") as terminal:
            assert answer(terminal, text) == code
            assert terminal.text.count(QUESTION) == 1
        assert widths(desk) == {"red": width, "blue": width}
