"""The lines of the results manifest: what is written is read again, and what is not to be trusted is refused."""

from __future__ import annotations

import json
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.core.models import MAX_FAULT, MOST_USD, Fault, Job, Output, Record, State
from runner.ledger import records
from runner.ledger.records import (
    LARGEST_PURCHASE,
    BadLine,
    decode,
    encode,
    follow,
    in_doubt,
    intent,
    is_inside,
)
from runner.manifest import check_file_name, check_id

LINE: dict[str, Any] = {
    "id": "mug",
    "purchase": 1,
    "state": "done",
    "at": "2026-11-22T01:02:03.456Z",
    "api": "https://model-api.runcomfy.net/v1",
    "manifest": "../jobs/spring.yaml",
    "model": "a/b",
    "inputs": {"prompt": "a mug"},
    "fingerprint": "sha256:00",
    "file": "mug",
    "request_id": "req-1",
}
OUTPUT: dict[str, Any] = {"url": "https://a/1", "path": "mug.png", "bytes": 3, "sha256": "00"}
COPY: dict[str, Any] = {"path": "web/mug.jpg", "bytes": 3, "sha256": "00", "recipe": "0", "of": "00", "media_type": "x"}


def line(**changes: Any) -> bytes:
    return json.dumps({**LINE, **changes}).encode()


def record(**changes: Any) -> Record:
    return decode(line(**changes))


def test_the_line_of_the_documentation_is_read() -> None:
    """What the documentation shows is a record of this version."""
    documented = {
        **LINE,
        "reserved_usd": 0.009,
        "cost_usd": 0.0045,
        "submitted_at": "2026-11-22T01:02:03.456Z",
        "completed_at": "2026-11-22T01:02:04.456Z",
        "outputs": [{**OUTPUT, "media_type": "image/png", "width": 1536, "height": 864}],
    }
    read = decode(json.dumps(documented).encode())
    assert json.loads(encode(read)) == documented


def test_a_record_is_one_line() -> None:
    """Whatever a prompt holds, a line of the results manifest ends where its record does."""
    written = encode(record(inputs={"prompt": "two\nlines\r\u2028\u0085\x00"}))
    assert written.count(b"\n") == 1
    assert written.endswith(b"\n")
    assert b"\r" not in written


def test_what_a_later_version_adds_does_not_make_a_record_unreadable() -> None:
    """Unknown fields are passed over: an older runner still collects what a newer one bought."""
    assert record(new_field={"a": 1}).id == "mug"


@pytest.mark.parametrize(
    "name",
    [
        "mug",
        "tasse-é",
        "杯子",
        "🫖",
        "👩‍👩‍👧",  # held together by zero-width joiners
        "a\u00a0b",
        "a\u200bb",
        "a\u202eb",
        "1:30",
        "é:x",
        ":b",
        "...a",
        "a..b",
        ".hidden",
        "con1",
        "no",
        "-x",
        "~",
        "$HOME",
        "%2e%2e",
        "a b",
        "x" * 245,
        "\U0010fffd",
    ],
)
def test_odd_names_that_a_manifest_may_use_are_read_back(name: str) -> None:
    """Emoji, joiners and no-break spaces in a name never lock a folder."""
    read = decode(encode(record(id=name, file=f"{name}/{name}", outputs=[{**OUTPUT, "path": f"{name}.png"}])))
    assert (read.id, read.file, read.outputs[0].path) == (name, f"{name}/{name}", f"{name}.png")


@pytest.mark.parametrize("job_id", ["a:b", "C:", "x:1", ":"])
def test_a_colon_in_an_id_is_no_drive(job_id: str) -> None:
    """An id is a name in the middle of a path, so what a manifest takes there is read back."""
    assert check_id(job_id) is None
    assert record(id=job_id, renamed_from=job_id).id == job_id


@pytest.mark.parametrize("path", [".replaced/mug/1/mug.png", ".rejected/mug/1/mug.png", "a/mug.jpg"])
def test_a_file_on_its_way_from_where_it_was_set_aside_is_read(path: str) -> None:
    """A crash between two names loses no paid file."""
    assert record(outputs=[{**OUTPUT, "moved_from": path}]).outputs[0].moved_from == path


