"""The page of money: states, answers and the forecast are those of the code."""

from __future__ import annotations

import re

import pytest
from support.guide_examples import GUIDE, examples_of

from runner.api.fields import Answer
from runner.api.responses import Accepted, RefusalCause, Refused, Unreadable, read_submission
from runner.core.models import State
from runner.engine.billing.costs import Basis

PAGE = (GUIDE / "money.md").read_text(encoding="utf-8")
OWN_ERROR = b'{"error_code": 422001, "error_message": "no"}'


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_each_state_has_one_row() -> None:
    """The table of states has all states of a purchase, and no other."""
    rows = re.findall(r"^\| (`.+?) \|", section("States of a purchase"), re.MULTILINE)
    found = [state for row in rows for state in re.findall(r"`(\w+)`", row)]
    assert sorted(found) == sorted(State)


def test_each_basis_of_an_amount_is_named() -> None:
    """`basis` of a receipt is one of the words on the page."""
    assert [basis for basis in Basis if f"`{basis}`" not in section("Accounts")] == []


@pytest.mark.parametrize("status", [401, 402, 403, 429, 503])
def test_these_statuses_are_refusals(status: int) -> None:
    """Nothing was created, and the job is not to blame."""
    found = read_submission(Answer(status=status, body=OWN_ERROR))
    assert isinstance(found, Refused)
    assert found.cause is not RefusalCause.INPUT
    assert re.search(rf"^\| .*\b{status}\b.* \| `released` \|", section("What an answer means"), re.MULTILINE)


@pytest.mark.parametrize("status", [301, 408, 500, 502, 503])
def test_a_page_proves_nothing_under_these_statuses(status: int) -> None:
    """Without the API's own error the purchase is unknown."""
    assert isinstance(read_submission(Answer(status=status, body=b"<html>")), Unreadable)


def test_the_other_answers_are_taken_as_the_page_says() -> None:
    """The API's own error blames the input, also under 200; a 404 stops the model; any usable id is a request."""
    causes = {status: read_submission(Answer(status=status, body=OWN_ERROR)) for status in (200, 400, 404, 422)}
    assert all(isinstance(found, Refused) for found in causes.values())
    assert {status: found.cause for status, found in causes.items()} == {
        200: RefusalCause.INPUT,
        400: RefusalCause.INPUT,
        404: RefusalCause.MODEL,
        422: RefusalCause.INPUT,
    }
    service = Answer(status=200, body=OWN_ERROR.replace(b"422001", b"500001"))
    assert isinstance(read_submission(service), Unreadable)
    for body in (b'{"request_id": "r1"}', b'{"request_id": "r1", "x": NaN}', b'{"data": {"request_id": "r1"}}'):
        assert read_submission(Answer(status=200, body=body)) == Accepted(request_id="r1")


def test_plan_prints_what_the_page_shows(desk, serve) -> None:
    """The lines of the forecast, for the manifest on the page."""
    desk.base = serve().base
    desk.write(next(examples_of("money")).text, "mugs.yaml")
    head, *lines = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()
    printed = desk("plan", "mugs.yaml").stdout.splitlines()
    assert printed[0] == head.replace("/srv/shop", str(desk.folder.resolve()))
    assert printed[1 : 1 + len(lines)] == lines
