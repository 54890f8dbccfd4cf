"""What the API's answers mean: each oddity is one row."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.api.fields import Answer, parse_object, read_retry_after, read_usd
from runner.api.outputs import find_outputs
from runner.api.responses import (
    Accepted,
    Again,
    Completed,
    Denied,
    Ended,
    Gone,
    NotYet,
    RefusalCause,
    Refused,
    Unfinished,
    Unreadable,
    read_entry,
    read_progress,
    read_submission,
)
from runner.core.models import MAX_OUTPUTS, OUR_CODES, State

DATE = "Sun, 22 Nov 2026 01:00:00 GMT"
IN_A_MINUTE = "Sun, 22 Nov 2026 01:01:00 GMT"
PAGE = b"<html><body>502 Bad Gateway</body></html>"
DEEP = b"[" * 100_000
REQUEST = "req-1"
CODES = ["400001", "400002", "400004", "403001", "404001"]


def answer(
    status: int, document: Any = None, *, body: bytes | None = None, wait: str | None = None, date: str | None = DATE
) -> Answer:
    return Answer(
        status=status,
        body=json.dumps(document).encode() if body is None else body,
        retry_after=wait,
        date=date,
    )


def error(code: Any = "400123", message: str = "no") -> dict[str, Any]:
    return {"error_code": code, "error_message": message}


NOTHING_BOUGHT = {
    "401": (answer(401, body=b""), RefusalCause.TOKEN),
    "401 with a page": (answer(401, body=PAGE), RefusalCause.TOKEN),
    "402": (answer(402, body=b""), RefusalCause.BALANCE),
    "403": (answer(403, {"detail": "no"}), RefusalCause.TOKEN),
    "403, no balance": (answer(403, error("400002")), RefusalCause.BALANCE),
    "404 with an error": (answer(404, error("404001")), RefusalCause.MODEL),
    "404 with a message": (answer(404, {"message": "no such model"}), RefusalCause.MODEL),
    "400, no such model": (answer(400, error(400001)), RefusalCause.MODEL),
    "400, no balance": (answer(400, error(400002)), RefusalCause.BALANCE),
    "400, token invalid": (answer(400, error(400004)), RefusalCause.TOKEN),
    "400, another code": (answer(400, error(400123)), RefusalCause.INPUT),
    "400, a code without words": (answer(400, {"error_code": 400123}), RefusalCause.INPUT),
    "422 with a list of details": (
        answer(422, {"detail": [{"loc": ["body", "width"], "msg": "too big"}]}),
        RefusalCause.INPUT,
    ),
    "409 with an error": (answer(409, {"error": "conflict"}), RefusalCause.INPUT),
    "429": (answer(429, body=b""), RefusalCause.BUSY),
    "429 with a page": (answer(429, body=PAGE, wait="3"), RefusalCause.BUSY),
    "429, no balance": (answer(429, error(400002)), RefusalCause.BALANCE),
    "503 with Retry-After": (answer(503, body=PAGE, wait="30"), RefusalCause.BUSY),
    "503 with Retry-After as a date": (answer(503, body=b"", wait=IN_A_MINUTE), RefusalCause.BUSY),
    "503 with the API's error": (answer(503, error("503001")), RefusalCause.BUSY),
    "503, no balance": (answer(503, error("400002")), RefusalCause.BALANCE),
    "200, no such model": (answer(200, error("400001")), RefusalCause.MODEL),
    "200, no balance": (answer(200, error("400002")), RefusalCause.BALANCE),
    "200, no balance, as a number": (answer(200, error(400002)), RefusalCause.BALANCE),
    "200, no balance, as a fraction": (answer(200, error(400002.0)), RefusalCause.BALANCE),
    "200, token invalid": (answer(200, error("400004")), RefusalCause.TOKEN),
    "200, not yours": (answer(200, error("403001")), RefusalCause.TOKEN),
    "200, no such request": (answer(200, error("404001")), RefusalCause.INPUT),
    "200, too many": (answer(200, error("429001")), RefusalCause.BUSY),
    "200, a code in blanks": (answer(200, error(" 400002 ")), RefusalCause.BALANCE),
    "200, a word for a code": (answer(200, error("bad_prompt")), RefusalCause.INPUT),
    "200, an error and no id": (answer(200, {**error(), "request_id": None}), RefusalCause.INPUT),
    "503, cut short, with Retry-After": (
        Answer(status=503, body=b"{", retry_after="5", whole=False),
        RefusalCause.BUSY,
    ),
    "402, cut short": (Answer(status=402, body=b"{", whole=False), RefusalCause.BALANCE),
}

PERHAPS_BOUGHT = {
    "408": answer(408, body=b""),
    "408 with the API's error": answer(408, error("408001")),
    "408 with Retry-After": answer(408, body=b"", wait="1"),
    "404 with a page": answer(404, body=PAGE),
    "400 with nothing": answer(400, body=b""),
    "400 that says nothing": answer(400, {"status": "ok"}),
    "400 with an error of null": answer(400, {"error": None}),
    "400 with an error of true": answer(400, {"error": True}),
    "400 with empty words": answer(400, {"message": "  ", "detail": []}),
    "400 with trouble of the service": answer(400, error("500001")),
    "422 with trouble of the service, as a number": answer(422, error(503000)),
    "500": answer(500, PAGE.decode()),
    "500 with the API's error": answer(500, error("500001")),
    "500 that blames the input": answer(500, error("400123")),
    "500 with Retry-After": answer(500, body=b"", wait="5"),
    "502": answer(502, body=PAGE),
    "502 with Retry-After": answer(502, body=PAGE, wait="5"),
    "503, plain": answer(503, body=PAGE),
    "503 with somebody's message": answer(503, {"message": "Service Unavailable"}),
    "503 with a code of zero": answer(503, {"error_code": 0}),
    "504": answer(504, body=b""),
    "301": answer(301, body=b""),
    "307 with an error": answer(307, error("400002")),
    "308 with Retry-After": answer(308, body=b"", wait="1"),
    "200 with nothing": answer(200, body=b""),
    "200 with a page": answer(200, body=PAGE),
    "200, half an answer": answer(200, body=b'{"request_id": "req-1'),
    "200, NaN beside a refusal": answer(200, body=b'{"error_code": 400002, "eta": NaN}'),
    "200, a BOM before a refusal": answer(200, body=b'\xef\xbb\xbf{"error_code": 400002}'),
    "400, a BOM before a refusal": answer(400, body=b'\xef\xbb\xbf{"error_code": 400123}'),
    "400, a refusal in UTF-16": answer(400, body=json.dumps(error()).encode("utf-16")),
    "400, half of a lone pair in a refusal": answer(400, body=b'{"error_code": 400123, "x": "\\ud83d"}'),
    "400, a refusal that was cut short": Answer(status=400, body=b'{"error_code": 400123}', whole=False),
    "503, a code in what was cut short": Answer(status=503, body=b'{"error_code": 503001}', whole=False),
    "200, cut short, with Retry-After": Answer(status=200, body=b'{"reque', retry_after="5", whole=False),
    "400, cut short, with Retry-After": Answer(status=400, body=b"{", retry_after="5", whole=False),
    "200, an infinity": answer(200, body=b'{"error_code": 1e999}'),
    "200, not UTF-8": answer(200, body=b'{"error_code": "400002", "x": "\xff"}'),
    "200, too deep": answer(200, body=DEEP),
    "200, a list": answer(200, [error()]),
    "200, a string": answer(200, "req-1"),
    "200, null": answer(200),
    "200, no id": answer(200, {"status": "in_queue"}),
    "200, id null": answer(200, {"request_id": None}),
    "200, id empty": answer(200, {"request_id": ""}),
    "200, id a negative number": answer(200, {"request_id": -17}),
    "200, id a fraction": answer(200, {"request_id": 17.5}),
    "200, id true": answer(200, {"request_id": True}),
    "200, id a number without end": answer(200, body=b'{"request_id": ' + b"9" * 5000 + b"}"),
    "200, id NaN": answer(200, body=b'{"request_id": NaN}'),
    "200, half an id after a BOM": answer(200, body=b'\xef\xbb\xbf{"request_id": "req-1'),
    "200, id with a slash": answer(200, {"request_id": "../req"}),
    "200, id with a newline": answer(200, {"request_id": "req-1\n"}),
    "200, id too long": answer(200, {"request_id": "a" * 129}),
    "200, trouble of the service": answer(200, error("500001")),
    "200, trouble of the service, as a number": answer(200, error(599999)),
    "200, trouble of the service, as a fraction": answer(200, error(500001.0)),
    "200, trouble of the service, as a bare status": answer(200, error(502)),
    "200, a code of zero": answer(200, {"error_code": 0, "error_message": ""}),
    "200, a code of zero, as text": answer(200, {"error_code": "000000"}),
    "200, a code of true": answer(200, {"error_code": True}),
    "200, words without a code": answer(200, {"error": "no"}),
    "200, two ids inside": answer(200, {"data": {"request_id": "req-1"}, "meta": {"request_id": "trace-7"}}),
    "200, an id in a link only": answer(200, {"status_url": "https://a/v1/requests/req-2/status"}),
    "200, an id among too many values": answer(200, {"data": {"request_id": "req-1"}, "list": [0] * 10_000}),
    "200, an id in an error": answer(200, {"error": {"message": "no", "request_id": "trace-7"}}),
    "200, an unusable id inside": answer(200, {"data": {"request_id": "../req"}}),
    "500, an id inside": answer(500, {"data": {"request_id": "trace-7"}}),
    "302, an id inside": answer(302, {"data": {"request_id": "trace-7"}}),
    "201 with an error": answer(201, error("400002")),
    "202 with nothing": answer(202, body=b""),
}


@pytest.mark.parametrize(("given_answer", "cause"), NOTHING_BOUGHT.values(), ids=NOTHING_BOUGHT)
def test_proof_that_nothing_was_bought_is_taken_with_its_consequence(given_answer: Answer, cause: RefusalCause) -> None:
    """A refusal says whether to wait, to stop buying, to stop the model, or to fail the job."""
    verdict = read_submission(given_answer)
    assert isinstance(verdict, Refused)
    assert verdict.cause is cause


@pytest.mark.parametrize("given_answer", PERHAPS_BOUGHT.values(), ids=PERHAPS_BOUGHT)
def test_anything_that_is_no_proof_is_perhaps_bought(given_answer: Answer) -> None:
    """What cannot be read is never taken for a refusal, and so is never bought again unasked."""
    verdict = read_submission(given_answer)
    assert isinstance(verdict, Unreadable)
    assert verdict.fault.message
    assert verdict.fault.http_status == given_answer.status


@pytest.mark.parametrize("status", [200, 201, 202, 302, 400, 401, 402, 403, 404, 408, 422, 429, 500, 502, 503])
@pytest.mark.parametrize("beside", [{}, error("400002"), error("500001"), {"status": "failed"}])
@pytest.mark.parametrize("request_id", ["a", "req_1-B", "9" * 128])
def test_an_answer_with_a_request_id_is_a_request_in_hand(status: int, beside: dict[str, Any], request_id: str) -> None:
    """Whatever status or error comes with it, a usable request_id is collected."""
    assert read_submission(answer(status, {"request_id": request_id, **beside})) == Accepted(request_id=request_id)


DOCUMENT = {"request_id": "req-1", "status": "completed", "output": {"image": "https://a/1"}, "cost": 0.0045}
TEXT = json.dumps(DOCUMENT)
ODD_BODIES = {
    "a BOM": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a BOM": TEXT.encode("utf-16-le"),
    "UTF-32": TEXT.encode("utf-32"),
    "bytes that are no UTF-8": TEXT.replace("{", '{"prompt": "??", ', 1).encode().replace(b"??", b"\xff\xfe"),
    "half of a lone pair": TEXT.replace("{", '{"prompt": "cut \\ud83d", ', 1).encode(),
    "half of a lone pair in a key": TEXT.replace("{", '{"\\udc00": 1, ', 1).encode(),
    "a control character": TEXT.replace("{", '{"prompt": "a\tb\nc", ', 1).encode(),
    "NaN": TEXT.replace("{", '{"eta": NaN, ', 1).encode(),
    "infinities": TEXT.replace("{", '{"eta": [Infinity, -Infinity], ', 1).encode(),
    "a number too large": TEXT.replace("{", '{"seed": 1e999, ', 1).encode(),
    "an integer too large": TEXT.replace("{", '{"seed": ' + "9" * 5000 + ", ", 1).encode(),
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
def test_what_may_hold_a_request_or_a_result_is_read_as_well_as_it_can_be(body: bytes) -> None:
    """The id in an answer is worth money, and so are the links; what is odd beside them is no reason to give up."""
    assert parse_object(body) == {}
    assert read_submission(answer(200, body=body)) == Accepted(request_id="req-1")
    found = read_progress(answer(200, body=body), "req-1")
    assert isinstance(found, Completed)
    assert (found.urls, found.cost_usd) == (("https://a/1",), 0.0045)


@pytest.mark.parametrize("cost", [b"NaN", b"Infinity", b"1e999", b'"0.0045"', b"-1", b"true", b"[1]"])
def test_a_cost_that_is_no_number_is_no_cost(cost: bytes) -> None:
    """The picture is read all the same."""
    found = read_progress(answer(200, body=TEXT.encode().replace(b"0.0045", cost)), "req-1")
    assert isinstance(found, Completed)
    assert (found.urls, found.cost_usd) == (("https://a/1",), None)


@pytest.mark.parametrize(
    ("spelled", "request_id"),
    [("0", "0"), ("1001", "1001"), ("18446744073709551617", "18446744073709551617"), ("1001.0", "1001")],
)
def test_a_request_id_may_be_a_whole_number(spelled: str, request_id: str) -> None:
    """It is a request in hand, and answers about it name it as a number, too."""
    body = f'{{"request_id": {spelled}, "status": "failed"}}'.encode()
    assert read_submission(answer(200, body=body)) == Accepted(request_id=request_id)
    assert isinstance(read_progress(answer(200, body=body), request_id), Ended)
    assert isinstance(read_progress(answer(200, body=body), "1002"), Again)


WRAPPED = {
    "in data": {"data": DOCUMENT},
    "in a list": [DOCUMENT],
    "beside a word of success": {"status": "success", "code": 0, "data": DOCUMENT},
    "beside a code of zero": {"error_code": 0, "message": "ok", "data": DOCUMENT},
    "deep": {"a": [{"b": {"c": [1, None, DOCUMENT]}}]},
    "in a text": {"statusCode": 200, "body": TEXT},
}


@pytest.mark.parametrize("document", WRAPPED.values(), ids=WRAPPED)
def test_an_answer_that_a_gateway_wrapped_is_found_inside(document: Any) -> None:
    """One usable id is a request in hand, wherever it stands; the result of that request is found in the same way."""
    assert read_submission(answer(200, document)) == Accepted(request_id="req-1")
    found = read_progress(answer(200, document), "req-1")
    assert isinstance(found, Completed)
    assert (found.urls, found.cost_usd) == (("https://a/1",), 0.0045)
    assert not isinstance(read_progress(answer(200, document), "req-2"), Completed)


def test_a_refusal_with_the_id_of_a_call_inside_is_a_refusal() -> None:
    """Many services name the failed call in their errors: nothing was bought by it."""
    document = {**error(), "meta": {"request_id": "trace-7"}}
    for status in (200, 400, 422, 429):
        assert isinstance(read_submission(answer(status, document)), Refused)


def test_an_id_in_an_answer_that_was_cut_short_is_a_request_in_hand() -> None:
    """All of its JSON has come, though more was announced."""
    assert read_submission(Answer(status=200, body=TEXT.encode(), whole=False)) == Accepted(request_id="req-1")


def test_keys_in_another_order_or_more_of_them_change_nothing() -> None:
    """What the API adds to its answers later is no trouble."""
    body = b' {"status_url": "https://x", "new": {"a": [1]}, "request_id": "req-1"}\r\n'
    assert read_submission(answer(200, body=body)) == Accepted(request_id="req-1")


def test_a_refusal_says_what_the_api_said() -> None:
    """The user reads the API's own code, words and status, and which field was wrong."""
    document = {"detail": [{"loc": ["body", "width"], "msg": "must be\n at most 2048"}, {"msg": "and more"}]}
    verdict = read_submission(answer(422, document))
    assert isinstance(verdict, Refused)
    assert verdict.fault.message == "width: must be at most 2048; and more"
    assert (verdict.fault.code, verdict.fault.http_status) == ("http_422", 422)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"error_message": "a", "message": "b"}, "a"),
        ({"error_message": "", "message": "b"}, "b"),
        ({"error": {"message": "c", "code": 1}}, "c"),
        ({"error": {"msg": "d"}}, "d"),
        ({"error": 7, "detail": "e"}, "e"),
        ({"detail": [{"loc": ["body", "images", 0], "msg": "f"}]}, "images.0: f"),
        ({"detail": ["g", 5, {"loc": "body", "msg": "h"}]}, "g; h"),
        ({"detail": [{"loc": [{"a": 1}, "w"], "msg": "i"}]}, "w: i"),
        ({"message": "x" * 10_000}, "x" * 500),
        ({}, "HTTP 400 without a readable explanation"),
    ],
)
def test_the_words_of_an_error_are_found_wherever_they_are(document: dict[str, Any], message: str) -> None:
    """An explanation is one line of readable length, out of any of the places that services use."""
    verdict = read_submission(answer(400, document))
    assert isinstance(verdict, Refused | Unreadable)
    assert verdict.fault.message == message


