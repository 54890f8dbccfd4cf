"""How a run on a cluster ends: by itself, at a word, or with what it needs gone."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter

import pytest
from support.local_cluster import Site, wait_for

from runner.core.shards import Shard


@pytest.fixture
def cluster(site: Site, shared: Site) -> Site:
    """The module's two workers, and a service of the test's own at which a request takes a while."""
    site.serve("--workers", "100", "--seconds", "0.3")
    site.address, site.options = shared.address, ("--api", site.base)
    return site


def require_complete(site: Site, jobs: int, summary: dict[str, object]) -> None:
    assert summary["total"] == jobs
    assert set(site.bought().values()) == {1}
    assert site.submissions + int(str(summary["unknown"])) >= jobs
    assert len(list(site.output.glob("job-*.png"))) == jobs - int(str(summary["unknown"]))
    assert not list(site.output.glob("results.*-of-*"))


@pytest.mark.slow
def test_the_same_command_picks_up_what_a_killed_one_left(cluster):
    """The program is killed; shards that workers still run are waited for, and the bounds hold over both."""
    manifest = cluster.write(120, concurrency=8)
    first = cluster.run(manifest)
    wait_for(lambda: cluster.submissions > 20, first)
    first.kill()
    first.wait()
    again = cluster.run(manifest)
    code, summary = cluster.end(again)
    assert code == 0, cluster.said(again)
    require_complete(cluster, 120, summary)
    assert cluster.asked("stats")["peak_in_flight"] <= 8


@pytest.mark.soak
def test_a_run_that_nobody_watches_any_more_ends_gently(cluster):
    """The program is killed in the middle of long shards: they buy no more, bring home what is in flight, and stop."""
    manifest = cluster.write(4000, concurrency=8)
    first = cluster.run(manifest)
    wait_for(lambda: cluster.submissions > 20, first)
    first.kill()
    held = [cluster.output / ".runner" / shard.name / "holder.json" for shard in Shard(index=1, of=8).all]
    wait_for(lambda: not any(path.exists() for path in held))
    bought = cluster.submissions
    assert bought < 4000
    assert Counter(record.state.value for record in cluster.records()) == {"done": bought}


@pytest.mark.slow
def test_a_signal_ends_all_shards_gently(cluster):
    """Ctrl-C: nothing more is bought anywhere, what is in flight comes home, exit 75; the same command goes on."""
    manifest = cluster.write(150, concurrency=8)
    first = cluster.run(manifest)
    wait_for(lambda: cluster.submissions > 20, first)
    first.send_signal(signal.SIGINT)
    code, summary = cluster.end(first)
    assert code == 75, cluster.said(first)
    assert (summary["done"], summary["owed"], summary["unknown"]) == (cluster.submissions, 0, 0)
    assert summary["done"] + summary["left"] == 150
    code, summary = cluster.end(cluster.run(manifest))
    assert code == 0
    require_complete(cluster, 150, summary)


@pytest.mark.soak
def test_a_second_signal_ends_at_once(site):
    """Nobody waits for anything, and nothing is lost: the same command brings home what the workers left."""
    site.serve("--workers", "100", "--seconds", "4")
    site.schedule()
    site.work()
    manifest = site.write(8, concurrency=8)
    first = site.run(manifest)
    wait_for(lambda: site.submissions >= 1, first)
    first.send_signal(signal.SIGINT)
    wait_for(lambda: "again to stop at once" in site.said(first), first)
    first.send_signal(signal.SIGINT)
    assert first.wait(10) == 75
    code, summary = site.end(site.run(manifest))
    assert code == 0
    require_complete(site, 8, summary)


@pytest.mark.soak
def test_a_scheduler_that_dies_loses_nothing(site):
    """Exit 75 with the reason; on a new cluster the same command goes on."""
    site.serve("--workers", "100", "--seconds", "0.3")
    scheduler = site.schedule()
    site.work()
    manifest = site.write(60, concurrency=4)
    first = site.run(manifest)
    wait_for(lambda: site.submissions > 10, first)
    scheduler.kill()
    scheduler.wait()
    (site.folder / "scheduler.json").unlink()
    code, summary = site.end(first)
    assert code == 75, site.said(first)
    assert summary["total"] == 60
    assert "Traceback" not in site.said(first)
    site.schedule()
    site.work()
    code, summary = site.end(site.run(manifest))
    assert code == (2 if summary["unknown"] else 0)
    require_complete(site, 60, summary)


@pytest.mark.slow
def test_local_needs_no_cluster(site):
    """``--cluster local`` starts workers of its own; the folder is as after any run, and a plain run goes on."""
    site.serve("--workers", "50", "--seconds", "0.05")
    manifest = site.write(40)
    run = site.run(manifest, cluster="local")
    code, summary = site.end(run)
    assert code == 0, site.said(run)
    require_complete(site, 40, summary)
    code, summary = site.end(site.start("-m", "runner", "run", str(manifest), "--json"))
    assert (code, summary["skipped"], site.submissions) == (0, 40, 40)


@pytest.mark.slow
def test_a_terminals_interrupt_reaches_local_workers_too_and_is_gentle(site):
    """Ctrl-C goes to every process of the terminal: what is in flight comes home all the same."""
    site.serve("--workers", "50", "--seconds", "0.5")
    manifest = site.write(100)
    run = site.run(manifest, cluster="local")
    wait_for(lambda: site.submissions > 8, run)
    os.killpg(run.pid, signal.SIGINT)
    code, summary = site.end(run)
    assert code == 75, site.said(run)
    assert (summary["done"], summary["owed"], summary["unknown"]) == (site.submissions, 0, 0)
    assert "Traceback" not in site.said(run)


@pytest.mark.slow
def test_the_budget_holds_over_all_workers(cluster):
    """Money for some of the jobs: as much is bought as each shard's part allows, never more than the whole."""
    budget = 40 * 0.009
    manifest = cluster.write(60, concurrency=8, budget=budget)
    code, summary = cluster.end(cluster.run(manifest))
    assert code == 75
    assert summary["spent_usd"] <= budget
    assert cluster.asked("stats")["charged_usd"] <= budget
    assert cluster.submissions > 0


