"""One results manifest, one for each shard, and one again: what is known of every purchase stays what it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.examples import examples

from runner.core.errors import ConflictError, LedgerCorrupt, LedgerError
from runner.core.models import Record, State
from runner.core.shards import Shard, shard_of
from runner.ledger import Ledger, Log, ShardedReader, acquire, acquire_all, look, merge_shards, path_of, run_lock
from runner.ledger.layout import shard_named
from runner.ledger.records import encode
from runner.ledger.sharding import merge, split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import MakeRecord

NOW = "2026-11-22T01:02:03.456Z"


def all_of(count: int) -> tuple[Shard, ...]:
    return Shard(index=1, of=count).all


def write(root: Path, records: Iterable[Record]) -> None:
    (root / ".runner").mkdir(parents=True, exist_ok=True)
    (root / "results.jsonl").write_bytes(b"".join(map(encode, records)))


def known(path: Path) -> list[Record]:
    ledger = Ledger(Log(path, writable=False))
    try:
        return list(ledger.latest())
    finally:
        ledger.close()


def by_key(records: Iterable[Record]) -> dict[tuple[str, int], Record]:
    return {(record.id, record.purchase): record for record in records}


IDS = st.sampled_from(["mug", "tote", "cup", "bag", "müg", "a b", "x"])
STEPS = st.lists(st.tuples(IDS, st.none() | IDS, st.sampled_from(sorted(State)), st.integers(0, 9)), max_size=30)
"""A line about a job, or its renaming to an id that has no purchase; and at which second."""


def history(steps: list[tuple[str, str | None, State, int]]) -> list[Record]:
    """A log as runs write it."""
    jobs: dict[str, dict[int, Record]] = {}
    lines: list[Record] = []
    for job_id, new_id, state, second in steps:
        at = f"2026-11-22T01:02:0{second}.000Z"
        purchases = jobs.setdefault(job_id, {})
        if new_id is not None and purchases and not jobs.get(new_id):
            moved = {n: structs.replace(r, id=new_id, renamed_from=job_id) for n, r in jobs.pop(job_id).items()}
            jobs[new_id] = moved
            lines += reversed(moved.values())
            continue
        newest = max(purchases, default=0)
        number = newest + (newest == 0 or second > 5)
        before = purchases.get(number, bought(job_id, number))
        purchases[number] = structs.replace(before, state=state, at=at, submitted_at=at if second % 2 else None)
        lines.append(purchases[number])
    return lines


def bought(job_id: str, purchase: int) -> Record:
    return Record(
        id=job_id,
        purchase=purchase,
        state=State.SUBMITTED,
        at=NOW,
        api="https://api.example/v1",
        manifest="-",
        model="a/b",
        inputs={"prompt": f"a müg {purchase}"},
        fingerprint="sha256:0",
        file="mug",
        request_id="r",
    )


@settings(max_examples=examples(40), deadline=None)
@given(steps=STEPS, count=st.integers(1, 5))
@example(  # a job that was renamed, and its old id bought anew: the two go to different shards, and come back
    steps=[
        ("mug", None, State.DONE, 1),
        ("mug", "tote", State.DONE, 1),
        ("x", None, State.DONE, 9),
        ("mug", None, State.DONE, 2),
    ],
    count=3,
)
def test_nothing_is_lost_and_nothing_is_added(
    steps: list[tuple[str, str | None, State, int]], count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every purchase as it stands is in the shard of its id, in the order of before; merged, they are all together."""
    root = tmp_path_factory.mktemp("folder")
    write(root, history(steps))
    before = known(root / "results.jsonl")
    split(root, all_of(count))
    assert not (root / "results.jsonl").exists()
    for shard in all_of(count):
        assert known(path_of(root, shard)) == [r for r in before if shard_of(r.id, count) == shard.index]
    assert merge_shards(root, NOW) == count
    after = known(root / "results.jsonl")
    assert by_key(after) == by_key(before)
    assert len(after) == len(before)


def test_a_torn_line_is_cut_before_the_split(tmp_path: Path, record: MakeRecord) -> None:
    """It was never acknowledged; a copy is kept."""
    write(tmp_path, [record("mug")])
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(encode(record("tote"))[:40])
    split(tmp_path, all_of(2))
    assert sum(len(known(path_of(tmp_path, shard))) for shard in all_of(2)) == 1
    assert [path.name for path in (tmp_path / ".runner").iterdir() if ".torn-" in path.name]


def test_damage_is_refused_and_the_folder_stays_whole(tmp_path: Path, record: MakeRecord) -> None:
    """What a damaged line hides would be in no shard at all."""
    write(tmp_path, [record("mug"), record("tote")])
    data = (tmp_path / "results.jsonl").read_bytes()
    (tmp_path / "results.jsonl").write_bytes(b"x" + data)
    with pytest.raises(LedgerCorrupt, match=r"results\.jsonl:1"):
        split(tmp_path, all_of(2))
    assert look(tmp_path).whole


