"""Which line of which purchase counts: renames, several purchases, other APIs, and a model to compare with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.core.models import OWED, Output, Record, State
from runner.ledger import Ledger, Log
from runner.ledger.records import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import MakeRecord

API = "https://api.example/v1"


class Book:
    """A log with the appends of one test, that can be closed and opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = Log(path, writable=True)
        self.ledger = Ledger(self.log)

    def add(self, *records: Record) -> None:
        lines = [line_of(record) for record in records]
        self.log.write(lines)
        for record, line in zip(records, lines, strict=True):
            self.log.count(record, len(line))

    def reopen(self, *, compact: bool = False) -> None:
        if compact:
            self.ledger.compact()
        self.ledger.close()
        self.__init__(self.path)  # type: ignore[misc]  # as the next run would


@pytest.fixture
def book(path: Path) -> Iterator[Book]:
    book = Book(path)
    yield book
    book.ledger.close()


@pytest.fixture(params=["as it is", "reopened", "compacted"])
def settled(request: pytest.FixtureRequest, book: Book) -> Book:
    """The book; what it says must not depend on whether it was opened again or rewritten in between."""
    add = book.add

    def adding(*records: Record) -> None:
        add(*records)
        if request.param != "as it is":
            add(*records * 3)
            book.reopen(compact=request.param == "compacted")

    book.add = adding  # type: ignore[method-assign]
    return book


def test_the_last_line_of_each_purchase_counts(settled: Book, record: MakeRecord) -> None:
    """A job's history is its purchases, oldest first, each as it stands."""
    second = record(purchase=2, state=State.DONE)
    settled.add(record(purchase=1), second, record(purchase=10))
    settled.add(record(purchase=1, state=State.FAILED))
    assert [(one.purchase, one.state) for one in settled.ledger.history("mug")] == [
        (1, State.FAILED),
        (2, State.DONE),
        (10, State.SUBMITTED),
    ]
    assert settled.ledger.history("mu") == settled.ledger.history("mug/2") == []


def test_a_purchase_number_beyond_all_count_costs_no_time(settled: Book, record: MakeRecord) -> None:
    """Purchases are looked up, not counted through."""
    settled.add(record(purchase=100_000))
    assert [one.purchase for one in settled.ledger.history("mug")] == [100_000]


def test_purchases_are_of_one_api_and_history_of_all(settled: Book, record: MakeRecord) -> None:
    """What another origin sold is never taken for this one's, and its number is not used again."""
    settled.add(record(), record(purchase=2, api="emulator"))
    assert [one.purchase for one in settled.ledger.purchases("mug", API)] == [1]
    assert [one.purchase for one in settled.ledger.purchases("mug", "emulator")] == [2]
    assert [one.purchase for one in settled.ledger.history("mug")] == [1, 2]
    assert [one.purchase for one in settled.ledger.owed(API)] == [1]


def test_the_other_purchases_of_a_job_can_be_asked_for_alone(settled: Book, record: MakeRecord) -> None:
    """A delivery looks at what else was bought for its job, whichever purchase it delivers."""
    settled.add(record("mug"), record("tote"), record("mug", purchase=2), record("mug", purchase=3))
    found = [[other.purchase for other in settled.ledger.history("mug", but=number)] for number in range(5)]
    assert found == [[1, 2, 3], [2, 3], [1, 3], [1, 2], [1, 2, 3]]


def test_a_renamed_job_leaves_its_old_id(settled: Book, record: MakeRecord) -> None:
    """Its purchases go on under the new id, are owed once, and the old id is free again."""
    settled.add(record("a"), record("a", purchase=2, state=State.DONE))
    settled.add(record("b", renamed_from="a"))
    assert [one.purchase for one in settled.ledger.history("a")] == [2]
    settled.add(record("b", purchase=2, state=State.DONE, renamed_from="a"))
    assert settled.ledger.history("a") == []
    assert [one.purchase for one in settled.ledger.history("b")] == [1, 2]
    assert [one.id for one in settled.ledger.owed(API)] == ["b"]


def test_a_new_job_under_the_old_id_of_a_renamed_one_keeps_its_purchases(settled: Book, record: MakeRecord) -> None:
    """Later lines of the renamed job carry ``renamed_from`` too, and must not take the newcomer's away."""
    settled.add(record("a"))
    settled.add(record("b", renamed_from="a"))
    settled.add(record("a", request_id="r-new"))
    settled.add(record("b", State.DONE, renamed_from="a"))
    assert [one.request_id for one in settled.ledger.history("a")] == ["r-new"]
    assert [one.state for one in settled.ledger.history("b")] == [State.DONE]
    assert [one.id for one in settled.ledger.owed(API)] == ["a"]