@pytest.mark.slow
def test_the_rate_holds_over_all_workers_and_from_shard_to_shard(cluster):
    """Two at a time with half the rate each, and eight shards one after another: never more in a second."""
    manifest = cluster.write(40, concurrency=8, rate="8/s")
    code, _ = cluster.end(cluster.run(manifest))
    assert code == 0
    times = sorted(request["created"] for request in cluster.asked("requests"))
    most = 8 + 2  # one more for each worker: what was sent evenly may arrive a little late
    assert all(later - earlier >= 1 for earlier, later in zip(times, times[most:], strict=False))


@pytest.mark.slow
def test_a_halt_in_one_shard_ends_them_all(site):
    """What fails too often in one shard stops buying everywhere: exit 1, and the rest is left."""
    site.serve("--workers", "100", "--seconds", "0.1", "--fault", "job fail")
    site.schedule()
    site.work()
    code, summary = site.end(site.run(site.write(400, concurrency=4, halt=3)))
    assert code == 1
    assert summary["left"] > 300
    assert summary["failed"] + summary["left"] == 400


@pytest.mark.slow
def test_the_end_is_told_once_for_the_whole(cluster):
    """``--on-finish`` hears of the whole batch once, and ``--quiet`` says nothing where all is done."""
    told = cluster.folder / "told"
    run = cluster.run(cluster.write(20), "--quiet", "--on-finish", f"cat >> {told}")
    code, summary = cluster.end(run)
    assert code == 0
    assert json.loads(told.read_text()) == {**summary, "exit_code": 0}
    assert cluster.said(run).strip() == json.dumps(summary)
