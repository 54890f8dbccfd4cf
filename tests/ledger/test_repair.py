"""Mending a damaged results manifest: every readable line stays, and no damage leads to a second purchase."""

from __future__ import annotations

from io import BytesIO
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.core.errors import LedgerCorrupt
from runner.core.models import Fault, Job, Output, Record, State
from runner.ledger import Log
from runner.ledger.records import BadLine, decode, encode
from runner.ledger.repair import SalvageResult, repair, salvage
from runner.planning.rules import Action, Decision, decide

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeRecord

API = "https://api.example/v1"
NOW = "2026-12-01T00:00:00.000Z"
FAILED = Fault(code="500", message="worker lost", retryable=True)
REFUSED = Fault(code="400", message="bad prompt")


def mended(*lines: bytes | Record) -> SalvageResult:
    data = b"".join(encode(line) if isinstance(line, Record) else line + b"\n" for line in lines)
    return salvage(BytesIO(data), at=NOW, api=API)


def records(found: SalvageResult) -> list[Record]:
    return list(map(decode, found.written()))


def damaged(record: Record, *, keep: int | None = None) -> bytes:
    """The line of ``record`` without its end, or with a hole where it says when it was."""
    line = encode(record).rstrip()
    return line[:keep] if keep else line.replace(b'"at":"20', b'"at":\x00\x00\x00')


def states(found: SalvageResult) -> dict[tuple[str, int], State]:
    return {(record.id, record.purchase): record.state for record in records(found)}


def test_a_log_that_is_in_order_is_left_alone(path: Path, record: MakeRecord) -> None:
    """Nothing is written, no copy is made; neither for a torn tail, which every opening cuts."""
    for tail in (b"", b'{"id":"mug","purch'):
        path.write_bytes(encode(record()) + tail)
        mended = repair(path, at=NOW, api=API)
        found, copy = mended.found, mended.copy
        assert (found.damages, copy) == ((), None)
        assert path.read_bytes() == encode(record()) + tail


def test_every_readable_line_stays_in_order_and_a_copy_is_kept(path: Path, record: MakeRecord) -> None:
    """The damaged file lies beside the lock under a number of its own; the new one opens."""
    good = [record("a", State.DONE), record("b", State.DONE), record("c", State.DONE)]
    before = encode(good[0]) + b"garbage\n" + encode(good[1]) + b"\xff\xfe\n\n" + encode(good[2])
    path.parent.joinpath(".runner").mkdir()
    path.parent.joinpath(".runner/results.jsonl.damaged-1").write_bytes(b"an earlier one")
    path.write_bytes(before)
    with pytest.raises(LedgerCorrupt):
        Log(path, writable=True)
    mended = repair(path, at=NOW, api=API)
    found, copy = mended.found, mended.copy
    assert [entry.id for entry in records(found)] == ["a", "b", "c"]
    assert [damage.line for damage in found.damages] == [2, 4]
    assert path.read_bytes() == b"".join(map(encode, good))
    assert copy is not None
    assert (copy.name, copy.read_bytes()) == ("results.jsonl.damaged-2", before)
    Log(path, writable=True).close()


def test_mending_again_changes_nothing(path: Path, record: MakeRecord) -> None:
    """Also where a crash came between the copy and the new file: the copy serves again."""
    path.parent.joinpath(".runner").mkdir()
    before = encode(record("a", State.SUBMITTING)) + b"{\n" + encode(record("b"))
    path.write_bytes(before)
    repair(path, at=NOW, api=API)
    after = path.read_bytes()
    assert repair(path, at=NOW, api=API).copy is None
    assert path.read_bytes() == after
    path.write_bytes(before)
    repair(path, at=NOW, api=API)
    assert [file.name for file in path.parent.joinpath(".runner").iterdir()] == ["results.jsonl.damaged-1"]


def test_a_copy_is_as_private_as_the_log(path: Path, record: MakeRecord) -> None:
    """A file that only its owner may read does not become everybody's by being mended."""
    path.parent.joinpath(".runner").mkdir()
    path.write_bytes(encode(record("a")) + b"x\n")
    path.chmod(0o600)
    copy = repair(path, at=NOW, api=API).copy
    assert copy is not None
    assert [file.stat().st_mode & 0o777 for file in (path, copy)] == [0o600, 0o600]


