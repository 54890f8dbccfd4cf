"""What is known of a run under way, whatever happens in which order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_records import PROMPT, record

from runner.cli.console import plain
from runner.cli.display.events import LAST_EVENTS, Event, LastEvents, Severity, event_of
from runner.cli.display.progress import Snapshot, Track, line_of, money_in_words
from runner.core.models import Fault, State
from runner.core.text import in_words, usd
from runner.engine.run_status import BudgetStatus, RunStatus
from runner.engine.summary import COUNTS

FAULTS = [None, Fault(code="timeout", message="late"), Fault(code="expired", message="gone", http_status=404)]


records = st.builds(record, st.integers(0, 5), st.sampled_from(State), st.sampled_from(FAULTS))
standings = st.builds(
    RunStatus,
    counts=st.dictionaries(st.sampled_from(COUNTS), st.integers(-2, 30)),
    cost_usd=st.floats(0, 100),
    concurrency=st.none() | st.integers(1, 100),
    cap=st.none()
    | st.builds(
        BudgetStatus,
        usd=st.floats(0, 9),
        per_day=st.booleans(),
        spent_usd=st.floats(0, 9),
        reserved_usd=st.floats(0, 9),
    ),
)


@given(st.lists(st.tuples(records, standings, st.floats(0, 100)), min_size=1, max_size=40))
def test_every_job_stands_under_one_count_whatever_comes(steps):
    """No count is ever negative, and they add up to the jobs of the run; nor are rate, money and time left."""
    track, now = Track(), 0.0
    for seen, standing, seconds in steps:
        now += seconds
        track.see(seen)
        snapshot = track.read(standing, now)
        assert snapshot.total == sum(max(0, count) for count in standing.counts.values())
        names = ("done", "skipped", "paid", "in_flight", "queued", "failed", "cancelled", "unknown", "missing")
        assert all(getattr(snapshot, name) >= 0 for name in names)
        assert snapshot.reserved_usd >= 0
        assert (snapshot.per_minute or 0) >= 0
        assert (snapshot.seconds_left or 0) >= 0
        assert "\n" not in line_of(snapshot)


def test_a_purchase_moves_from_the_queue_to_the_api_to_the_disk():
    """Queued, in flight from the intent on, paid once it is made, done when the books say so."""
    track, standing = Track(), RunStatus(counts={"left": 3, "owed": 1})
    seen = []
    for state in (State.SUBMITTING, State.SUBMITTED, State.GENERATED, State.DONE):
        track.see(record(1, state))
        at = track.read(
            standing if state is not State.DONE else RunStatus(counts={"left": 2, "owed": 1, "done": 1}), 0.0
        )
        seen.append((at.queued, at.in_flight, at.paid, at.done))
    assert seen == [(2, 1, 1, 0), (2, 1, 1, 0), (2, 0, 2, 0), (2, 0, 1, 1)]


@pytest.mark.parametrize("end", [State.RELEASED, State.UNKNOWN, State.FAILED])
def test_what_was_refused_is_not_in_flight(end):
    """A refusal, a lost answer or a failure frees the place at the API."""
    track = Track()
    track.see(record(1, State.SUBMITTING))
    track.see(record(1, end))
    snapshot = track.read(RunStatus(counts={"left": 1}), 0.0)
    assert (snapshot.in_flight, snapshot.queued, snapshot.reserved_usd) == (0, 1, 0.0)


def test_a_bill_takes_the_place_of_the_reserve():
    track = Track()
    track.see(record(1, State.SUBMITTING))
    assert track.read(RunStatus(), 0.0).reserved_usd == 0.009
    track.see(record(1, State.GENERATED, cost_usd=0.0045))
    assert track.read(RunStatus(cost_usd=0.0045), 0.0).reserved_usd == 0.0


def ending(track: Track, ends: list[tuple[float, int]], total: int = 100) -> Snapshot:
    """The view after so many had ended at each time."""
    for now, ended in ends:
        snapshot = track.read(RunStatus(counts={"left": total - ended, "done": ended}), now)
    return snapshot


def test_the_time_left_follows_the_recent_rate():
    """One a second for five minutes: sixty a minute, and as many seconds left as jobs."""
    snapshot = ending(Track(), [(float(second), second) for second in range(301)], 400)
    assert snapshot.per_minute == pytest.approx(60, rel=0.02)
    assert snapshot.seconds_left == pytest.approx(100, rel=0.02)


def test_bursts_do_not_shake_it():
    """Sixteen at once every thirty seconds: from the second wave on the rate stays within half of the truth."""
    track, rates = Track(), []
    for second in range(600):
        snapshot = ending(track, [(float(second), second // 30 * 16)], 1000)
        if second > 180:
            rates.append(snapshot.per_minute or 0.0)
    assert 16 < min(rates) <= 32 <= max(rates) < 48
    assert all(abs(later - sooner) < 12 for sooner, later in pairwise(rates))


@pytest.mark.parametrize("ends", [[(0.0, 0)], [(0.0, 0), (2.0, 20)], [(0.0, 0), (60.0, 4)], [(0.0, 0), (60.0, 0)]])
def test_no_time_left_is_better_than_a_guess(ends):
    """In the first seconds, after a few jobs, or when nothing ends, none is shown."""
    assert ending(Track(), ends).seconds_left is None


def test_a_pause_hides_the_time_left():
    track = Track()
    ending(track, [(float(second), second) for second in range(31)])
    track.pause(20.0, "429", 30.0)
    assert ending(track, [(31.0, 31)]).seconds_left is None
    assert ending(track, [(31.0, 31)]).paused == "429; 19 s more"
    assert ending(track, [(51.0, 32)]).paused == ""


def test_more_work_than_before_is_a_new_beginning():
    """A survey that still counts, or a second round of purchases, makes no rate."""
    track = Track()
    ending(track, [(0.0, 0), (10.0, 50)])
    assert track.read(RunStatus(counts={"left": 500}), 11.0).per_minute is None
    assert track.read(RunStatus(counts={"left": 480}), 31.0).per_minute == pytest.approx(60)


weights = st.sampled_from(Severity)


@given(st.lists(weights, max_size=30))
def test_the_last_events_keep_what_needs_a_person(seen):
    """Four at most, in order; the latest one that needs a person is among them, whatever came after."""
    last = LastEvents()
    for number, weight in enumerate(seen):
        last.add(Event(at=number, name="x", text="", weight=weight))
    shown = [int(event.at) for event in last]
    assert len(shown) <= LAST_EVENTS
    assert shown == sorted(shown)
    alerts = [number for number, weight in enumerate(seen) if weight is Severity.ALERT]
    assert not alerts or alerts[-1] in shown
    assert not seen or len(seen) - 1 in shown


@given(st.sampled_from(State), st.text(), st.text())
def test_no_event_holds_a_prompt_or_a_control_character(state, before, after):
    """Whatever the API says in its error, the prompt and the key of an address stay out, on one line."""
    message = f"{before}{PROMPT}\x1b[2J\n{after} https://files/x.png?X-Signature=secret"
    event = event_of(record(1, state, Fault(code="c", message=message)), 0.0)
    told = event.text + str(event.fields)
    assert PROMPT not in told
    assert "secret" not in told
    assert not any(char in event.text for char in "\x1b\n\r\x9b")


@pytest.mark.parametrize(
    ("state", "error", "weight"),
    [
        (State.SUBMITTING, None, Severity.STEP),
        (State.DONE, None, Severity.NEWS),
        (State.RELEASED, FAULTS[1], Severity.STEP),
        (State.SUBMITTED, FAULTS[1], Severity.NOTICE),
        (State.SUBMITTED, FAULTS[2], Severity.ALERT),
        (State.UNKNOWN, FAULTS[1], Severity.ALERT),
        (State.FAILED, FAULTS[1], Severity.ALERT),
        (State.CANCELLED, None, Severity.ALERT),
    ],
)
def test_who_hears_of_what(state, error, weight):
    assert event_of(record(1, state, error), 0.0).weight is weight


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (36000, "10 h 00 min")],
)
def test_times_are_as_exact_as_needed(seconds, words):
    assert in_words(seconds) == words


def test_money_against_the_cap():
    cap = BudgetStatus(usd=25.0, per_day=True, spent_usd=12.5, reserved_usd=0.009)
    assert money_in_words(Snapshot(cap=cap, reserved_usd=0.009)) == "$12.50 spent + $0.0090 reserved of $25.00 a day"
    assert money_in_words(Snapshot(cost_usd=0.0045)) == "$0.0045 spent"
    assert usd(9.99999) == "$10.00"


def test_a_log_line_has_all_of_it():
    snapshot = Snapshot(done=99, in_flight=14, queued=47, failed=2, cost_usd=0.4455, per_minute=84.2, seconds_left=44)
    assert line_of(snapshot) == (
        "101 of 162: 99 done, 14 in flight, 47 queued, 2 failed; $0.4455 spent; 84 a minute; about 44 s left"
    )


def test_long_texts_are_cut():
    assert len(plain("x" * 1000)) == 300
