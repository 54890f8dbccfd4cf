"""What a person sees of a run at a terminal."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
from support.sampling import sampled
from support.terminal import Terminal

from runner.core.models import State

SGR = re.compile(r"\x1b\[[\d;]*m")
STATES = ("done", "paid", "in flight", "queued", "failed", "unknown")


def at_a_terminal(desk, *arguments, columns=80, **environ) -> Terminal:
    return Terminal(list(map(str, arguments)), desk.folder, {**desk.environ, **environ}, columns, desk.zygote)


def frame(terminal: Terminal) -> list[str]:
    """The display as it stands, from the bar on."""
    lines = terminal.screen.lines
    return lines[next(number for number, line in enumerate(lines) if "━" in line) :]


def count_of(terminal: Terminal, words: str) -> int:
    return sum(words in line for line in terminal.screen.lines)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_display_tells_all_that_matters_and_fits(desk, serve, columns):
    """At 80 and 120 columns: the bar, every count, concurrency, money against the cap, in lines that fit."""
    desk.base = serve("--seconds", "30").base
    with at_a_terminal(desk, "run", desk.jobs(5, concurrency=2, budget=5.0), columns=columns) as terminal:
        terminal.read_until(lambda: "in flight 1 of 2" in "\n".join(terminal.screen.lines))  # the first bill is awaited
        text = "\n".join(terminal.screen.lines)
        assert all(state in text for state in STATES)
        assert "queued 4" in text
        assert "up to 2" not in text  # a number of the user's needs no reason
        assert "0 of 5" in text
        assert "reserved of $5.00" in text
        assert max(map(len, frame(terminal))) < columns


def test_the_display_says_why_so_many_are_in_flight(desk, serve):
    """With `concurrency: auto` a line names the number and its reason."""
    desk.base = serve("--seconds", "30").base
    with at_a_terminal(desk, "run", desk.jobs(30, concurrency="auto"), columns=80) as terminal:
        terminal.read_until(lambda: "in flight: requests wait in the API's queue" in "\n".join(terminal.screen.lines))


@pytest.mark.slow
def test_it_stays_whole_when_the_window_changes(desk, serve):
    """Wider or narrower, there is one bar and one line of each kind, and nothing of older frames stays behind."""
    desk.base = serve("--seconds", "30").base
    with at_a_terminal(desk, "run", desk.jobs(5, concurrency=2), columns=120) as terminal:
        terminal.read_until(lambda: "in flight 2 of 2" in "\n".join(terminal.screen.lines))
        for columns in (60, 80, 45, 120):
            terminal.resize(columns)
            before = terminal.text.count("spent")
            terminal.read_until(lambda before=before: terminal.text.count("spent") >= before + 3)
            assert (count_of(terminal, "━━━━"), count_of(terminal, "queued"), count_of(terminal, "spent")) == (1, 1, 1)
            assert max(map(len, frame(terminal))) < columns


def test_an_alert_is_read_to_its_end(desk, serve):
    """It stands out in bold red, and takes as many lines as it needs."""
    words = "the prompt names a brand that this model may not draw, so the request was refused before it began: END"
    fault = f"submit status status=422 match='picture 0' message='{words}'"
    desk.base = serve("--seconds", "30", "--fault", fault).base
    with at_a_terminal(desk, "run", desk.jobs(2, concurrency=2)) as terminal:
        terminal.read_until(lambda: any(line.rstrip().endswith("END") for line in terminal.screen.lines))
        alert = [line for line in terminal.screen.lines if "job-0" in line or "END" in line]
        assert len(alert) == 2
        assert "\x1b[1;31m" in terminal.text


def test_it_ends_with_a_short_summary_in_its_place(desk):
    """The display goes; what stays is what was run, the counts, the money, the place, and what to type next."""
    manifest = desk.jobs(3)
    with at_a_terminal(desk, "run", "batch.yaml", "--emulator") as terminal:
        assert terminal.read_to_the_end() == 0
    lines = terminal.screen.lines
    assert manifest.name in lines[0]
    assert not any("━" in line or "queued" in line for line in lines)
    assert any(re.match(r"3 jobs in \d+ s: 3 done", line) for line in lines)
    assert "next: runner report batch.yaml --emulator" in lines
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l"), "the cursor is back"


@pytest.mark.slow
def test_failures_are_grouped_by_cause_at_the_end(desk, serve):
    """Forty failures of one cause are one line with an example; the next command is there to be copied."""
    desk.base = serve("--fault", "job fail p=1").base
    with at_a_terminal(desk, "run", desk.jobs(40, concurrency=20), columns=200) as terminal:
        assert terminal.read_to_the_end() == 1
    lines = terminal.screen.lines[1:]
    assert any(re.match(r"  40 failed, \w+; such as job-\d+: ", line) for line in lines)
    assert f"next: runner status {desk.folder / 'batch.yaml'}" in lines
    assert len(lines) <= 15


def test_ctrl_c_says_what_happens_and_a_second_one_gives_the_cursor_back(desk, serve):
    """The first: what is in flight has 20 s. The second: the end, with the terminal as it was."""
    desk.base = serve("--seconds", "30").base
    with at_a_terminal(desk, "run", desk.jobs(5, concurrency=2)) as terminal:
        terminal.read_until(lambda: "in flight 2 of 2" in "\n".join(terminal.screen.lines))
        terminal.process.send_signal(signal.SIGINT)
        told = "SIGINT: finishing requests in flight, at most 20 s; again to stop at once"
        terminal.read_until(lambda: told in terminal.screen.lines)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.read_to_the_end() == 75
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l")


def test_no_color_is_obeyed(desk):
    """`NO_COLOR`: the display moves, and nothing of it is coloured, bold or dim."""
    desk.jobs(2)
    with at_a_terminal(desk, "run", "batch.yaml", "--emulator", NO_COLOR="1") as terminal:
        assert terminal.read_to_the_end() == 0
    assert "\x1b[" in terminal.text
    assert not SGR.search(terminal.text)


def test_colours_are_there_without_it(desk):
    desk.jobs(2)
    with at_a_terminal(desk, "run", "batch.yaml", "--emulator") as terminal:
        assert terminal.read_to_the_end() == 0
    assert SGR.search(terminal.text)


def test_a_terminal_that_only_prints_gets_plain_lines(desk):
    """TERM=dumb, as in an editor's shell: no control sequence at all."""
    desk.jobs(2)
    with at_a_terminal(desk, "run", "batch.yaml", "--emulator", TERM="dumb") as terminal:
        assert terminal.read_to_the_end() == 0
    assert "\x1b" not in terminal.text
    assert "2 jobs in" in terminal.text


