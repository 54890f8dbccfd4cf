"""Receipts: a row for each file and for each purchase without one, that sum to the bill."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.cli.commands import export, status
from runner.core.copies import CopyFile
from runner.core.models import Fault, Output, Record, State
from runner.engine.billing.costs import Basis, exact
from runner.engine.billing.receipts import Receipt, receipts
from runner.files.output_folder import Folder
from runner.ledger import open_reader
from runner.ledger.records import encode

PICTURE = Output(url="https://a/1?signature=s", path="mug.png", bytes=3, sha256="00", width=64, height=32)


def record(state: State = State.DONE, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "id": "mug",
        "purchase": 1,
        "at": "2026-11-22T01:02:03.456Z",
        "api": "https://api.example/v1",
        "manifest": "../jobs/spring.yaml",
        "model": "a/b",
        "inputs": {"prompt": "a mug", "width": 64, "height": 30},
        "fingerprint": "sha256:0",
        "file": "mug",
        "request_id": "req-1",
        "reserved_usd": 0.009,
    }
    return Record(state=state, **{**fields, **changes})


def rows_of(purchase: Record) -> list[Receipt]:
    return list(receipts(purchase, in_force=True, path_of=lambda output: output.path))


def test_a_row_says_what_a_receipt_should() -> None:
    """File, bytes, pixels, model, prompt, sizes asked for and got, request, times, cost; the link to it is not told."""
    (row,) = rows_of(record(cost_usd=0.0045, outputs=(PICTURE,), completed_at="later"))
    told = msgspec.to_builtins(row)
    assert {name: told[name] for name in told if told[name] is not None} == {
        "id": "mug",
        "purchase": 1,
        "state": "done",
        "in_force": True,
        "output": 1,
        "path": "mug.png",
        "sha256": "00",
        "bytes": 3,
        "width": 64,
        "height": 32,
        "pixels": 2048,
        "model": "a/b",
        "prompt": "a mug",
        "asked_width": 64,
        "asked_height": 30,
        "request_id": "req-1",
        "completed_at": "later",
        "recorded_at": "2026-11-22T01:02:03.456Z",
        "billed_usd": 0.0045,
        "reserved_usd": 0.009,
        "spent_usd": 0.0045,
        "basis": "billed",
        "api": "https://api.example/v1",
        "manifest": "../jobs/spring.yaml",
        "copies": (),
    }


def test_the_names_of_the_columns_are_a_promise() -> None:
    """A sheet or a script that was made for them goes on working: new ones come at the end only."""
    assert " ".join(Receipt.__struct_fields__) == (
        "id purchase state in_force output path sha256 bytes media_type width height pixels model prompt asked_width "
        "asked_height request_id intended_at submitted_at completed_at recorded_at billed_usd reserved_usd spent_usd "
        "basis error warning renamed_from restored_from api manifest copies"
    )


def test_a_row_names_the_copies_of_its_file() -> None:
    """Of each file those that were made of its bytes, and only while its purchase is in force."""
    copies = tuple(
        CopyFile(path=path, bytes=1, sha256="0", recipe="0", of=of, media_type="image/jpeg")
        for path, of in (
            ("web/mug.jpg", PICTURE.sha256 or ""),
            ("web/other.jpg", "f" * 64),
            ("a.webp", PICTURE.sha256 or ""),
        )
    )
    bought = record(outputs=(PICTURE,), copies=copies)
    (row,) = rows_of(bought)
    assert row.copies == ("web/mug.jpg", "a.webp")
    (older,) = receipts(bought, in_force=False, path_of=lambda output: output.path)
    assert older.copies == ()


def test_of_several_files_the_first_carries_the_cost() -> None:
    """A purchase is not counted once for each of its files; one that is not there yet has no row."""
    outputs = (PICTURE, Output(url="u"), msgspec.structs.replace(PICTURE, path="mug-3.png"))
    first, second = rows_of(record(State.GENERATED, cost_usd=0.5, outputs=outputs))
    assert (first.output, first.path, first.spent_usd, first.basis) == (1, "mug.png", 0.5, Basis.BILLED)
    assert (second.output, second.path, second.spent_usd, second.basis) == (3, "mug-3.png", None, None)
    assert (second.billed_usd, second.reserved_usd) == (None, None)


@pytest.mark.parametrize(
    ("purchase", "spent", "basis"),
    [
        (record(cost_usd=0.0045), 0.0045, Basis.BILLED),
        (record(cost_usd=0.0), 0.0, Basis.BILLED),
        (record(), 0.009, Basis.RESERVED),
        (record(reserved_usd=None), 0.0, Basis.UNPRICED),
        (record(State.UNKNOWN, request_id=None), 0.009, Basis.RESERVED),
        (record(State.SUBMITTING, request_id=None), 0.009, Basis.RESERVED),
        (record(State.UNKNOWN, request_id=None, reserved_usd=None), 0.0, Basis.UNPRICED),
        (record(State.SUBMITTED), 0.009, Basis.RESERVED),
        (record(State.FAILED), 0.009, Basis.RESERVED),
        (record(State.FAILED, request_id=None), 0.0, Basis.FREE),
        (record(State.FAILED, cost_usd=0.1), 0.1, Basis.BILLED),
        (record(State.CANCELLED), 0.0, Basis.FREE),
        (record(State.RELEASED), 0.0, Basis.FREE),
        (record(restored_from=1, reserved_usd=None), 0.0, Basis.FREE),
    ],
)
def test_a_row_says_by_what_it_counts(purchase: Record, spent: float, basis: Basis) -> None:
    """Billed, reserved, of unknown price, or free; a purchase without a file has a row of its own."""
    (row,) = rows_of(purchase)
    assert (row.spent_usd, row.basis, row.output, row.path) == (spent, basis, None, None)


def test_a_question_says_when_the_request_left() -> None:
    """What may have been bought is looked for by that time."""
    assert rows_of(record(State.SUBMITTING, request_id=None))[0].intended_at == "2026-11-22T01:02:03.456Z"
    assert rows_of(record(State.UNKNOWN, request_id=None, intended_at="then"))[0].intended_at == "then"
    assert rows_of(record())[0].intended_at is None


@pytest.mark.parametrize("value", [True, "64", -1, 2**31, 10**400, None, 1.5, [64]])
def test_a_size_that_is_no_size_is_left_out(value: object) -> None:
    """Inputs and outputs of a results manifest from elsewhere break no arithmetic."""
    (row,) = rows_of(record(inputs={"width": value}))
    assert row.asked_width is None
    if isinstance(value, int):
        odd = Output(url="u", path="mug.png", width=value, height=value, bytes=-1 if value == -1 else 2**63)
        (row,) = rows_of(record(outputs=(odd,)))
        assert (row.pixels, row.bytes) == (None, None)


def test_a_prompt_may_be_an_object() -> None:
    """Prompts that are no text are told as JSON."""
    assert rows_of(record(inputs={"prompt": {"scene": "a mug", "seed": 10**30}}))[0].prompt == (
        '{"scene": "a mug", "seed": 1000000000000000000000000000000}'
    )


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
MONEY = st.none() | st.floats(0, 1000) | st.sampled_from([0.0, 0.0045, 0.1, 0.2, 0.3, 0.013499999999999998, 1e-7])
FILES = st.lists(
    st.builds(
        Output,
        url=st.just("https://a/1"),
        path=st.none() | st.sampled_from(["mug.png", "a/b.png", ".rejected/mug/1/mug.png", "-x=.png"]),
        sha256=st.none() | st.just("00"),
        bytes=st.none() | st.integers(-(2**70), 2**70),
        width=st.none() | st.integers(-5, 2**70),
    ),
    max_size=3,
).map(tuple)
PURCHASES = st.builds(
    record,
    st.sampled_from(State),
    id=st.sampled_from(["mug", "bag", "=tote"]),
    purchase=st.integers(1, 4),
    request_id=st.sampled_from(["req-1", "-req"]),
    inputs=st.dictionaries(st.sampled_from(["prompt", "width", "seed"]), TEXTS | st.integers(), max_size=3),
    cost_usd=MONEY,
    reserved_usd=MONEY,
    outputs=FILES,
    error=st.none() | st.builds(Fault, code=TEXTS, message=TEXTS),
    restored_from=st.none() | st.integers(1, 3),
    renamed_from=st.none() | st.sampled_from(["mug", "old"]),
    api=st.sampled_from(["https://api.example/v1", "emulator"]),
)


def called(command: Any, *words: str) -> str:
    ended = CliRunner().invoke(command, words, catch_exceptions=False, standalone_mode=False)
    assert ended.return_value == 0
    return ended.stdout_bytes.decode()


@settings(deadline=None, max_examples=examples(60, quick=10))
@given(lines=st.lists(PURCHASES, max_size=12))
def test_rows_sum_to_what_status_calls_spent(lines: list[Record]) -> None:
    """Whatever happened in a folder, in every format, to the last billionth; and each purchase is there."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "results.jsonl").write_bytes(b"".join(map(encode, lines)))
        spent = Decimal(str(json.loads(called(status.command, folder, "--json"))["spent_usd"]))
        table = list(csv.DictReader(io.StringIO(called(export.command, folder), newline="")))
        rows = json.loads(called(export.command, folder, "--format", "json"))
        assert rows == [
            json.loads(line) for line in called(export.command, folder, "--format", "jsonl").split("\n")[:-1]
        ]
        with open_reader(Path(folder)) as ledger:
            known = {(r.id, r.purchase) for r in ledger.latest()}
    assert sum((Decimal(row["spent_usd"]) for row in table if row["spent_usd"]), Decimal(0)) == spent
    assert sum((exact(row["spent_usd"]) for row in rows if row["spent_usd"]), Decimal(0)) == spent
    assert {(row["id"], row["purchase"]) for row in rows} == known
    assert [row["id"].lstrip("'") for row in table] == [row["id"] for row in rows]
    assert all((row["spent_usd"] is None) == (row["basis"] is None) for row in rows)


@pytest.mark.slow
def test_memory_does_not_follow_the_records(tmp_path: Path) -> None:
    """Rows are written as they are read: a long prompt leaves nothing behind, however many there are."""
    inputs = {"prompt": "x" * 10_000}
    lines = (encode(record(id=f"job-{n}", inputs=inputs, outputs=(PICTURE,))) for n in range(500))
    (tmp_path / "results.jsonl").write_bytes(b"".join(lines))
    with open_reader(tmp_path) as ledger:
        for form in export.FORMATS.values():
            tracemalloc.start()
            written = sum(map(len, form(export.Rows(ledger, Folder(tmp_path)))))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert written > 5_000_000
            assert peak < 500_000
