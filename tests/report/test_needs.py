"""What needs a person: a row for each cause, with the command that helps."""

from __future__ import annotations

from support.results_folder import record

from runner.core.models import Fault, Output, State
from runner.report.cards import CardSources, make_cards
from runner.report.needs import MAX_CAUSES, causes, count_states, flight, title
from runner.report.thumbnails import Look, PictureCondition

REFUSED = Fault(code="422001", message="no such size", http_status=422)
OUTPUT = Output(url="https://x/1", path="a.png", sha256="0" * 64, bytes=9)


def cards(*records, busy=False, **looks):
    """Cards of records, and of done ones with the condition of their files."""
    done = [record(job_id, outputs=(OUTPUT,), request_id="r") for job_id in looks]
    seen = {(job_id, 1): Look(stand=PictureCondition(stand)) for job_id, stand in looks.items()}
    return make_cards([*records, *done], CardSources(looks=seen, busy=busy))


def test_jobs_of_one_cause_are_one_row():
    """By state, code and advice; the error of the first stands for all."""
    same = [record(f"a{n}", State.FAILED, error=REFUSED) for n in range(3)]
    other = record("b", State.FAILED, error=Fault(code="5", message="busy", retryable=True), request_id="r")
    found = causes(cards(*same, other, c="right"), "spring.yaml")
    assert [(cause.jobs, cause.why) for cause in found] == [
        ("3 jobs", "422001 (HTTP 422): no such size"),
        ("1 job: b", "5: busy"),
    ]
    assert found[0].cards == {0, 1, 2}
    assert count_states(found, cards(*same, other)) == "4 failed"


def test_what_needs_a_person_comes_before_what_the_next_run_does():
    """Each with the command that helps."""
    owed = record("o", State.GENERATED, request_id="r")
    unknown = record("u", State.UNKNOWN)
    stuck = record("s", State.SUBMITTED, request_id="r", error=Fault(code="expired", message="gone"))
    found = causes(cards(owed, unknown, stuck, m="missing", t="altered"), "spring.yaml --emulator")
    assert [(cause.state, cause.command) for cause in found] == [
        ("unknown", "runner reconcile spring.yaml --emulator"),
        ("stuck", "runner reconcile spring.yaml --emulator"),
        ("altered", "runner verify spring.yaml --emulator --repair"),
        ("missing", "runner verify spring.yaml --emulator --repair"),
        ("owed", "runner collect spring.yaml --emulator"),
    ]
    assert title(found) == "Needs you"
    assert title(causes(cards(owed), "x")) == "For the next run"


def test_what_is_in_flight_is_told_apart():
    """It needs nobody."""
    flying = cards(record("o", State.SUBMITTED, request_id="r"), record("p", State.SUBMITTING), busy=True)
    assert causes(flying, "x") == []
    assert flight(flying) == "2 jobs are in flight: a run is going on."
    assert flight(cards(a="right")) == ""


def test_codes_without_end_are_bounded():
    """An API may invent one for every job."""
    many = [record(f"a{n}", State.FAILED, error=Fault(code=f"c{n}", message="")) for n in range(MAX_CAUSES + 9)]
    found = causes(cards(*many), "x")
    assert len(found) == MAX_CAUSES + 1
    assert sum(len(cause.cards) for cause in found) == len(many)
