"""What a run on a cluster says of itself while it goes on, and what it asks of workers: values, no processes."""

from __future__ import annotations

import pickle
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.harness import plain

import runner
from runner.cluster.messages import ShardUpdate, decode, digest_of, encode, without_prompts
from runner.cluster.progress import ClusterProgress, jobs_by_shard
from runner.core.models import Record, State
from runner.core.shards import Shard, shard_of
from runner.engine.config import RunConfig
from runner.engine.options import RunOptions
from runner.engine.summary import COUNTS, Report, Stopped, combine

JOBS = {1: 5, 2: 0, 3: 7}
TOTAL = sum(JOBS.values())
WANTED = {"runner": "1", "mark": "m", "manifest": "f", "token": "yes", "api": "a"}


def counts(shard: int) -> st.SearchStrategy[dict[str, int]]:
    """Any way the jobs of a shard may stand."""
    places = st.lists(st.sampled_from(COUNTS), min_size=JOBS[shard], max_size=JOBS[shard])
    return places.map(lambda found: {name: found.count(name) for name in COUNTS})


@st.composite
def happenings(draw: st.DrawFn) -> tuple[int, str, dict[str, int] | None, bool]:
    shard = draw(st.sampled_from(list(JOBS)))
    worker = draw(st.sampled_from(["tcp://one", "tcp://two", "tcp://three"]))
    return shard, worker, draw(st.none() | counts(shard)), draw(st.booleans())


@given(st.lists(happenings(), max_size=30))
def test_the_counts_add_up_to_the_batch_at_any_time(steps) -> None:
    """Whichever shards have begun, moved, ended or could not be run: each job stands under exactly one count."""
    board = ClusterProgress(JOBS)
    ended = set()
    for shard, worker, stand, ends in steps:
        if not ends:
            board.hear(ShardUpdate(shard=shard, worker=worker, counts=stand or dict.fromkeys(COUNTS, 0), cost_usd=0.5))
        elif shard not in ended:
            ended.add(shard)
            report = board.end(Shard(index=shard, of=3), Report(**stand) if stand else None)
            assert report.total == JOBS[shard]
        standing = board.status()
        assert sum(standing.counts.values()) == TOTAL
        assert min(standing.counts.values()) >= 0


def test_what_a_dead_worker_did_is_counted_as_done_in_this_run() -> None:
    """For its successor it was done before; for the person it was this run, and so is what it cost."""
    said: list[str] = []
    board = ClusterProgress({1: 5}, say=said.append)
    board.hear(ShardUpdate(shard=1, worker="tcp://one", counts={"done": 3, "left": 2}, cost_usd=0.3))
    board.hear(ShardUpdate(shard=1, worker="tcp://two", counts={}, cost_usd=0.0))
    assert board.status().counts == {"done": 3, "skipped": 0, "left": 2}
    report = board.end(Shard(index=1, of=1), Report(skipped=4, done=1, cost_usd=0.1))
    assert (report.done, report.skipped, report.cost_usd) == (4, 1, pytest.approx(0.4))
    assert said == ["shard 1 continues on tcp://two; tcp://one is gone"]


def test_news_that_comes_after_the_end_changes_nothing() -> None:
    """The last news of a shard may be slower than its report."""
    board = ClusterProgress({1: 2})
    board.end(Shard(index=1, of=1), Report(done=2))
    board.hear(ShardUpdate(shard=1, worker="tcp://one", counts={"left": 2}))
    assert board.status().counts["done"] == 2


def test_reports_together_sum_and_keep_the_most_serious_reason() -> None:
    """Two runs of a part each are one batch; a token that is refused outweighs work that is left."""
    refused = Stopped(reason="the API refuses the token", exit_code=77)
    parts = [
        Report(done=2, cost_usd=0.1, stopped=Stopped(reason="interrupted", exit_code=75), notes=("same",)),
        Report(left=3, stopped=refused, notes=("same",)),
    ]
    whole = combine(parts)
    assert (whole.total, whole.cost_usd, whole.stopped, whole.notes) == (5, 0.1, refused, ("same",))
    assert whole.exit_code == 77
    assert combine([]).exit_code == 0


