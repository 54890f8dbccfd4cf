"""What an answer to a cancel says; none of it is proof."""

from __future__ import annotations

import json

import pytest

from runner.api.fields import Answer
from runner.api.responses import Again, Cancelling, read_cancel

ANSWERS = {
    "cancelled": (200, {"outcome": "cancelled"}, Cancelling(agreed=True)),
    "as documented": (202, {"status": "completed", "outcome": "cancelled"}, Cancelling(agreed=True)),
    "not as documented": (202, {"status": "completed", "outcome": "not_cancellable"}, Cancelling(agreed=False)),
    "spelled otherwise": (202, {"status": "Canceled"}, Cancelling(agreed=True)),
    "not cancellable": (200, {"outcome": "not_cancellable", "status": "in_progress"}, Cancelling(agreed=False)),
    "was cancelled before": (200, {"outcome": "not_cancellable", "status": "cancelled"}, Cancelling(agreed=False)),
    "only a state": (200, {"status": "in_queue"}, Cancelling(agreed=False)),
    "its own request": (200, {"request_id": "r1", "outcome": "cancelled"}, Cancelling(agreed=True)),
}


@pytest.mark.parametrize(("status", "document", "verdict"), ANSWERS.values(), ids=ANSWERS)
def test_a_readable_answer(status, document, verdict):
    """2xx with an outcome or a state."""
    assert read_cancel(Answer(status=status, body=json.dumps(document).encode()), "r1") == verdict


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{}"),
        (200, b"<html>"),
        (200, b'{"error_code": 500001, "outcome": "cancelled"}'),
        (200, b'{"request_id": "another", "outcome": "cancelled"}'),
        (200, b'{"outcome": 7}'),
        (404, b'{"error_code": 404001, "outcome": "cancelled"}'),
        (500, b'{"outcome": "cancelled"}'),
        (302, b""),
    ],
)
def test_anything_else_says_nothing(status, body):
    """Errors, pages, another request's answer: the state is asked for all the same."""
    assert isinstance(read_cancel(Answer(status=status, body=body), "r1"), Again)