def test_a_job_that_was_renamed_and_renamed_back_is_one_job(settled: Book, record: MakeRecord) -> None:
    """a, then b, then a again; and a new b beside it."""
    settled.add(record("a"))
    settled.add(record("b", renamed_from="a"))
    settled.add(record("a", renamed_from="b"))
    assert settled.ledger.history("b") == []
    settled.add(record("b", request_id="r-new"))
    settled.add(record("a", State.DONE, renamed_from="b"))
    assert [one.state for one in settled.ledger.history("a")] == [State.DONE]
    assert [one.request_id for one in settled.ledger.history("b")] == ["r-new"]
    assert [one.id for one in settled.ledger.latest()] == ["a", "b"]


def test_what_is_owed_comes_oldest_first_even_after_a_rename(settled: Book, record: MakeRecord) -> None:
    """Paid results are fetched in the order in which they were bought."""
    at = "2026-11-22T00:00:0{}.000Z".format
    settled.add(*[record(name, submitted_at=at(n)) for n, name in enumerate("abcd")])
    settled.add(record("b", State.GENERATED, submitted_at=at(1)), record("c", State.DONE))
    settled.add(record("z", submitted_at=at(0), renamed_from="a"))
    assert [one.id for one in settled.ledger.owed(API)] == ["z", "b", "d"]


def test_a_purchase_is_found_by_its_request(settled: Book, record: MakeRecord) -> None:
    """Whatever became of it: delivered, at another API, renamed. An id that nobody has is nobody's."""
    settled.add(record("a"), record("b", State.DONE), record("c", api="emulator"))
    settled.add(record("d", State.SUBMITTING, request_id=None))
    settled.add(record("z", request_id="r-a", renamed_from="a"))
    found = {name: settled.ledger.with_request(f"r-{name}") for name in "abcd"}
    assert {name: one and one.id for name, one in found.items()} == {"a": "z", "b": "b", "c": "c", "d": None}
    settled.add(record("d", request_id="r-d"))
    assert settled.ledger.with_request("r-d") == record("d", request_id="r-d")


def test_each_of_many_purchases_is_found_by_its_request(path: Path, record: MakeRecord) -> None:
    """The index grows several times over; requests are looked for while it does and when it is read again."""
    book = Book(path)
    names = [f"job-{number}" for number in range(3000)]
    for name in names:
        assert book.ledger.with_request(f"r-{name}") is None
        book.add(record(name, State.SUBMITTING, request_id=None), record(name))
    for _ in range(2):
        assert [book.ledger.with_request(f"r-{name}").id for name in names] == names
        assert book.ledger.with_request("r-job-3000") is None
        book.reopen()
    book.ledger.close()


def test_a_request_that_passed_to_another_purchase_is_found_there(settled: Book, record: MakeRecord) -> None:
    """The last purchase that was recorded with a request has it; the purchase that was without it is not confused."""
    settled.add(record("a", State.UNKNOWN, request_id="r-1"), record("a", State.UNKNOWN, request_id=None))
    assert settled.ledger.with_request("r-1") is None
    settled.add(record("b", request_id="r-1"))
    assert settled.ledger.with_request("r-1") == record("b", request_id="r-1")


def test_intents_without_an_answer_are_found_in_order(settled: Book, record: MakeRecord) -> None:
    """Each is a question that the next run must answer; one that was answered is none."""
    intents = [record(name, State.SUBMITTING, request_id=None) for name in ("a", "b", "c")]
    settled.add(*intents)
    settled.add(record("b"), record("d", State.UNKNOWN))
    assert [one.id for one in settled.ledger.interrupted()] == ["a", "c"]
    settled.add(record("a", State.RELEASED, request_id=None))
    settled.add(record("a", State.SUBMITTING, request_id=None, at="2026-11-23"))
    assert [one.id for one in settled.ledger.interrupted()] == ["c", "a"]


def test_a_file_fetched_again_is_owed_until_it_is_done(settled: Book, record: MakeRecord) -> None:
    """A done purchase whose files are delivered again is owed in between, and only then."""
    settled.add(record(state=State.DONE))
    assert settled.ledger.owed(API) == []
    settled.add(record(state=State.GENERATED))
    assert [one.state for one in settled.ledger.owed(API)] == [State.GENERATED]
    settled.add(record(state=State.DONE))
    assert settled.ledger.owed(API) == []


def line(job_id: str, purchase: int, state: State, api: str) -> Record:
    return Record(
        id=job_id,
        purchase=purchase,
        state=state,
        at="",
        api=api,
        manifest="-",
        model="a/b",
        inputs={},
        fingerprint="",
        file="a",
        request_id="r",
    )


lines = st.builds(
    line, st.sampled_from("abcd"), st.integers(1, 3), st.sampled_from(list(State)), st.sampled_from([API, "other"])
)
steps = st.lists(
    st.one_of(
        st.lists(lines, min_size=1, max_size=4),
        st.just("reopen"),
        st.just("compact"),
        st.tuples(st.just("rename"), st.sampled_from("abcd"), st.sampled_from("efgh")),
    ),
    max_size=25,
)