@pytest.mark.parametrize("shape", ['{"message":%s}', "[%s]", '{"loc":[%s]}', '{"msg":[%s]}'])
def test_an_error_nested_beyond_reason_is_read_without_falling_over(shape: str) -> None:
    """A deep explanation ends in a verdict, not in a crash that leaves the purchase open."""
    text = '"deep"'
    for _ in range(400):
        text = shape % text
    for key in ("error", "detail"):
        body = f'{{"{key}": {text}, "status": "failed"}}'.encode()
        assert isinstance(read_submission(answer(400, body=body)), Refused | Unreadable)
        assert isinstance(read_progress(answer(200, body=body), REQUEST), Ended | Again)


def test_endless_words_of_an_answer_are_cut() -> None:
    """A megabyte in a code or a state does not end up in the log and the results manifest."""
    long = "x" * 1_000_000
    refused = read_submission(answer(400, error(long)))
    assert isinstance(refused, Refused)
    assert len(refused.fault.code) <= 100
    unfinished = read_progress(answer(200, {"status": long}), REQUEST)
    assert isinstance(unfinished, Unfinished)
    assert len(unfinished.state) <= 100
    other = read_progress(answer(200, {"request_id": long, "status": "completed"}), REQUEST)
    assert isinstance(other, Again)
    assert len(other.fault.message) < 300