def test_an_intent_before_a_damaged_line_is_unknown(record: MakeRecord) -> None:
    """What the answer was stood in the damaged line."""
    found = mended(record("a", State.SUBMITTING, request_id=None), damaged(record("a"), keep=60))
    assert states(found) == {("a", 1): State.UNKNOWN}
    assert found.held[0].error is not None
    assert found.held[0].error.code == "damaged"
    assert not found.hidden


@pytest.mark.parametrize("before", [State.SUBMITTING, State.RELEASED, State.UNKNOWN])
def test_a_request_that_can_be_read_is_owed(record: MakeRecord, before: State) -> None:
    """A request in hand is never abandoned: its id in the broken line is enough to collect it."""
    found = mended(record("a", before, request_id=None, at="then"), damaged(record("a", request_id="r-77")))
    assert states(found) == {("a", 1): State.SUBMITTED}
    assert (found.held[0].request_id, found.held[0].submitted_at) == ("r-77", "then")


@pytest.mark.parametrize("state", [State.RELEASED, State.FAILED, State.CANCELLED])
def test_a_purchase_that_would_be_repeated_is_held_where_a_later_line_may_be_hidden(
    record: MakeRecord, state: State
) -> None:
    """Its last readable line would let a run buy again."""
    found = mended(record("a", state, request_id=None), damaged(record("a", State.SUBMITTING), keep=40))
    assert states(found) == {("a", 1): State.UNKNOWN}


@pytest.mark.parametrize("state", [State.SUBMITTED, State.GENERATED, State.DONE])
def test_what_is_owed_or_done_stays_so(record: MakeRecord, state: State) -> None:
    """No later line of a purchase takes that back, so nothing about money is hidden."""
    assert mended(record("a", state), damaged(record("a", State.DONE))).held == ()


def test_a_second_purchase_that_only_a_damaged_line_names_is_held(record: MakeRecord) -> None:
    """Purchase 1 is done; 2 stands in the damaged line: it must not be bought again."""
    found = mended(record("a", State.DONE), damaged(record("a", State.SUBMITTING, purchase=2), keep=40))
    assert states(found) == {("a", 1): State.DONE, ("a", 2): State.UNKNOWN}


@pytest.mark.parametrize(
    ("state", "number"), [(State.DONE, 2), (State.FAILED, 2), (State.SUBMITTING, 1), (State.RELEASED, 1)]
)
def test_without_a_number_the_next_possible_purchase_is_held(record: MakeRecord, state: State, number: int) -> None:
    """The broken line says whose it is and no more; its number may be cut short and is not believed."""
    for keep in (12, 24):
        found = mended(record("a", state), damaged(record("a", State.SUBMITTING, purchase=12), keep=keep))
        assert [(held.purchase, held.state) for held in found.held] == [(number, State.UNKNOWN)]


def test_a_damaged_line_that_a_later_one_supersedes_holds_nothing(record: MakeRecord) -> None:
    """The last line of a purchase wins, whatever stood before it."""
    found = mended(
        record("a", State.SUBMITTING), damaged(record("a")), record("a", State.FAILED, error=FAILED), record("b")
    )
    assert (found.held, found.hidden, len(found.damages)) == ((), False, 1)


def test_a_job_without_any_readable_line_is_held_by_what_its_damaged_line_says(record: MakeRecord) -> None:
    """In a compacted log a line stands alone: what can be read of it makes the record."""
    found = mended(record("b", State.DONE), damaged(record("a", State.DONE)))
    held = found.held[-1]
    assert (held.id, held.state, held.request_id) == ("a", State.SUBMITTED, "r-a")
    assert (held.inputs, held.api, held.model) == ({"prompt": "a müg", "width": 512}, API, "a/b")
    assert not found.hidden