BAD_PATHS = [
    "",
    ".",
    "..",
    "/etc/passwd",
    "//host/share/x",
    "../x",
    "a/../../x",
    "a/..",
    "./x",
    "a//b",
    "a/",
    "C:x",
    "c:/x",
    "C:\\x",
    "\\x",
    "a\\..\\..\\x",
    "\\\\host\\share",
    "a\x00b",
    "a\nb",
    "a\x1b[2Jb",
    "a\x7f",
]


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize(
    "where",
    [
        lambda path: {"file": path},
        lambda path: {"outputs": [{**OUTPUT, "path": path}]},
        lambda path: {"outputs": [OUTPUT, {**OUTPUT, "moved_from": path}]},
        lambda path: {"copies": [COPY, {**COPY, "path": path}]},
    ],
    ids=["file", "path", "moved_from", "copy"],
)
def test_a_path_that_leaves_the_output_folder_is_refused(path: str, where: Any) -> None:
    """A results manifest from anywhere writes nothing outside its folder, on any system."""
    with pytest.raises(BadLine, match="leaves the output folder"):
        decode(line(**where(path)))


@pytest.mark.parametrize("path", ["results.jsonl", "Results.JSONL", ".runner/lock", ".Runner/x", ".replaced/mug/1/x"])
@pytest.mark.parametrize("where", [lambda path: {"file": path}, lambda path: {"outputs": [{**OUTPUT, "path": path}]}])
def test_a_path_that_the_runner_keeps_for_itself_is_refused(path: str, where: Any) -> None:
    """No record makes a picture of the state, or moves something over what was set aside."""
    with pytest.raises(BadLine, match="reserved for the runner"):
        decode(line(**where(path)))


@pytest.mark.parametrize("job_id", ["", ".", "..", "a/b", "a\\b", "/", "C:\\", "a\x00", "a\nb", "\x7f"])
@pytest.mark.parametrize("field", ["id", "renamed_from"])
def test_an_id_that_is_no_name_of_a_folder_is_refused(job_id: str, field: str) -> None:
    """Ids are folder names and keys: none can point elsewhere or pass for another job's purchase."""
    with pytest.raises(BadLine, match="not a job id"):
        decode(line(**{field: job_id}))


@pytest.mark.parametrize("request_id", ["", "a/b", "../x", "a?b", "a#b", "a b", "a\n", "ä", "%2e", "x" * 129])
def test_a_request_id_that_could_change_the_question_is_refused(request_id: str) -> None:
    """The token goes to no other path of the API than the request's own."""
    with pytest.raises(BadLine, match="not one of the API's"):
        decode(line(request_id=request_id))


@pytest.mark.parametrize("request_id", ["a", "A-_9", "x" * 128])
def test_every_request_id_of_the_api_is_read(request_id: str) -> None:
    """What the API may call a request is never refused."""
    assert record(request_id=request_id).request_id == request_id


@pytest.mark.parametrize("state", ["submitted", "generated"])
def test_what_is_owed_has_a_request_to_ask_after(state: str) -> None:
    """A purchase without its request_id cannot be collected, so such a line is damage and not a record."""
    with pytest.raises(BadLine, match="without a request_id"):
        decode(line(state=state, request_id=None))


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_read_and_no_other(state: State) -> None:
    """The states are a closed set."""
    assert record(state=state.value).state is state
    with pytest.raises(BadLine):
        decode(line(state=state.value.upper()))


@pytest.mark.parametrize("purchase", [0, -1, LARGEST_PURCHASE + 1, 10**18, 10**30, True, 1.5, "1", None])
def test_a_number_that_counts_no_purchase_is_refused(purchase: Any) -> None:
    """An absurd number neither hides a purchase nor makes a run count for ever."""
    with pytest.raises(BadLine):
        decode(line(purchase=purchase))


@pytest.mark.parametrize("field", ["cost_usd", "reserved_usd"])
def test_a_purchase_cannot_give_money_back(field: str) -> None:
    """No line lowers what a folder has spent."""
    with pytest.raises(BadLine, match="negative cost"):
        decode(line(**{field: -0.01}))
    for usd in (0, 0.0045, MOST_USD):
        for number in (1, 2):
            assert getattr(record(**{field: usd}, purchase=number), field) == usd
    with pytest.raises(BadLine, match="impossibly high cost"):
        decode(line(**{field: MOST_USD * 1.01}))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b'"mug"',
        b"{}",
        b"\x00" * 40,
        b"\xff\xfe{}",
        line()[:-1],
        line()[1:],
        line() + line(),
        line(id=None),
        line(id=7),
        line(inputs=[]),
        line(outputs=[{"path": "mug.png"}]),
        line(error="no"),
        line(cost_usd="free"),
        line().replace(b'"mug"', b'"m\xffg"'),
        line().replace(b'"mug"', b'"\\ud800"'),
        line(cost_usd=float("nan")),
        line().replace(b'"a mug"', b"[" * 100_000),
    ],
)
def test_damage_is_told_from_a_record(damaged: bytes) -> None:
    """Half a line, zeros, another type: refused with a reason, never guessed at."""
    with pytest.raises(BadLine) as caught:
        decode(damaged)
    assert str(caught.value)