@pytest.mark.parametrize(
    ("wait", "date", "seconds"),
    [
        ("0", DATE, 0.0),
        ("120", None, 120.0),
        (" 7 ", None, 7.0),
        ("1.5", None, 1.5),
        (IN_A_MINUTE, DATE, 60.0),
        ("Sun, 22 Nov 2026 00:00:00 GMT", DATE, 0.0),
        ("Sunday, 22-Nov-26 01:01:00 GMT", DATE, 60.0),
        (IN_A_MINUTE, None, None),
        (IN_A_MINUTE, "yesterday", None),
        ("Sun, 22 Nov 2026 01:01:00 -0000", DATE, None),
        (None, DATE, None),
        ("", DATE, None),
        ("soon", DATE, None),
        ("-5", DATE, None),
        ("1e9", DATE, None),
        ("inf", DATE, None),
        ("nan", DATE, None),
        ("9" * 400, DATE, None),
        ("٣", DATE, None),
        ("3, 3", DATE, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_apis_own_clock(
    wait: str | None, date: str | None, seconds: float | None
) -> None:
    """A wait is what the API asks for, whatever the local clock says; nonsense is no wait at all."""
    assert read_retry_after(answer(429, wait=wait, date=date)) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_carries_the_wait_that_the_api_asks_for(status: int) -> None:
    """429 and 503 are waited out for as long as they say."""
    verdict = read_submission(answer(status, body=b"", wait=IN_A_MINUTE))
    assert isinstance(verdict, Refused)
    assert verdict.retry_after == 60.0


# How a request is doing


def state(status: str, **more: Any) -> dict[str, Any]:
    return {"request_id": REQUEST, "status": status, **more}


@pytest.mark.parametrize("word", ["in_queue", "pending", "waiting", "in_progress", "starting", "processing"])
@pytest.mark.parametrize("spelled", [str, str.upper, str.title, " {} ".format])
def test_known_unfinished_states_are_unfinished_in_every_spelling(word: str, spelled: Any) -> None:
    """Every wire spelling of not being done yet means: ask again."""
    assert read_progress(answer(200, state(spelled(word))), REQUEST) == Unfinished(state=word)


@pytest.mark.parametrize(
    ("word", "waits"), [("in_queue", True), ("pending", True), ("in_progress", False), ("x", False)]
)
def test_what_is_in_the_queue_is_told_from_what_is_worked_on(word: str, waits: bool) -> None:
    """A request that waits there costs nothing by being asked after less often."""
    progress = read_progress(answer(200, state(word)), REQUEST)
    assert isinstance(progress, Unfinished)
    assert progress.waits is waits


@pytest.mark.parametrize("word", ["", "almost", "in queue", "error", "expired", "done", "complete", "failed?"])
def test_a_state_never_seen_before_is_unfinished_and_marked(word: str) -> None:
    """A new word of the API's ends nothing: a request in hand is not abandoned over it."""
    assert read_progress(answer(200, state(word)), REQUEST) == Unfinished(state=word, known=False)


@pytest.mark.parametrize(
    ("position", "read"),
    [(3, 3), (0, 0), (-1, None), (True, None), ("3", None), (1.5, None), (None, None), ([], None)],
)
def test_a_queue_position_is_shown_where_it_is_one_and_never_needed(position: Any, read: int | None) -> None:
    """An odd or absent position changes nothing about the request."""
    expected = Unfinished(state="in_queue", queue_position=read)
    assert read_progress(answer(200, state("in_queue", queue_position=position)), REQUEST) == expected


@pytest.mark.parametrize("word", ["completed", "succeeded", "Completed", " SUCCEEDED\n"])
def test_completed_and_succeeded_bring_the_outputs(word: str) -> None:
    """Both words for complete deliver, with cost and time where they are given."""
    document = state(word, output={"image": "https://a/1"}, cost=0.0045, finished_at="2026-11-22T01:00:00Z")
    assert read_progress(answer(200, document), REQUEST) == Completed(
        urls=("https://a/1",), cost_usd=0.0045, finished_at="2026-11-22T01:00:00Z"
    )


@pytest.mark.parametrize(
    ("finished", "read"),
    [
        ("2026-11-22T01:00:00.123456+00:00", "2026-11-22T01:00:00.123456+00:00"),
        ("2026-11-22 01:00:00", "2026-11-22 01:00:00"),
        ("2026-11-22T01:00:00Z\n", None),
        ("\x1b[2J", None),
        ("2" * 1_000_000, None),
        (1_800_000_000, None),
        (None, None),
    ],
)
def test_what_is_no_time_is_not_recorded_as_one(finished: Any, read: str | None) -> None:
    """It stands in the results manifest, and is shown in tables."""
    document = state("completed", output="https://a/1", finished_at=finished)
    progress = read_progress(answer(200, document), REQUEST)
    assert isinstance(progress, Completed)
    assert progress.finished_at == read


def test_a_completed_status_without_output_is_not_taken_for_an_empty_result() -> None:
    """/status says only that a request is complete; what it brought is in /result."""
    bare = answer(200, state("completed"))
    assert read_progress(bare, REQUEST, from_status=True) == Completed(urls=(), has_result=False)
    assert read_progress(bare, REQUEST) == Completed(urls=(), has_result=True)
    full = answer(200, state("completed", output="https://a/1"))
    assert read_progress(full, REQUEST, from_status=True) == Completed(urls=("https://a/1",))


@pytest.mark.parametrize(
    ("created", "finished", "seconds"),
    [
        ("2026-11-22T01:00:00Z", "2026-11-22T01:00:07.5Z", 7.5),
        ("2026-11-22T02:00:00+01:00", "2026-11-22T01:00:07Z", 7.0),
        ("2026-11-22T01:00:00Z", "2026-11-22T01:00:00Z", 0.0),
        ("2026-11-22T01:00:01Z", "2026-11-22T01:00:00Z", None),
        ("2026-11-22T01:00:00", "2026-11-22T01:00:07", None),
        ("soon", "2026-11-22T01:00:07Z", None),
        (7, "2026-11-22T01:00:07Z", None),
        ("2026-11-22T01:00:00Z", None, None),
        (None, None, None),
    ],
)
def test_how_long_a_request_took_is_told_by_the_apis_own_clock(created: Any, finished: Any, seconds: float) -> None:
    """Two times that make no sense together say nothing, and keep no picture from its owner."""
    document = state("completed", output="https://a/1", created_at=created, finished_at=finished)
    progress = read_progress(answer(200, document), REQUEST)
    assert isinstance(progress, Completed)
    assert progress.seconds == seconds


@pytest.mark.parametrize("word", ["failed", "cancelled"])
def test_what_ended_without_a_picture_keeps_its_bill_and_its_time(word: str) -> None:
    """A failure may be charged: what the API says counts, in place of the reserve."""
    document = state(word, cost=0.002, finished_at="2026-11-22T01:00:00Z")
    verdict = read_progress(answer(200, document), REQUEST)
    assert isinstance(verdict, Ended)
    assert (verdict.cost_usd, verdict.finished_at) == (0.002, "2026-11-22T01:00:00Z")


@pytest.mark.parametrize("word", ["cancelled", "canceled", "CANCELED"])
def test_both_spellings_of_cancelled_end_a_request(word: str) -> None:
    """A cancelled request is bought again in a later run."""
    verdict = read_progress(answer(200, state(word, cost=0)), REQUEST)
    assert isinstance(verdict, Ended)
    assert (verdict.state, verdict.fault.retryable, verdict.cost_usd) == (State.CANCELLED, True, 0.0)


@pytest.mark.parametrize(
    ("more", "code", "message", "retryable"),
    [
        ({}, "generation_failed", "the API gives no reason", True),
        ({"error": None}, "generation_failed", "the API gives no reason", True),
        ({"error": "out of memory"}, "generation_failed", "out of memory", True),
        ({"message": "worker lost"}, "generation_failed", "worker lost", True),
        ({"error": "NSFW content detected"}, "generation_failed", "NSFW content detected", False),
        (
            {"message": "It violates our policies"},
            "generation_failed",
            "It violates our policies",
            False,
        ),
        ({"error": {"message": "invalid image url"}}, "generation_failed", "invalid image url", False),
        ({"error": {"code": 500, "message": "safety checker crashed"}}, "500", "safety checker crashed", True),
        ({"error_code": 500123, "error_message": "lost"}, "500123", "lost", True),
        ({"error_code": 400123, "error_message": "bad"}, "400123", "bad", False),
        ({"error": {"code": "nsfw_content", "message": "no"}}, "nsfw_content", "no", False),
        ({"error": {"code": "CONTENT_POLICY", "message": "no"}}, "CONTENT_POLICY", "no", False),
        ({"error": {"code": 422, "message": "no"}}, "422", "no", False),
        ({"error": {"code": 500, "message": "no"}}, "500", "no", True),
        ({"error": {"code": "invalid_input", "retryable": True}}, "invalid_input", "the API gives no reason", True),
        ({"error": {"message": "no", "retryable": False}}, "generation_failed", "no", False),
        ({"error": {"message": "no", "retryable": "no"}}, "generation_failed", "no", True),
    ],
)
def test_a_failure_is_bought_again_only_where_that_may_help(
    more: dict[str, Any], code: str, message: str, retryable: bool
) -> None:
    """A failure that the API calls final, or that blames the input, is not paid for a second time."""
    verdict = read_progress(answer(200, state("failed", **more)), REQUEST)
    assert isinstance(verdict, Ended)
    assert verdict.state is State.FAILED
    assert (verdict.fault.code, verdict.fault.message, verdict.fault.retryable) == (code, message, retryable)


@pytest.mark.parametrize(
    ("given_answer", "kind"),
    [
        (answer(401, body=b""), Denied),
        (answer(403, body=PAGE), Denied),
        (answer(403, state("completed", output="https://a/1")), Denied),
        (answer(200, error(400004)), Denied),
        (answer(200, error("403001")), Denied),
        (answer(404, body=b""), Gone),
        (answer(404, body=PAGE), Gone),
        (answer(200, error("404001")), Gone),
        (answer(400, error(404001)), Gone),
        (answer(400, body=b""), NotYet),
        (answer(400, {"request_id": "trace-7", **error()}), NotYet),
        (answer(409, state("in_progress")), NotYet),
        (answer(422, {"detail": "not finished"}), NotYet),
        (answer(425, body=PAGE), NotYet),
        (answer(402, body=b""), NotYet),
        (answer(200, error("400123")), NotYet),
        (answer(408, body=b""), Again),
        (answer(429, body=b""), Again),
        (answer(200, error("429001")), Again),
        (answer(200, error("408001")), Again),
        (answer(200, error("500001")), Again),
        (answer(500, body=PAGE), Again),
        (answer(500, state("completed", output="https://a/1")), Again),
        (answer(502, body=b""), Again),
        (answer(503, error("503001")), Again),
        (answer(301, state("completed")), Again),
        (answer(204, body=b""), Again),
        (answer(200, body=b""), Again),
        (answer(200, body=PAGE), Again),
        (answer(200, body=b'{"status": "comple'), Again),
        (answer(200, body=b'{"status": "completed", "cost": NaN'), Again),
        (answer(200, {"request_id": 17, "status": "failed"}), Again),
        (answer(200, {"request_id": "req-2", **error("404001")}), Again),
        (answer(200, {"request_id": "req-2", **error("403001")}), Again),
        (answer(200, body=DEEP), Again),
        (answer(200, [state("completed")] * 2), Again),
        (answer(200, {}), Again),
        (answer(200, {"status": 3}), Again),
        (answer(200, {"status": None, "output": "https://a/1"}), Again),
        (answer(200, {"request_id": "req-2", "status": "completed", "output": "https://a/1"}), Again),
        (answer(200, {"request_id": "req-2", "status": "failed"}), Again),
        (answer(200, {"request_id": "REQ-1", "status": "cancelled"}), Again),
        (answer(200, {"request_id": "", "status": "completed"}), Completed),
        (answer(200, {"request_id": None, "status": "completed"}), Completed),
        (answer(200, {"status": "completed"}), Completed),
        (answer(206, {"status": "completed"}), Completed),
    ],
)
def test_every_other_answer_about_a_request_has_one_meaning(given_answer: Answer, kind: type) -> None:
    """No trouble at the API is mistaken for the end of a request, and no other request's end for this one's."""
    assert type(read_progress(given_answer, REQUEST)) is kind


@pytest.mark.parametrize("status", [400, 402, 409, 422])
def test_a_refusing_status_is_asked_again_and_does_not_point_to_itself(status: int) -> None:
    """Where /result refuses, /status is asked; where that refuses too, the question is repeated."""
    assert isinstance(read_progress(answer(status, error()), REQUEST, from_status=True), Again)


@pytest.mark.parametrize("document", [error(), {"request_id": "trace-7", **error()}])
def test_a_busy_api_is_asked_again_when_it_says(document: dict[str, Any]) -> None:
    """Questions honour Retry-After, whatever else the answer carries."""
    for status in (429, 503):
        verdict = read_progress(answer(status, document, wait="9"), REQUEST)
        assert isinstance(verdict, Again)
        assert verdict.retry_after == 9.0


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        (0.0045, 0.0045),
        (1, 1.0),
        (0, 0.0),
        (-0.01, None),
        ("0.0045", None),
        (None, None),
        (True, None),
        ([1], None),
        ({}, None),
        (10**400, None),
        (-(10**400), None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_money_is_a_number_that_can_be_paid_or_it_is_unknown(value: Any, usd: float | None) -> None:
    """A cost that makes no sense counts as not stated, never as free."""
    assert read_usd(value) == usd


def test_a_cost_beyond_all_numbers_does_not_keep_a_picture_from_its_owner() -> None:
    """A completed request is delivered even if its bill cannot be read."""
    body = json.dumps(state("completed", output="https://a/1", cost=10**400)).encode()
    assert read_progress(answer(200, body=body), REQUEST) == Completed(urls=("https://a/1",))


@pytest.mark.parametrize(
    ("output", "urls"),
    [
        (None, ()),
        ("https://a/1", ("https://a/1",)),
        ("HTTP://a/1", ("HTTP://a/1",)),
        ("see https://a/1", ("data:text/plain;charset=utf-8,see https://a/1",)),
        ("data:image/png;base64,AA", ("data:image/png;base64,AA",)),
        ("ftp://a/1", ()),
        ({"image": "https://a/1"}, ("https://a/1",)),
        ({"video": "https://a/1.mp4", "image": None}, ("https://a/1.mp4",)),
        ({"images": ["https://a/1", "https://a/2"]}, ("https://a/1", "https://a/2")),
        ({"images": ["https://a/2", "https://a/1"], "image": "https://a/2"}, ("https://a/2", "https://a/1")),
        ({"images": [{"url": "https://a/1", "size": 3}], "seed": 7}, ("https://a/1",)),
        (
            {"b": ["https://a/1", {"c": "https://a/2"}], "a": "https://a/3"},
            ("https://a/1", "https://a/2", "https://a/3"),
        ),
        ([["https://a/1"], [[["https://a/2"]]]], ("https://a/1", "https://a/2")),
        ({"https://a/key": 1}, ('data:application/json,{\n  "https://a/key": 1\n}',)),
        (7, ()),
        ([], ()),
    ],
)
def test_outputs_are_found_in_every_shape_in_order_and_once(output: Any, urls: tuple[str, ...]) -> None:
    """All that was paid for is fetched, wherever the model puts its links."""
    assert find_outputs(output) == urls


def test_a_flood_of_outputs_is_bounded() -> None:
    """An answer cannot make a run download without end."""
    assert len(find_outputs([f"https://a/{number}" for number in range(3 * MAX_OUTPUTS)])) == MAX_OUTPUTS


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"1", b'"x"', PAGE, b"{", b'{"a":NaN}', b'{"a":"\xff"}', DEEP])
def test_a_body_that_is_no_json_object_is_an_empty_one(body: bytes) -> None:
    """Nothing is read out of what is not the API's."""
    assert parse_object(body) == {}


ENTRIES = {
    "an entry": (answer(200, {"model_id": "m", "price": 1}), {"model_id": "m", "price": 1}),
    "an entry without a name": (answer(200, {"price": 1}), {"price": 1}),
    "of another model": (answer(200, {"model_id": "n", "price": 1}), None),
    "an empty one": (answer(200, {}), None),
    "another success": (answer(204, {"model_id": "m", "price": 1}), None),
    "a page": (answer(200, body=PAGE), None),
    "404": (answer(404, body=PAGE), {}),
    "no such model, by code": (answer(400, error("400001")), {}),
    "the same under 200": (answer(200, error("404001")), {}),
    "the same under 500": (answer(500, error("404001")), None),
    "another error under 200": (answer(200, {"model_id": "m", **error("500001")}), None),
    "503": (answer(503, body=b""), None),
}


@pytest.mark.parametrize(("given_answer", "entry"), ENTRIES.values(), ids=ENTRIES)
def test_the_catalogue_has_a_model_or_has_not_or_says_neither(given_answer: Answer, entry: Any) -> None:
    """Only a clear no stops a batch with 65; a price or a schema is never that of another model."""
    assert read_entry(given_answer, "m") == entry


# The same, for anything that may come

KEYS = ["request_id", "status", "error_code", "error_message", "message", "error", "detail", "output", "cost", "code"]
WORDS = [*CODES, "500001", "599999", "0", "completed", "failed", "in_queue", "cancelled", "req-1", "https://a/1"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 400001, 400002, 500001, 500001.0, 10**400])
    | st.floats(allow_nan=True)
    | st.sampled_from(WORDS)
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS), VALUES)
BODIES = (
    st.binary(max_size=64)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | DOCUMENTS.map(lambda document: json.dumps(document).encode())
)
STATUSES = st.sampled_from([200, 201, 204, 301, 307, 400, 401, 402, 403, 404, 408, 409, 422, 429, 500, 502, 503]) | (
    st.integers(100, 599)
)
HEADERS = st.none() | st.sampled_from(["1", IN_A_MINUTE, DATE, ""]) | st.text(max_size=12)
ANSWERS = st.builds(Answer, status=STATUSES, body=BODIES, retry_after=HEADERS, date=HEADERS)