def test_a_name_that_is_read_once_and_known_to_nobody_may_be_garbled(record: MakeRecord) -> None:
    """Then every job that a run would buy is held, and it is said that more may be hidden."""
    lines = [
        record("failed", State.FAILED, error=FAILED),
        record("refused", State.RELEASED, request_id=None),
        record("cancelled", State.CANCELLED),
        record("intent", State.SUBMITTING, request_id=None),
        record("done", State.DONE),
        record("owed"),
        record("asked", State.UNKNOWN, request_id=None),
    ]
    for bad in (b'{"id":"mux","purch', b"\x00" * 300, b"{"):
        found = mended(*lines, bad)
        assert found.hidden
        assert {(held.id, held.purchase, held.state) for held in found.held} == {
            ("failed", 2, State.UNKNOWN),
            ("refused", 1, State.UNKNOWN),
            ("cancelled", 2, State.UNKNOWN),
            ("intent", 1, State.UNKNOWN),
        }


def test_a_request_that_a_readable_line_knows_names_the_purchase(record: MakeRecord) -> None:
    """The head of the line is gone, the request is not: the damage is about that purchase alone."""
    tail = encode(record("a", State.GENERATED))[30:].rstrip()
    found = mended(record("a"), record("b", State.FAILED, error=FAILED), tail)
    assert (found.held, found.hidden) == ((), False)


def test_records_that_only_lost_the_newline_between_them_are_all_kept(record: MakeRecord) -> None:
    """A flipped newline glues two records; a hole swallows a newline and the next line's head."""
    first, second = encode(record("a", State.DONE)).rstrip(), encode(record("b", State.DONE)).rstrip()
    for glue in (b"", b"\x8a", b"K"):
        found = mended(first + glue + second)
        assert [entry.id for entry in records(found)] == ["a", "b"]
        assert found.damages == ()
        assert found.kept == 2
    found = mended(b'{"id":"c"' + second)
    assert (found.kept, found.hidden) == (1, True)


def test_names_inside_the_inputs_are_not_taken_for_the_records(record: MakeRecord) -> None:
    """A model may have an input called request_id or file."""
    inputs = {"prompt": "x", "request_id": "not-this", "file": "nor-this", "id": "nor that"}
    bad = damaged(record("a", State.DONE, inputs=inputs, request_id=None))
    found = mended(record("a", State.SUBMITTING, inputs=inputs, request_id=None), bad)
    assert [(held.state, held.request_id) for held in found.held] == [(State.UNKNOWN, None)]


def test_a_renamed_jobs_first_line_is_written_again_by_the_next_run(record: MakeRecord) -> None:
    """Damaged, it hides nothing: the old id's line is readable, and taken over anew."""
    found = mended(record("mug", State.DONE), damaged(record("cup", State.DONE, renamed_from="mug")))
    assert (found.held, found.hidden) == ((), False)


def test_a_job_that_is_to_be_bought_anew_is_held_where_that_may_have_happened(record: MakeRecord) -> None:
    """The user's word for one more purchase was given before the damage; it does not pass what the damage may hide."""
    left = record("left", State.UNKNOWN, request_id=None, rebuy=True)
    redo = record("redo", State.DONE, redo=3)
    expected = [(2, False, 0), (2, False, 3)]
    for bad in ([b"\x00" * 99], [damaged(left, keep=30), damaged(redo, keep=30)], [b'{"id":"left",', b'{"id":"redo",']):
        found = mended(left, redo, *bad)
        assert [(held.purchase, held.rebuy, held.redone) for held in found.held] == expected
        assert all(held.question for held in found.held)


def job(job_id: str, inputs: str) -> Job:
    return Job(id=job_id, model="m", inputs={"prompt": inputs}, fingerprint=inputs, file=job_id)