@settings(deadline=None)
@given(cut=st.integers(0, len(line()) - 1))
def test_no_part_of_a_line_passes_for_the_whole(cut: int) -> None:
    """A line torn anywhere is seen to be torn."""
    with pytest.raises(BadLine):
        decode(line()[:cut])


@settings(deadline=None, max_examples=examples(100))
@given(data=st.binary(max_size=80))
def test_any_bytes_are_a_record_or_refused(data: bytes) -> None:
    """Reading a results manifest fails in one way only."""
    with pytest.raises(BadLine):
        decode(data)


@settings(deadline=None, max_examples=examples(150))
@given(path=st.text(st.sampled_from("ab.:/\\C\n\x00é ") | st.characters(), max_size=12))
def test_a_path_that_is_let_in_stays_inside_on_every_system(path: str) -> None:
    """No spelling of a path gets out: not by dots, a drive, a share or a root."""
    if is_inside(path):
        posix = PurePosixPath("/out") / path
        windows = PureWindowsPath("D:/out") / path
        assert posix.parts[:2] == ("/", "out")
        assert windows.parts[:2] == ("D:\\", "out") or path[1:2] == ":"  # a later Python's drive, of no Windows
        assert ".." not in posix.parts + windows.parts


ODD = st.sampled_from("aC:./\\~-é\u00a0\u200d")
NAMES = st.text(ODD | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MONEY = st.none() | st.floats(0, 1e6)
OUTPUTS = st.builds(
    Output,
    url=TEXTS,
    path=st.none() | NAMES.filter(lambda name: is_inside(name) and name[0] != "."),
    bytes=st.none() | st.integers(0, 2**40),
    sha256=st.none() | TEXTS,
    width=st.none() | st.integers(0, 10**6),
)
FAULTS = st.none() | st.builds(
    Fault, code=TEXTS, message=TEXTS, retryable=st.booleans(), http_status=st.none() | st.integers(100, 599)
)


@pytest.mark.parametrize("odd", ["\x1b[2Jred", "two\r\nlines", "bell\x07", "\x9b5m", "left\u202e", "a\u2028b"])
def test_the_words_of_an_error_command_no_terminal(odd: str) -> None:
    """Whoever wrote them, the API, a storage or a results manifest from elsewhere: it is shown in many places."""
    foreign = record(error={"code": odd, "message": odd * 1000}).error
    for fault in (Fault(code=odd, message=odd * 1000), foreign):
        assert fault is not None
        assert (fault.code + fault.message).isprintable()
        assert len(fault.message) <= MAX_FAULT


RECORDS = st.builds(
    Record,
    id=NAMES.filter(lambda name: check_id(name) is None),
    purchase=st.integers(1, LARGEST_PURCHASE),
    state=st.sampled_from(State),
    at=TEXTS,
    api=TEXTS,
    manifest=TEXTS,
    model=TEXTS,
    inputs=st.dictionaries(TEXTS, JSON, max_size=4),
    fingerprint=TEXTS,
    file=NAMES.filter(lambda name: check_file_name(name) is None),
    reserved_usd=MONEY,
    cost_usd=MONEY,
    request_id=st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True),
    outputs=st.lists(OUTPUTS, max_size=3).map(tuple),
    error=FAULTS,
    warning=st.none() | TEXTS,
    restored_from=st.none() | st.integers(1, 9),
    trusted_hosts=st.lists(TEXTS, max_size=2).map(tuple),
    max_file_bytes=st.none() | st.integers(1, 2**50),
    max_pixels=st.none() | st.integers(1, 2**40),
    strict_size=st.booleans(),
)