def test_a_merge_of_damage_is_refused_and_the_folder_stays_split(tmp_path: Path, record: MakeRecord) -> None:
    """The same the other way."""
    write(tmp_path, [record(name) for name in ("mug", "tote", "cup", "bag")])
    split(tmp_path, all_of(2))
    path = path_of(tmp_path, all_of(2)[1])
    path.write_bytes(b"x" + path.read_bytes())
    with pytest.raises(LedgerCorrupt, match=r"results\.2-of-2\.jsonl:1"):
        merge_shards(tmp_path, NOW)
    assert look(tmp_path).shards == all_of(2)


def test_what_stands_in_the_way_leaves_the_folder_whole(tmp_path: Path, record: MakeRecord) -> None:
    """A split that cannot be written says so; nothing is half done, and nothing is ever written over."""
    write(tmp_path, [record("mug")])
    path_of(tmp_path, all_of(2)[1]).mkdir()
    with pytest.raises(LedgerError, match=r"cannot be (opened|read|written)"):
        split(tmp_path, all_of(2))
    assert look(tmp_path).whole
    assert known(tmp_path / "results.jsonl")


def test_a_merge_never_writes_over_results(tmp_path: Path, record: MakeRecord) -> None:
    """What another machine has put there meanwhile, and this one does not see yet, stays."""
    write(tmp_path, [record("mug"), record("tote")])
    whole = (tmp_path / "results.jsonl").read_bytes()
    split(tmp_path, all_of(2))
    (tmp_path / "results.jsonl").write_bytes(whole)
    with pytest.raises(LedgerError, match="cannot be merged: File exists"):
        merge(tmp_path, all_of(2))
    assert (tmp_path / "results.jsonl").read_bytes() == whole


def test_many_shards_need_few_open_files(tmp_path: Path, record: MakeRecord) -> None:
    """A thousand are written a few at a time."""
    write(tmp_path, [record(f"job-{number}") for number in range(2000)])
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        split(tmp_path, all_of(150))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert look(tmp_path).shards == all_of(150)


def test_results_of_two_divisions_are_not_guessed_at(tmp_path: Path) -> None:
    """Somebody put them there: which of them is true nobody can tell but they."""
    for name in ("results.1-of-2.jsonl", "results.2-of-2.jsonl", "results.1-of-3.jsonl"):
        (tmp_path / name).touch()
    for held in (acquire(tmp_path, NOW), acquire(tmp_path, NOW, Shard(index=1, of=2)), acquire_all(tmp_path, NOW)):
        with pytest.raises(ConflictError, match="results logs of 2 and of 3 shards"), held:
            pytest.fail("held")


def test_the_making_of_empty_shards_may_be_cut_short(tmp_path: Path) -> None:
    """Where all are empty nothing was bought, and the missing ones are made."""
    (tmp_path / "results.3-of-4.jsonl").touch()
    with acquire(tmp_path, NOW, Shard(index=1, of=4)):
        assert look(tmp_path).shards == look(tmp_path).found == all_of(4)


def test_the_folder_is_free_once_a_shard_is_held(tmp_path: Path) -> None:
    """Shards begin one after the other and then run together; each excludes itself only."""
    one, two = all_of(2)
    with acquire(tmp_path, NOW, one), acquire(tmp_path, NOW, two), run_lock(tmp_path, NOW):
        pass


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("results.1-of-4.jsonl", Shard(index=1, of=4)),
        ("results.jsonl", None),
        ("results.5-of-4.jsonl", None),
        ("results.0-of-4.jsonl", None),
        ("results.01-of-4.jsonl", None),
        ("results.1-of-9999.jsonl", None),
        ("results.1-of-4.jsonl.tmp", None),
        ("Results.1-of-4.jsonl", None),
    ],
)
def test_a_results_manifest_of_a_shard_is_known_by_its_name(name: str, shard: Shard | None) -> None:
    """Any other file is none of ours."""
    assert shard_named(name) == shard


def test_shards_are_read_as_one(tmp_path: Path, record: MakeRecord) -> None:
    """Owed work comes oldest first whatever shard it is in; a job is asked of its own."""
    names = ["mug", "tote", "cup", "bag", "lamp", "vase"]
    write(tmp_path, [record(name, submitted_at=f"2026-11-2{9 - number}") for number, name in enumerate(names)])
    split(tmp_path, all_of(3))
    ledgers = {shard.index: Ledger(Log(path_of(tmp_path, shard), writable=False)) for shard in all_of(3)}
    together = ShardedReader(3, ledgers)
    assert [found.id for found in together.owed("https://api.example/v1")] == names[::-1]
    assert [len(together.history(name)) for name in names] == [1] * 6
    assert together.history("nobody") == []
    for ledger in ledgers.values():
        ledger.close()


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    """Taken for empty, it would be bought anew."""
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    tmp_path.chmod(0o311)
    try:
        with pytest.raises(Exception, match="cannot be read"):
            look(tmp_path)
    finally:
        tmp_path.chmod(0o755)