def contract_calls_it_proof(given_answer: Answer) -> bool:
    """Rule 2 of the design, in its own words and with another JSON reader."""
    status = given_answer.status
    document = read_with_json(given_answer.body)
    code = document.get("error_code")
    has_code = isinstance(code, str | int | float) and not isinstance(code, bool)
    if status in (401, 402, 403, 429):
        return True
    if status == 503:
        return has_code or given_answer.retry_after is not None
    if has_code and re.match(r"\s*5\d{5}(\.0)?\s*\Z", str(code)):
        return False
    says = has_code or any(document.get(key) for key in ("error_message", "message", "error", "detail"))
    return (status == 200 and has_code) or (400 <= status < 500 and status != 408 and says)


def read_with_json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


@settings(deadline=None, max_examples=examples(150))
@given(given_answer=ANSWERS)
@example(given_answer=answer(200, {"cost": 10**400, "status": "completed"}))
def test_no_answer_at_all_makes_the_reader_fall_over(given_answer: Answer) -> None:
    """Whatever a server or something on the way to it sends, there is a verdict."""
    assert isinstance(read_submission(given_answer), Accepted | Refused | Unreadable)
    kinds = Unfinished | Completed | Ended | Gone | Denied | NotYet | Again
    assert isinstance(read_progress(given_answer, REQUEST), kinds)
    assert isinstance(read_progress(given_answer, REQUEST, from_status=True), kinds)
    wait = read_retry_after(given_answer)
    assert wait is None or wait >= 0