@settings(deadline=None, max_examples=examples(100))
@given(written=RECORDS)
def test_every_record_that_can_be_written_is_read_as_it_was(written: Record) -> None:
    """Nothing that a run records is lost or refused by the next: any name of a manifest, any inputs, any words."""
    data = encode(written)
    assert data.count(b"\n") == 1
    assert decode(data) == written


JOB = Job(id="mug", model="a/b", inputs={"prompt": "a mug", "width": 64}, fingerprint="sha256:00", file="x/mug")


def test_an_intent_holds_all_that_collecting_and_delivering_need() -> None:
    """After a crash, the results manifest alone is enough to bring a purchase home."""
    written = intent(
        JOB,
        3,
        at="now",
        api="https://a/v1",
        manifest="../m.yaml",
        reserved_usd=0.009,
        trusted_hosts=("cdn.example.com",),
        max_file_bytes=5,
        max_pixels=7,
        strict_size=True,
    )
    read = decode(encode(written))
    assert (read.state, read.purchase, read.id, read.model, read.inputs) == (
        State.SUBMITTING,
        3,
        "mug",
        "a/b",
        JOB.inputs,
    )
    assert (read.file, read.fingerprint, read.api, read.manifest) == ("x/mug", "sha256:00", "https://a/v1", "../m.yaml")
    assert (read.trusted_hosts, read.max_file_bytes, read.strict_size) == (("cdn.example.com",), 5, True)
    assert (read.reserved_usd, read.max_pixels) == (0.009, 7)


def test_a_step_keeps_what_is_known_and_forgets_only_the_last_error() -> None:
    """request_id, reserve and outputs outlive every later line; an error does not outlive its cause."""
    before = record(state="submitted", reserved_usd=0.5, error={"code": "timeout", "message": "slow"})
    after = follow(before, State.GENERATED, "later", cost_usd=0.2)
    assert (after.state, after.at, after.error, after.cost_usd) == (State.GENERATED, "later", None, 0.2)
    assert (after.request_id, after.reserved_usd, after.inputs) == ("req-1", 0.5, before.inputs)
    assert (before.state, before.error) != (after.state, after.error)
    failed = follow(after, State.FAILED, "still later", error=Fault(code="x", message="y"))
    assert failed.error == Fault(code="x", message="y")


@pytest.mark.parametrize("places", [[0, 9], [1], [-1], [0, 0], [3, 0], [10**30]])
def test_a_number_of_an_output_stands_where_the_file_has_one(places: Any) -> None:
    """What files are called follows from the line alone, so a place without a number in it is damage."""
    assert record(file="1-11", numbered_at=[0, 2, 3]).stem(12) == "12-1212"
    with pytest.raises(BadLine):
        record(file="1-11", numbered_at=places)


@pytest.mark.parametrize("state", State)
def test_an_intent_in_doubt_is_unknown_and_keeps_its_time(state: State) -> None:
    """It may have been bought, and people look for it by the time of its intent. Any other record stays as it is."""
    before = record(state=state.value)
    after = in_doubt(before, "2026-11-23T00:00:00.000Z")
    if state is not State.SUBMITTING:
        assert after is before
        return
    assert (after.state, after.intended_at, after.error and after.error.code) == ("unknown", before.at, "interrupted")
    assert after.error is not None
    assert "may have been bought" in after.error.message


def test_the_time_of_an_intent_stays_with_what_is_in_doubt_and_with_nothing_else() -> None:
    """What is said of an unknown later does not move it: people look for the request by it."""
    before = record(state=State.SUBMITTING.value)
    unknown = in_doubt(before, "2026-11-23T00:00:00.000Z")
    passed = follow(unknown, State.UNKNOWN, "2026-11-24T00:00:00.000Z", rebuy=True)
    assert passed.intended_at == before.at
    assert follow(before, State.SUBMITTED, "2026-11-23T00:00:00.000Z", request_id="r").intended_at is None


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("mug.png", True),
        ("a/results.jsonl", True),
        ("a/.runner", True),
        ("results.jsonl", False),
        ("results.1-of-2.jsonl", False),
        ("Results.JSONL", False),
        (".runner/lock", False),
        (".replaced/mug/1/mug.png", False),
        ("../mug.png", False),
    ],
)
def test_no_picture_goes_where_the_runner_keeps_its_own(path: str, is_one: bool) -> None:
    """Neither over the results log nor among what was set aside, however it is spelled."""
    assert records.is_target(path) is is_one