def test_quiet_is_quiet_at_a_terminal_too(desk):
    desk.jobs(2)
    with at_a_terminal(desk, "run", "batch.yaml", "--emulator", "--quiet") as terminal:
        assert terminal.read_to_the_end() == 0
    assert terminal.text == ""


def test_verbose_prints_every_step_above_the_display(desk):
    """Each step of each job stays on the screen, and the summary comes below."""
    desk.jobs(2)
    with at_a_terminal(desk, "run", "batch.yaml", "--emulator", "--verbose", columns=100) as terminal:
        assert terminal.read_to_the_end() == 0
    text = "\n".join(terminal.screen.lines)
    for step in ("submitting", "submitted as request", "generated", "done"):
        assert re.search(rf"^\d\d:\d\d:\d\d job-1: {step}", text, re.MULTILINE)
    assert text.index("job-1: done") < text.index("2 jobs in")


@sampled("term", ["xterm", "dumb"], quick=1)
def test_a_terminal_that_goes_away_ends_no_run(desk, serve, term):
    """The window is closed, or the connection lost: what is under way is brought to its end all the same."""
    served = serve("--seconds", "1")
    desk.base = served.base
    with at_a_terminal(desk, "run", desk.jobs(6, concurrency=2), TERM=term) as terminal:
        terminal.read_until(lambda: served.stats["accepted"] >= 2)
        terminal.hang_up()
        assert terminal.process.wait(60) == 0
    assert {record.state for record in desk.records().values()} == {State.DONE}


@pytest.mark.slow
def test_rich_is_loaded_for_a_terminal_only(desk):
    """A run from cron does not pay for a display that nobody sees."""
    code = (
        "import sys; from runner.cli.main import main; sys.argv = ['runner', 'run', 'batch.yaml', '--emulator'];"
        "main(); print('rich' in sys.modules)"
    )
    desk.jobs(1)
    with Terminal([sys.executable, "-c", code], desk.folder, desk.environ) as terminal:
        terminal.read_to_the_end()
    assert terminal.text.endswith("True\r\n")
    plain = subprocess.run(
        [sys.executable, "-c", code], cwd=desk.folder, env=desk.environ, capture_output=True, check=True
    )
    assert plain.stdout == b"False\n"