PICTURE = (Output(url="https://a/1", path="x.png", sha256="00", bytes=3),)
LIVES: dict[str, list[str]] = {
    "bought": ["submitting", "submitted", "generated", "generated", "done"],
    "refused, then bought": ["submitting", "released", "submitting", "submitted", "done"],
    "refused": ["submitting", "released"],
    "refused, then sent": ["submitting", "released", "submitting"],
    "sent": ["submitting"],
    "accepted": ["submitting", "submitted"],
    "unknown": ["submitting", "unknown"],
    "cancelled": ["submitting", "submitted", "cancelled"],
    "failed": ["submitting", "submitted", "failed"],
    "refused for good": ["submitting", "failed!"],
    "failed, then bought": ["submitting", "submitted", "failed", "/", "submitting", "submitted", "done"],
    "failed, then sent": ["submitting", "submitted", "failed", "/", "submitting"],
    "changed, then bought": ["submitting", "submitted", "done", "*", "submitting", "submitted", "done"],
    "left open": ["submitting", "unknown", "unknown~"],
    "left open, bought anew": ["submitting", "unknown", "unknown~", "/", "submitting", "submitted", "done"],
    "left open, sent anew": ["submitting", "unknown", "unknown~", "/", "submitting"],
    "redone": ["submitting", "submitted", "done", "done+", "/", "submitting", "submitted", "done"],
    "redo sent": ["submitting", "submitted", "done", "done+", "/", "submitting"],
    "redo refused, then sent": [
        "submitting",
        "submitted",
        "done",
        "done+",
        "/",
        "submitting",
        "released",
        "submitting",
    ],
    "changed, then sent": ["submitting", "submitted", "done", "*", "submitting"],
}


def life(job_id: str, steps: list[str]) -> list[Record]:
    """The lines of one job. ``/`` begins another purchase, ``*`` one with other inputs; ``~`` rebuys, ``+`` redoes."""
    number, inputs, redo, lines = 1, "A", 0, []
    for step in steps:
        if step in "/*":
            number, inputs = number + 1, "B" if step == "*" else inputs
            continue
        state = State(step.rstrip("!~+"))
        asked = state in (State.SUBMITTED, State.GENERATED, State.DONE, State.CANCELLED) or step == "failed"
        fields: dict[str, Any] = {
            "request_id": f"r-{job_id.encode().hex()}-{number}" if asked else None,
            "error": {"failed": FAILED, "failed!": REFUSED}.get(step),
            "outputs": PICTURE if state is State.DONE else (),
            "rebuy": step.endswith("~"),
            "redo": int(step.endswith("+")),
            "redone": redo,
        }
        redo = redo or fields["redo"]
        lines.append(
            Record(
                id=job_id,
                purchase=number,
                state=state,
                at="2026-11-22T01:02:03.456Z",
                api=API,
                manifest="-",
                model="m",
                inputs={"prompt": inputs},
                fingerprint=inputs,
                file=job_id,
                **fields,
            )
        )
    return lines


def planned(lines: list[Record], job_id: str, inputs: str) -> Decision:
    """What a run would do with a job, given a log; the last line of a purchase wins."""
    last = {record.purchase: record for record in lines if record.id == job_id}
    history = [last[number] for number in sorted(last)]
    return decide(job(job_id, inputs), history, present=lambda _: True)


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """The lines of a few jobs, interleaved, each job's in their order."""
    names = ["mug", "mug-hero", "t", "küche-1", "tote 2"][: draw(st.integers(1, 5))]
    left = {name: life(name, LIVES[draw(st.sampled_from(sorted(LIVES)))]) for name in names}
    lines = []
    while left:
        name = draw(st.sampled_from(sorted(left)))
        lines.append(left[name].pop(0))
        left = {key: rest for key, rest in left.items() if rest}
    return lines


@st.composite
def damages(draw: st.DrawFn) -> tuple[list[Record], int, bytes]:
    """A log, the line that is damaged, and what stands there now; the newline may be part of it."""
    lines = draw(logs())
    number = draw(st.integers(0, len(lines) - 1))
    line = encode(lines[number])
    start = draw(st.integers(0, len(line) - 1))
    end = draw(st.integers(start + 1, len(line)))
    noise = draw(
        st.one_of(
            st.just(b""),
            st.just(bytes(end - start)),
            st.binary(max_size=12),
            st.integers(0, 999).map(lambda seed: Random(seed).randbytes(end - start)),
        )
    )
    return lines, number, line[:start] + noise + line[end:]