@settings(deadline=None, max_examples=examples(150))
@given(given_answer=ANSWERS)
def test_nothing_is_called_not_bought_unless_the_contract_calls_it_proof(given_answer: Answer) -> None:
    """No answer outside the list of proofs ever leads to a second purchase."""
    if isinstance(read_submission(given_answer), Refused):
        assert contract_calls_it_proof(given_answer)


@settings(deadline=None, max_examples=examples(100))
@given(given_answer=ANSWERS, request_id=st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True), document=DOCUMENTS)
def test_a_usable_request_id_is_never_overlooked(
    given_answer: Answer, request_id: str, document: dict[str, Any]
) -> None:
    """Whatever stands beside it, what was bought is collected."""
    document = {key: value for key, value in document.items() if key not in ("error", "detail", "cost")}
    body = json.dumps({**document, "request_id": request_id}).encode()
    if parse_object(body):
        verdict = read_submission(Answer(status=given_answer.status, body=body))
        assert verdict == Accepted(request_id=request_id)


@settings(deadline=None, max_examples=examples(100))
@given(document=DOCUMENTS, status=STATUSES, other=st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True))
def test_an_answer_about_another_request_never_ends_this_one(document: dict[str, Any], status: int, other: str) -> None:
    """Mixed-up answers cannot put one job's picture under another's name."""
    body = json.dumps({**document, "request_id": f"other-{other}"}).encode()
    verdict = read_progress(Answer(status=status, body=body), REQUEST)
    assert not isinstance(verdict, Completed | Ended | Unfinished)


@pytest.mark.parametrize("code", sorted(OUR_CODES))
def test_a_code_of_the_apis_never_decides_what_a_word_of_ours_does(code: str) -> None:
    """A token that is `expired` makes no request stuck; whatever answer brings such a word, it is marked as theirs."""
    denied = read_progress(answer(403, error(code)), "r")
    failed = read_progress(answer(200, {"status": "failed", "error": {"code": code}}), "r")
    refused = read_submission(answer(422, error(code)))
    codes = [
        told.fault.code for told in (denied, failed, refused) if not isinstance(told, Accepted | Completed | Unfinished)
    ]
    assert codes == [f"api_{code}"] * 3
