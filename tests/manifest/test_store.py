"""Where checked jobs wait until their turn comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from runner.core.models import Job
from runner.manifest.jobs.store import JobStore, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def spool() -> Iterator[JobStore]:
    spool = JobStore()
    yield spool
    spool.close()


def job(name: str) -> Job:
    return Job(id=name, model="a/b", inputs={"prompt": name}, file=name, fingerprint="f")


def test_a_job_is_found_as_soon_as_it_is_added_and_under_no_other_id(spool: JobStore) -> None:
    """Whoever looks for an id while jobs still come sees those that have come, letter for letter."""
    for name in ("Mug", "cup"):
        spool.claims.ids.setdefault(key_of(name), spool.add(job(name)))
        assert name in spool
    assert "mug" not in spool


def test_ids_are_read_without_their_jobs_whatever_stands_in_them(spool: JobStore) -> None:
    """An id is what the manifest says, quotes, backslashes and all, and not what an input is called."""
    names = ["mug", 'the "old" mug', "a\\b", "Tasse-ä", "z" * 300_000]
    for name in names:
        spool.add(msgspec.structs.replace(job(name), inputs={"id": "another"}))
    assert list(spool.ids()) == names


def test_only_flagged_jobs_are_read_and_each_keeps_its_place(spool: JobStore) -> None:
    """A pass over what is left of a batch stops where its flags end, though the manifest goes on."""
    jobs = [job(name) for name in "abcde"]
    for one in jobs:
        spool.add(one)
    assert list(spool.flagged(bytearray([0, 1, 0, 1]))) == [None, jobs[1], None, jobs[3]]
    assert list(spool.flagged(bytearray())) == []


def test_a_job_keeps_its_keys_of_the_matrix(spool: JobStore) -> None:
    """For those who show what tells the jobs of a row apart; other readers see the job as it was."""
    spool.add(job("mug"), keys={"view": "front", "copies": 2})
    spool.add(job("cup"))
    assert [one.keys for one in spool.stored()] == [{"view": "front", "copies": 2}, {}]
    assert list(spool) == [job("mug"), job("cup")]