def is_damaged(stretch: bytes) -> bool:
    """Whether a log would refuse it: lines that are no records, and not blank."""
    for line in stretch.split(b"\n"):
        try:
            if line.strip():
                decode(line)
        except BadLine:
            return True
    return False


CUT_IDS = {
    "up to the next field's name": b'{"id":"t"state":"submitting",',
    "up to the next field": b'{"id":"t","state":"submitting",',
    "within the id alone": b'{"id":"t","purchase":"1","state":"submitting",',
}


@pytest.mark.parametrize("start", CUT_IDS.values(), ids=CUT_IDS)
def test_an_id_that_is_cut_to_another_jobs_is_not_taken_for_it(start):
    """What is left of `tote 2` is `t`, a job of its own: the damage is not taken for that job's, and may hide any."""
    other = [encode(line) for line in life("t", LIVES["bought"])]
    rest = b'"at":"2026-11-22T01:02:03.456Z","api":"https://api.example/v1","manifest":"-","model":"m",'
    damaged = start + rest + b'"inputs":{"prompt":"A"},"fingerprint":"A","file":"tote 2"}\n'
    found = salvage(BytesIO(b"".join(other) + damaged), at=NOW, api=API)
    assert found.hidden


@settings(deadline=None, max_examples=examples(250))
@given(damages())
def test_no_damage_to_a_line_makes_a_run_buy_what_was_bought(case: tuple[list[Record], int, bytes]) -> None:
    """Where the whole log would not buy, the mended one does not, or it is said that a purchase may be hidden."""
    lines, number, now = case
    if not is_damaged(now):
        return
    before, after = lines[:number], lines[number + 1 :]
    data = b"".join(map(encode, before)) + now + b"".join(map(encode, after))
    found = salvage(BytesIO(data), at=NOW, api=API)
    kept = records(found)
    assert [entry for entry in kept if entry in before + after][: len(before)] == before
    torn = not found.damages and number == len(lines) - 1
    only = sum((line.id, line.purchase) == (lines[number].id, lines[number].purchase) for line in lines) == 1
    for job_id in {line.id for line in lines}:
        inputs = [line.fingerprint for line in lines if line.id == job_id][-1]
        if planned(lines, job_id, inputs).action is Action.BUY:
            continue
        bought = planned(kept, job_id, inputs).action is Action.BUY
        assert not bought or (found.hidden and only and job_id == lines[number].id) or torn


LINES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"", b"\r", b"{", b'{"id":"a"', b'{"id":"a","purchase":1', b"[" * 3000, b'{"id":' * 2000]),
    logs().map(lambda lines: encode(lines[-1])[:-1]),
    st.tuples(logs(), st.integers(0, 400)).map(lambda cut: encode(cut[0][-1])[: cut[1]].rstrip(b"\n")),
    st.just(b'{"id":"a","purchase":1,"request_id":"r-1","inputs":{"seed":1e999,"n":' + b"9" * 30 + b'},"x":'),
    st.just(b'{"id":"\\ud800","purchase":1,"file":"\\ud800","inputs":{"p":"\\ud800"},'),
    st.just(b'{"id":"a/b","file":"a/b","purchase":1,'),
)


@settings(deadline=None, max_examples=examples(150))
@given(lines=st.lists(LINES, max_size=8), ended=st.booleans())
def test_whatever_the_bytes_the_outcome_loads_and_loses_no_readable_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool
) -> None:
    """It never raises; readable lines stay in order; the new file is clean, and mending it again changes nothing."""
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    found = salvage(BytesIO(data), at=NOW, api=API)
    now = b"".join(found.written())
    kept = iter(now.splitlines())
    for line in data.split(b"\n"):
        try:
            readable = decode(line)
        except BadLine:
            continue
        assert any(decode(other) == readable for other in kept)
    again = salvage(BytesIO(now), at=NOW, api=API)
    assert (b"".join(again.written()), again.damages, again.held) == (now, (), ())
    path = tmp_path_factory.mktemp("log") / "results.jsonl"
    path.write_bytes(now)
    log = Log(path, writable=False)
    assert log.torn == b""
    log.close()
