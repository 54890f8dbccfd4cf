"""What a run comes to: counts that add up, and one exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.models import OWED, Fault, Record, State
from runner.engine.summary import COUNTS, Report, Stopped, outcome_of_decision, outcome_of_record
from runner.engine.tally import Tally
from runner.planning.rules import Action, Decision


def record(state: State, code: str | None = None) -> Record:
    return Record(
        id="mug",
        purchase=1,
        state=state,
        at="now",
        api="api",
        manifest="-",
        model="m",
        inputs={},
        fingerprint="A",
        file="mug",
        request_id="req-1",
        error=Fault(code=code, message="why") if code else None,
    )


@pytest.mark.parametrize(
    ("purchase", "count"),
    [
        (record(State.DONE), "done"),
        (record(State.FAILED, "500001"), "failed"),
        (record(State.CANCELLED), "cancelled"),
        (record(State.UNKNOWN), "unknown"),
        (record(State.SUBMITTING), "unknown"),
        (record(State.SUBMITTED), "owed"),
        (record(State.GENERATED), "owed"),
        (record(State.SUBMITTED, "timeout"), "owed"),
        (record(State.GENERATED, "storage"), "owed"),
        (record(State.SUBMITTED, "expired"), "unknown"),
        (record(State.SUBMITTED, "no_output"), "unknown"),
        (record(State.GENERATED, "wrong_output"), "unknown"),
        (record(State.RELEASED), "left"),
        (record(State.FAILED, "expired"), "failed"),
    ],
)
def test_every_purchase_stands_under_one_count(purchase: Record, count: str) -> None:
    """Stuck ones stand with the unknown: both are open money questions."""
    assert outcome_of_record(purchase) == count


@pytest.mark.parametrize(
    ("action", "about", "count"),
    [
        (Action.REUSE, record(State.DONE), "skipped"),
        (Action.MOVE, record(State.DONE), "left"),
        (Action.RESTORE, record(State.DONE), "left"),
        (Action.DELIVER, record(State.DONE), "left"),
        (Action.COLLECT, record(State.SUBMITTED), "owed"),
        (Action.COLLECT, record(State.SUBMITTED, "expired"), "unknown"),
        (Action.BUY, None, "left"),
        (Action.HOLD, record(State.UNKNOWN), "unknown"),
        (Action.FAILED, record(State.FAILED, "x"), "failed"),
    ],
)
def test_a_job_that_the_run_does_not_reach_is_counted_as_it_stands(
    action: Action, about: Record | None, count: str
) -> None:
    """A run that is stopped early still accounts for every job."""
    assert outcome_of_decision(Decision(action=action, reason="", record=about)) == count


def stopped(code: int) -> Stopped:
    return Stopped(reason="why", exit_code=code)


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(), 0),
        (Report(done=3, skipped=4), 0),
        (Report(done=3, failed=1), 1),
        (Report(cancelled=1), 1),
        (Report(missing=1), 0),
        (Report(unknown=1), 2),
        (Report(unknown=1, failed=1, cancelled=1, missing=1), 2),
        (Report(owed=1), 75),
        (Report(left=1), 75),
        (Report(owed=1, unknown=1, failed=1), 75),
        (Report(done=3, stopped=stopped(75)), 0),
        (Report(failed=1, stopped=stopped(75)), 1),
        (Report(unknown=1, stopped=stopped(75)), 2),
        (Report(left=1, unknown=1, stopped=stopped(75)), 75),
        (Report(owed=1, stopped=stopped(75)), 75),
        (Report(missing=1, failed=1), 1),
        (Report(left=5, failed=1, stopped=stopped(1)), 1),
        (Report(left=5, owed=1, failed=1, stopped=stopped(1)), 75),
        (Report(left=5, unknown=1, failed=1, stopped=stopped(1)), 2),
        (Report(left=5, stopped=stopped(65)), 65),
        (Report(left=1, stopped=stopped(77)), 77),
        (Report(left=1, owed=1, unknown=1, failed=1, stopped=stopped(69)), 69),
        (Report(unknown=1, stopped=stopped(77)), 77),
        (Report(failed=1, stopped=stopped(73)), 73),
        (Report(done=1, stopped=stopped(69)), 69),
    ],
)
def test_the_exit_code_is_the_first_that_applies(report: Report, code: int) -> None:
    """A script can tell account or service, then work left, then money questions, then failures, from all done."""
    assert report.exit_code == code


COUNTED = st.fixed_dictionaries({name: st.integers(0, 10**6) for name in COUNTS})
STOPS = st.none() | st.sampled_from([69, 73, 75, 77]).map(stopped)


@settings(deadline=None)
@given(counts=COUNTED, stop=STOPS)
def test_total_is_the_sum_and_zero_means_all_done(counts: dict[str, Any], stop: Stopped | None) -> None:
    """No job is counted twice or lost, and exit 0 is said only if each is done."""
    report = replace(Report(stopped=stop), **counts)
    assert report.total == sum(counts.values())
    assert report.as_json()["total"] == report.total
    if report.exit_code == 0:
        assert report.total == report.done + report.skipped + report.missing
    elif report.exit_code == 75:
        assert report.owed or report.left


def test_the_json_object_has_the_promised_keys_in_their_order() -> None:
    """Scripts rely on the names, and on amounts without binary noise."""
    report = Report(done=1, cost_usd=0.1 + 0.2, spent_usd=0.30000000004, seconds=1.23456, output="/o", results="/o/r")
    printed: dict[str, Any] = json.loads(json.dumps(report.as_json()))
    assert " ".join(printed) == (
        "total done skipped failed cancelled unknown owed left missing cost_usd spent_usd seconds output results"
    )
    assert (printed["cost_usd"], printed["spent_usd"], printed["seconds"]) == (0.3, 0.3, 1.235)


def test_the_counts_are_the_eight_that_are_documented() -> None:
    """``total`` is the sum of the eight counts after it."""
    assert COUNTS == ("done", "skipped", "failed", "cancelled", "unknown", "owed", "left", "missing")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(State), st.sampled_from(State)), max_size=30))
def test_a_job_that_changes_its_count_is_counted_once(changes: list[tuple[State, State]]) -> None:
    """However a job fares, it stands under one count."""
    books = Tally()
    for before, after in changes:
        books.enter_owed(record(before))
        books.correct(record(before), record(after))
    assert books.counts == {
        name: sum(outcome_of_record(record(after)) == name for _, after in changes) for name in COUNTS
    }


def test_only_what_the_states_call_owed_is_owed() -> None:
    """The table of states and the counts agree on what is paid and not on disk."""
    assert {state for state in State if outcome_of_record(record(state)) == "owed"} == OWED