def test_the_digest_sees_a_changed_job_another_order_and_another_file(tmp_path) -> None:
    """What was checked is what workers run: anything else is noticed."""

    def digest(*jobs: dict[str, Any]) -> str:
        path = tmp_path / "batch.yaml"
        path.write_text(str({"model": "blackforestlabs/flux-2-klein/4b/text-to-image", "jobs": list(jobs)}))
        with closing(runner.load(path).jobs) as spool:
            return digest_of(spool)

    one, two = plain(2)
    same = digest(one, two)
    assert digest(one, two) == same
    different = [(two, one), (one,), (one, {**two, "prompt": "other"}), (one, {**two, "file": "other"})]
    assert len({same, *(digest(*jobs) for jobs in different)}) == 5


def test_every_fault_of_a_worker_is_named_and_of_another_runner_only_that() -> None:
    """One look says all that is to be put right; with another runner nothing else that is asked means anything."""
    from runner.cluster.preflight import _faults  # Dask, which takes long to import

    assert _faults(WANTED, WANTED) == []
    assert len(_faults({**WANTED, "mark": "x", "manifest": "x", "token": "no", "api": "b"}, WANTED)) == 4
    assert _faults({**WANTED, "runner": "0", "mark": "x"}, WANTED) == ["has runner 0, but this machine has 1"]
    assert _faults({"runner": "none that can be imported"}, WANTED) != []
    assert _faults(OSError("gone"), WANTED) == ["does not answer (OSError: gone)"]


def test_no_prompt_and_no_address_of_a_picture_travels() -> None:
    """News are for a display and a log; what a batch is about stays in its folder."""
    named = {"id": "a", "purchase": 1, "state": State.DONE, "at": "2026", "api": "x", "model": "m", "manifest": "b"}
    record = Record(**named, file="a", fingerprint="f", inputs={"prompt": "secret"})
    sent = encode(ShardUpdate(shard=1, worker="w", records=[without_prompts(record)]))
    assert b"secret" not in sent
    assert decode(sent).records[0].id == "a"


def test_options_travel_whole() -> None:
    """What a worker runs is what was asked for."""
    options = RunOptions(concurrency=4, only="mug-*", shard=Shard(index=2, of=8), share=Shard(index=1, of=2))
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "batch.yaml"
    model = "blackforestlabs/flux-2-klein/4b/text-to-image"
    path.write_text(str({"model": model, "concurrency": 6, "rate": "120/min", "jobs": plain(3)}))
    loaded = runner.load(path)
    yield loaded
    loaded.jobs.close()


def test_no_more_shards_run_at_a_time_than_there_are_lanes_or_room(manifest, tmp_path) -> None:
    """A slot needs a task's room and a lane; shards are more than slots, or those that the folder has."""
    from runner.cluster.coordinator import divide, slots_of  # Dask, which takes long to import

    plain, auto = (RunConfig.resolve(manifest, RunOptions(concurrency=number), {}) for number in (None, "auto"))
    assert slots_of(plain, 100) == 6
    assert slots_of(plain, 2) == 2
    assert slots_of(auto, 100) == 100
    assert len(divide(tmp_path, 6)) > 6
    assert sum(jobs_by_shard("abc", 4).values()) == 3
    assert jobs_by_shard("a", 4) == {shard_of("a", 4): 1}


def test_a_shard_that_takes_over_a_share_of_the_rate_waits_for_its_turn(manifest) -> None:
    """The shard before it may have submitted just now. Without a shared rate nobody waits."""
    shard, share = Shard(index=5, of=8), Shard(index=1, of=2)
    options = (RunOptions(shard=shard, share=share), RunOptions(shard=shard, concurrency=8), RunOptions())
    delays = [RunConfig.resolve(manifest, option, {}).first_delay_seconds for option in options]
    assert delays == [1.0, 0.0, 0.0]
