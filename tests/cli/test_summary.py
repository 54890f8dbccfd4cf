"""The summary at the end of a run: short, complete, and with the next command to type."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_records import record

from runner.cli.conclude import ResultsPlace
from runner.cli.display.summary import MAX_LINES, Typed, cause_fields, next_steps, summary_lines
from runner.core.models import Fault, State
from runner.core.shards import Shard
from runner.engine.summary import COUNTS, MAX_CAUSES, FailureCauses, Report, Stopped

TYPED = Typed(again="runner run 'my jobs.yaml' --budget 5", target="'my jobs.yaml'", run="runner run 'my jobs.yaml'")
REFUSED = Fault(code="422001", message="the prompt was refused", http_status=422)


def causes_of(*entries: tuple[State, Fault | None, str]) -> FailureCauses:
    causes = FailureCauses()
    for number, (state, error, outcome) in enumerate(entries):
        causes.add(record(number, state, error), outcome)
    return causes


faults = st.none() | st.builds(
    Fault, code=st.text(max_size=300), message=st.text(max_size=2000), http_status=st.none() | st.integers(400, 599)
)
entries = st.tuples(st.sampled_from(State), faults, st.sampled_from(COUNTS))
reports = st.builds(
    lambda counts, found, stopped, notes: Report(
        **counts, causes=causes_of(*found).listed(), stopped=stopped, notes=tuple(notes), results="/out/results.jsonl"
    ),
    st.fixed_dictionaries({name: st.integers(0, 10**6) for name in COUNTS}),
    st.lists(entries, max_size=80),
    st.none() | st.builds(Stopped, reason=st.text(max_size=500), exit_code=st.sampled_from([1, 69, 75, 77])),
    st.lists(st.text(max_size=500), max_size=10),
)


@given(reports)
def test_it_fits_whatever_happened(report):
    """Fifteen lines at most, none with a control character, and something to type unless nothing was asked for."""
    lines = summary_lines(report, TYPED)
    assert len(lines) <= MAX_LINES
    assert not any(ord(char) < 32 for line in lines for char in line)
    assert any(line.startswith("next: runner ") for line in lines) == bool(report.total)


def test_failures_are_grouped_by_cause_with_an_example():
    """Code and HTTP status make a group; the largest first; one message and request of each."""
    causes = causes_of(
        (State.FAILED, Fault(code="model_error", message="lost"), "failed"),
        *[(State.FAILED, REFUSED, "failed")] * 40,
        (State.UNKNOWN, Fault(code="no_answer", message="reset"), "unknown"),
    )
    report = Report(failed=41, unknown=1, causes=causes.listed())
    lines = [line for line in summary_lines(report, TYPED) if line.startswith("  ")]
    assert lines[0] == "  40 failed, 422001 (HTTP 422); such as job-1: the prompt was refused [request r-1]"
    assert lines[1].startswith("  1 failed, model_error; such as job-0: lost")
    assert lines[2].startswith("  1 unknown, no_answer; such as job-41: reset")
    assert cause_fields(report)[0] == {
        "outcome": "failed",
        "code": "422001",
        "http_status": 422,
        "count": 40,
        "example": "job-1",
    }


def test_causes_without_end_are_counted_together():
    """Codes are the API's words: however many there are, memory and summary stay small."""
    found = [(State.FAILED, Fault(code=f"c{number}", message="x"), "failed") for number in range(500)]
    listed = causes_of(*found).listed()
    assert len(listed) == MAX_CAUSES + 1
    assert sum(cause.count for cause in listed) == 500


def test_what_turned_out_otherwise_is_counted_once():
    causes = causes_of((State.SUBMITTED, REFUSED, "owed"))
    causes.drop(record(0, State.SUBMITTED, REFUSED), "owed")
    assert causes.listed() == ()


@pytest.mark.parametrize(
    ("counts", "commands"),
    [
        ({"done": 3}, ["runner report 'my jobs.yaml'"]),
        ({"skipped": 3}, ["runner report 'my jobs.yaml'"]),
        ({"done": 1, "failed": 1}, ["runner status 'my jobs.yaml'"]),
        ({"owed": 2}, ["runner run 'my jobs.yaml' --budget 5"]),
        ({"left": 2}, ["runner run 'my jobs.yaml' --budget 5"]),
        ({"unknown": 1, "left": 2}, ["runner reconcile 'my jobs.yaml'", "runner run 'my jobs.yaml' --budget 5"]),
        ({"missing": 1}, ["runner run 'my jobs.yaml' --redo --missing"]),
        ({}, []),
    ],
)
def test_the_next_command_can_be_typed_as_it_stands(counts, commands):
    """The most pressing first, quoted for a shell."""
    assert [step.command for step in next_steps(Report(**counts), TYPED)] == commands


def test_a_manifest_from_standard_input_is_named_by_its_folder():
    """There is no file to name, and the folder serves every verb."""
    report = Report(unknown=1, output="/srv/my out")
    typed = Typed(again="runner run -", target="", run="runner run MANIFEST")
    assert next_steps(report, typed)[0].command == "runner reconcile '/srv/my out'"


@pytest.mark.parametrize(
    ("place", "run"),
    [
        ({"manifest": "my jobs.yaml"}, "runner run 'my jobs.yaml'"),
        ({"manifest": "a.yaml", "output": Path("o2")}, "runner run a.yaml --output o2"),
        (
            {"manifest": "a.yaml", "emulator": True, "shard": Shard(index=2, of=4)},
            "runner run a.yaml --emulator --shard 2/4",
        ),
        ({"manifest": "-", "output": Path("o2")}, "runner run MANIFEST --output o2"),
        ({"manifest": "."}, "runner run MANIFEST"),
    ],
)
def test_what_runs_the_jobs_again_names_the_manifest(place, run):
    """A folder serves other verbs; to buy again takes the manifest, and the place that was chosen for its results."""
    assert ResultsPlace(**{"output": None, "emulator": False, **place}).typed().run == run


def test_why_buying_stopped_is_said_where_it_matters():
    report = Report(left=5, stopped=Stopped(reason="the account has no balance", exit_code=77))
    assert "stopped: the account has no balance" in summary_lines(report, TYPED)


@pytest.mark.parametrize(
    ("exit_code", "first"),
    [(65, "corrected the problem"), (69, "later"), (73, "made room"), (77, "the token or the balance")],
)
@pytest.mark.parametrize("left", [0, 2])
def test_the_next_step_says_what_comes_before_the_same_command(exit_code, first, left):
    """The same command alone would stop for the same reason again."""
    report = Report(left=left, stopped=Stopped(reason="why", exit_code=exit_code))
    step = next_steps(report, TYPED)[0]
    assert step.command == TYPED.again
    assert first in step.why
    assert "continues" in step.why


def test_stuck_purchases_are_told_from_those_of_unknown_outcome():
    """One is paid and unavailable, the other may not be bought at all; ``unknown`` counts both, in ``--json``."""
    lost = Fault(code="no_answer", message="reset")
    gone = Fault(code="expired", message="the API does not know this request any more")
    causes = causes_of((State.UNKNOWN, lost, "unknown"), *[(State.SUBMITTED, gone, "unknown")] * 2)
    report = Report(unknown=3, causes=causes.listed())
    lines = summary_lines(report, TYPED)
    assert lines[0].endswith("3 jobs in 0 s: 1 unknown, 2 stuck")
    assert any(line.startswith("  2 stuck, expired") for line in lines)
    why = next_steps(report, TYPED)[0].why
    assert "1 of unknown outcome" in why
    assert "2 stuck, paid but unavailable" in why
