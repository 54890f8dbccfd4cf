"""The faces of a run, by the clock that is handed to them."""

from __future__ import annotations

import json
from io import StringIO

from runner.cli.display.events import Event, Severity
from runner.cli.display.jsonl import JsonRenderer
from runner.cli.display.plain import PlainRenderer
from runner.cli.display.progress import Snapshot


def test_a_log_gets_a_line_every_thirty_seconds_and_none_twice():
    """Often enough to see that it goes on, seldom enough to read; what has not changed is not repeated."""
    out = StringIO()
    lines = PlainRenderer(out)
    for second in range(121):
        lines.show(Snapshot(done=min(second, 70) // 20, queued=5), float(second))
    said = out.getvalue().splitlines()
    assert [line.split("INFO ")[1] for line in said] == [
        "1 of 6: 1 done, 5 queued; $0.0000 spent",
        "3 of 8: 3 done, 5 queued; $0.0000 spent",
    ]


def test_objects_tell_of_progress_by_the_clock_and_of_concurrency_when_it_changes():
    """`progress` every 30 s; `concurrency` at the beginning and with each new limit."""
    out = StringIO()
    log = JsonRenderer(out)
    for second in range(61):
        limit, reason = (8, "") if second < 40 else (12, "more are refused")
        log.show(Snapshot(queued=5, concurrency=limit, concurrency_reason=reason), float(second))
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in found] == ["concurrency", "progress", "progress", "concurrency", "progress"]
    assert [line["limit"] for line in found if line["event"] == "concurrency"] == [8, 12]
    assert [line.get("reason") for line in found if line["event"] == "concurrency"] == [None, "more are refused"]


def test_quiet_faces_show_only_what_needs_a_person():
    """No progress, no start: one alert each."""
    for face in (PlainRenderer(out := StringIO(), quiet=True), JsonRenderer(out, quiet=True)):
        for weight in Severity:
            face.tell(Event(at=0.0, name="log", text="x", weight=weight, fields={"level": "info", "message": "x"}))
        face.show(Snapshot(queued=1), 0.0)
        face.show(Snapshot(queued=1), 100.0)
    assert len(out.getvalue().splitlines()) == 2
