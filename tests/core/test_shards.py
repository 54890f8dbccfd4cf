"""Which shard a job belongs to, and how a shard is named."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import UsageError
from runner.core.shards import MOST_SHARDS, Shard, find_shard, shard_of


@pytest.mark.parametrize(
    ("job_id", "count", "shard"),
    [
        ("mug-hero", 1, 1),
        ("mug-hero", 4, 3),
        ("mug-hero", 1000, 935),
        ("tote", 4, 3),
        ("mügsli ☕", 7, 5),
        ("\ud800", 9, 7),
        ("", 5, 3),
    ],
)
def test_a_job_belongs_to_the_same_shard_for_ever(job_id: str, count: int, shard: int) -> None:
    """Results manifests on people's disks are cut by this: a change would make all of them look unbought."""
    assert shard_of(job_id, count) == shard


@given(st.text(), st.integers(1, MOST_SHARDS))
def test_every_job_belongs_to_exactly_one(job_id: str, count: int) -> None:
    """Nothing is bought by two shards, and nothing by none."""
    owners = [shard for shard in Shard(index=1, of=count).all if shard.owns(job_id)]
    assert [owner.index for owner in owners] == [shard_of(job_id, count)]


def test_shards_are_about_equal() -> None:
    """Ids that differ in a number only are spread all the same."""
    counts = Counter(shard_of(f"job-{number:05}", 8) for number in range(8000))
    assert sorted(counts) == list(range(1, 9))
    assert 900 < min(counts.values()) < max(counts.values()) < 1100


@pytest.mark.parametrize(("index", "of"), [(0, 4), (5, 4), (1, 0), (-1, 4), (1, MOST_SHARDS + 1)])
def test_a_shard_that_cannot_be_is_refused(index: int, of: int) -> None:
    """In the library as on the command line."""
    with pytest.raises(UsageError, match=f"no shard {index}/{of}: write 1/4 to 4/4"):
        Shard(index=index, of=of)


@pytest.mark.parametrize("text", ["", "2", "2/", "/4", "2 / 4", "2of4", "-1/4", "1.0/4", "a/b", "1/4/4", "١/٤"])
def test_what_names_no_shard_is_refused_with_an_example(text: str) -> None:
    """The message says how it is written."""
    with pytest.raises(UsageError, match="is neither a shard such as 2/4"):
        find_shard(text, {})


def test_a_shard_is_written_as_a_part() -> None:
    """What is typed is what is said."""
    assert str(find_shard("2/4", {})) == "2/4"
    assert find_shard("2/4", {"SLURM_ARRAY_TASK_ID": "9"}).name == "2-of-4"


def slurm(task: object, first: object, last: object, count: object) -> dict[str, str]:
    names = ("ID", "MIN", "MAX", "COUNT")
    values = (task, first, last, count)
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in zip(names, values, strict=True)}


@given(st.integers(0, 5000), st.integers(1, MOST_SHARDS), st.data())
def test_a_slurm_array_may_begin_anywhere(first: int, count: int, data: st.DataObject) -> None:
    """--array=0-3, 1-4 and 100-103 are all four shards."""
    index = data.draw(st.integers(1, count))
    found = find_shard("auto", slurm(first + index - 1, first, first + count - 1, count))
    assert found == Shard(index=index, of=count)


@pytest.mark.parametrize("around", [slurm(4, 0, 6, 4), slurm(1, 1, 9, 3), slurm(9, 1, 4, 4), slurm(1, 4, 1, 4)])
def test_a_slurm_array_with_a_step_or_a_gap_is_refused(around: dict[str, str]) -> None:
    """Some shards would never run: it says how to submit the array."""
    with pytest.raises(UsageError, match=r"without steps or gaps: .* --array=1-\d"):
        find_shard("auto", around)


def test_a_kubernetes_job_counts_from_zero() -> None:
    """The index is the pod's, the count what the user passes on."""
    assert find_shard("auto", {"JOB_COMPLETION_INDEX": "0", "RUNNER_SHARDS": "3"}) == Shard(index=1, of=3)
    assert find_shard("auto", {"JOB_COMPLETION_INDEX": "2", "RUNNER_SHARDS": "3"}) == Shard(index=3, of=3)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "neither a Slurm array .* nor a Kubernetes Indexed Job"),
        ({"JOB_COMPLETION_INDEX": "1"}, "set RUNNER_SHARDS in the pod to the `completions` of the Job"),
        ({"JOB_COMPLETION_INDEX": "3", "RUNNER_SHARDS": "3"}, "more shards than RUNNER_SHARDS=3"),
        ({"JOB_COMPLETION_INDEX": "x", "RUNNER_SHARDS": "3"}, "JOB_COMPLETION_INDEX is 'x' and should be a number"),
        ({"JOB_COMPLETION_INDEX": "0", "RUNNER_SHARDS": ""}, "RUNNER_SHARDS is '' and should be a number"),
        ({"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_MIN is '' and should be a number"),
        (slurm(1, 1, 2000, 2000), f"at most {MOST_SHARDS} shards"),
    ],
)
def test_surroundings_that_do_not_say_enough_are_named(environ: dict[str, str], words: str) -> None:
    """A shard is never guessed: two processes with the same one would be told, but one left out would not."""
    with pytest.raises(UsageError, match=words):
        find_shard("auto", environ)