class Model:
    """What a ledger is, without a file: the last record of each purchase, in order of first appearance."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, int], Record] = {}

    def add(self, record: Record) -> None:
        if record.renamed_from and (record.id, record.purchase) not in self.last:
            self.last.pop((record.renamed_from, record.purchase), None)
        self.last[record.id, record.purchase] = record


@settings(max_examples=examples(150), deadline=None)
@given(steps=steps)
def test_any_sequence_of_lines_reopened_and_compacted_equals_a_dictionary(steps: list[object]) -> None:
    """Whatever is written in whatever order, opened again and rewritten: the last line of each purchase counts."""
    with TemporaryDirectory() as folder:
        book, model = Book(Path(folder) / "results.jsonl"), Model()
        for step in steps:
            for record in step_records(step, model):
                book.add(record)
                model.add(record)
            if step in ("reopen", "compact"):
                book.reopen(compact=step == "compact")
            compare(book.ledger, model)
        book.ledger.close()


def step_records(step: object, model: Model) -> list[Record]:
    """What a step appends; a rename takes all purchases of one id over to an id that has none."""
    if isinstance(step, list):
        return step
    if not isinstance(step, tuple) or any(key[0] == step[2] for key in model.last):
        return []
    _, old, new = step
    return [
        msgspec.structs.replace(entry, id=new, renamed_from=old) for key, entry in model.last.items() if key[0] == old
    ]


def compare(ledger: Ledger, model: Model) -> None:
    records = list(model.last.values())
    assert list(ledger.latest()) == records
    for job_id in "abcdefgh":
        mine = sorted((one for one in records if one.id == job_id), key=lambda one: one.purchase)
        assert ledger.history(job_id) == mine
    ledger.claim("aceg")
    assert list(ledger.unclaimed()) == [one for one in records if one.id not in "aceg"]
    assert unordered(ledger.owed(API)) == unordered(one for one in records if one.state in OWED and one.api == API)
    assert unordered(ledger.interrupted()) == unordered(one for one in records if one.state is State.SUBMITTING)


def unordered(records: object) -> list[tuple[str, int]]:
    return sorted((one.id, one.purchase) for one in records)  # type: ignore[attr-defined]


# Whose file stands where


@pytest.mark.anyio
async def test_whose_file_stands_at_a_path_is_known_as_it_changes(book: Book, record: MakeRecord) -> None:
    """Of several that stood there the newest; what is being moved away stands where it was, until it is elsewhere."""

    def said(job: str, state: State, at: str, *outputs: Output, **changes: Any) -> Record:
        return record(job, state, at=at, outputs=outputs, request_id=f"r-{job}", **changes)

    def there(path: str, moved_from: str | None = None) -> Output:
        return Output(url="https://x.runcomfy.net/0.png", path=path, moved_from=moved_from)

    book.add(
        said("new", State.DONE, "2026-11-23", there("1.png")),
        said("old", State.DONE, "2026-11-22", there("1.png")),
        said("gone", State.DONE, "2026-11-22", there("2.png")),
        said("renamed", State.DONE, "2026-11-22", there("2.png"), renamed_from="gone"),
    )

    async def owner(path: str) -> str | None:
        found = await book.ledger.owner_of(path)
        return found and found.id

    assert [await owner(f"{number}.png") for number in range(4)] == [None, "new", "renamed", None]
    book.add(said("new", State.GENERATED, "2026-11-24", there("3.png", "1.png")))
    assert [await owner(f"{number}.png") for number in range(4)] == [None, "new", "renamed", None]
    book.add(said("new", State.DONE, "2026-11-24", there("3.png")))
    assert [await owner(f"{number}.png") for number in range(4)] == [None, None, "renamed", "new"]
    book.add(said("old", State.DONE, "2026-11-25", there("1.png")))
    assert await owner("1.png") == "old"


@pytest.mark.anyio
async def test_what_is_written_while_all_are_looked_through_counts(book: Book, record: MakeRecord) -> None:
    """Others have their turn meanwhile, and what they say is newer than what is read."""

    def done(number: int, path: str) -> Record:
        output = Output(url="https://x.runcomfy.net/0.png", path=path)
        return record(f"j{number}", State.DONE, at=f"{number:04}", outputs=(output,), request_id=f"r{number}")

    book.add(*(done(number, f"{number}.png") for number in range(300)))

    async def write() -> None:
        book.add(done(1000, "299.png"), done(1001, "1001.png"))

    looking = asyncio.create_task(book.ledger.owner_of("299.png"))
    await asyncio.sleep(0)
    assert not looking.done()
    await write()
    found = [await looking, await book.ledger.owner_of("1001.png"), await book.ledger.owner_of("5.png")]
    assert [one and one.id for one in found] == ["j1000", "j1001", "j5"]
