"""Which jobs a command is about, and those of them that a second pass is about."""

from __future__ import annotations

from itertools import compress, count
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.models import Job
from runner.core.shards import Shard
from runner.manifest import JobStore
from runner.planning.selection import JobFilter, JobNames, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [f"{kind}-{number}" for number in range(4) for kind in ("mug", "cup", "pot")]


@pytest.fixture(scope="module")
def spool() -> Iterator[JobStore]:
    spool = JobStore()
    for name in NAMES:
        spool.add(Job(id=name, model="a/b", inputs={}, file=name, fingerprint="f"))
    yield spool
    spool.close()


def as_bought(job: Job) -> Job:
    return msgspec.structs.replace(job, checked=True)


def ids(jobs: Iterator[Job]) -> list[str]:
    return [job.id for job in jobs if job.checked]


def test_the_limit_counts_the_jobs_that_match_in_this_shard(spool: JobStore) -> None:
    """``--limit 2 --only 'cup-*'`` is the first two cups; of a shard, its first two cups."""
    shard = Shard(index=1, of=2)
    cups = [name for name in NAMES if name.startswith("cup")]
    chosen = Selection(spool, JobFilter(names=JobNames(patterns=("cup-*",)), limit=2), as_bought)
    assert ids(chosen.selected()) == cups[:2]
    assert ids(chosen.every()) == NAMES
    chosen = Selection(spool, JobFilter(names=JobNames(patterns=("cup-*",)), limit=2, shard=shard), as_bought)
    assert ids(chosen.selected()) == list(filter(shard.owns, cups))[:2]
    assert ids(chosen.every()) == list(filter(shard.owns, NAMES))


selections = st.builds(
    JobFilter,
    shard=st.sampled_from([None, Shard(index=2, of=3)]),
    names=st.none()
    | st.builds(
        JobNames,
        patterns=st.sampled_from([(), ("*",), ("mug-*", "cup-1"), ("no-such-job",)]),
        ids=st.sampled_from([frozenset[str](), frozenset({"mug-2", "cup-2"})]),
    ),
    limit=st.none() | st.integers(0, len(NAMES) + 1),
)


@given(selection=selections, wanted=st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES)))
def test_a_pass_over_what_is_unsettled_meets_the_same_jobs_in_their_places(
    spool: JobStore, selection: JobFilter, wanted: list[bool]
) -> None:
    """Whatever is selected: the flags of the first pass fit the jobs of the second, and none is left out."""
    chosen = Selection(spool, selection, as_bought)
    selected = list(chosen.selected())
    flags = bytearray(wanted[: len(selected)])
    found = list(chosen.unsettled(flags))
    places = [place for place, job in enumerate(found) if job is not None]
    assert places == list(compress(count(), flags))
    assert [job for job in found if job is not None] == list(compress(selected, flags))
    assert len(found) == len(selected)
