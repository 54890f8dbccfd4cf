"""Workers that do not fit, surroundings that do not do: said clearly, before anything is bought."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.local_cluster import Site, wait_for

import runner

IMPATIENT = """
import sys
from runner.cluster import dask_client
from runner.cli.main import main
dask_client.REACH_SECONDS = 1
sys.exit(main())
"""
"""The command line, which gives up a cluster sooner."""


@pytest.fixture
def cluster(site: Site) -> Site:
    site.serve("--workers", "50", "--seconds", "0.05")
    site.schedule()
    return site


def doctored(folder: Path) -> str:
    """A path with this runner under another version."""
    copy = folder / "doctored" / "runner"
    copy.mkdir(parents=True)
    text = f"__version__ = '0.0.1'\n__path__ = [{str(Path(runner.__file__).parent)!r}]\n"
    copy.joinpath("__init__.py").write_text(text)
    return str(copy.parent)


def require_refused(site: Site, manifest: Path, *options: str, says: str) -> None:
    """The run ends with 64, what it ``says``, no traceback, and no submission."""
    run = site.run(manifest, *options)
    code, _ = site.end(run)
    said = site.said(run)
    assert code == 64, said
    assert says in said
    assert "Nothing was bought" in said
    assert "Traceback" not in said
    assert site.submissions == 0
    assert not list(site.output.glob("results*"))


@pytest.mark.slow
def test_a_worker_with_another_runner_is_named_with_both_versions(cluster):
    """One worker fits and one does not: nothing is bought, and the message names the worker and its version."""
    cluster.work()
    cluster.work(PYTHONPATH=doctored(cluster.folder))
    require_refused(cluster, cluster.write(3), says=f"has runner 0.0.1, but this machine has {runner.__version__}")


@pytest.mark.slow
def test_a_worker_without_a_token_is_named(cluster):
    """The token does not travel: a worker needs its own."""
    cluster.work(RUNCOMFY_TOKEN=None)
    require_refused(cluster, cluster.write(3), says="has no API token")


@pytest.mark.slow
def test_a_worker_that_would_ask_another_api_is_named(cluster):
    """Half a batch at the emulator and half at the real service would be a surprise."""
    cluster.work(RUNCOMFY_MODEL_API_BASE="http://127.0.0.1:1/v1")
    require_refused(cluster, cluster.write(3), says="would use another API")


@pytest.mark.slow
def test_what_only_this_process_sees_is_refused(cluster):
    """``/proc/self/cwd`` is another folder for each process: like a path that is mounted on one machine only."""
    elsewhere = cluster.folder / "elsewhere"
    elsewhere.mkdir()
    cluster.work(cwd=elsewhere)
    manifest = cluster.write(3)
    require_refused(cluster, Path("/proc/self/cwd/batch.yaml"), says="does not see the manifest")
    require_refused(cluster, manifest, "--output", "/proc/self/cwd/there", says="does not see the output folder")


@pytest.mark.slow
def test_a_cluster_without_a_worker_is_said(cluster):
    """Nobody waits for workers that may never come."""
    require_refused(cluster, cluster.write(3), says="the cluster has no worker")


def test_a_cluster_that_is_not_there_is_said(site):
    """Exit 69, the address, and nothing bought."""
    site.serve()
    manifest = site.write(3)
    run = site.start("-c", IMPATIENT, "run", str(manifest), "--cluster", "tcp://127.0.0.1:1")
    code, _ = site.end(run)
    assert code == 69
    assert "the cluster at tcp://127.0.0.1:1 cannot be reached" in site.said(run)
    assert "Traceback" not in site.said(run)


@pytest.mark.slow
def test_a_worker_that_comes_later_and_does_not_fit_is_left_out(cluster):
    """Its shard goes to another worker, and the batch is complete."""
    first = cluster.work()
    manifest = cluster.write(120, concurrency=4)
    run = cluster.run(manifest)
    wait_for(lambda: cluster.submissions > 10, run)
    first.send_signal(signal.SIGSTOP)  # it must not end the batch alone while the other worker starts
    cluster.work(PYTHONPATH=doctored(cluster.folder))
    first.kill()
    wait_for(lambda: "is not used" in cluster.said(run), run)
    cluster.work()
    code, summary = cluster.end(run)
    assert code == (2 if summary["unknown"] else 0), cluster.said(run)
    assert summary["total"] == 120
    assert set(cluster.bought().values()) == {1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--limit", "2"], "--limit would apply to each shard"),
        pytest.param(["--shard", "1/2"], "give one of them", marks=pytest.mark.slow),
        pytest.param(["--emulator"], "--emulator serves one process only", marks=pytest.mark.slow),
    ],
)
def test_what_several_processes_cannot_do_is_refused(site, options, words):
    """Exit 64 before any cluster is asked."""
    run = site.run(site.write(3), *options, cluster="tcp://127.0.0.1:1")
    code, _ = site.end(run)
    assert (code, words in site.said(run)) == (64, True), site.said(run)


def test_without_the_extra_it_is_said_what_to_install(site):
    """Exit 64 and the line to type, no traceback."""
    blocker = site.folder / "blocked" / "distributed"
    blocker.mkdir(parents=True)
    blocker.joinpath("__init__.py").write_text("raise ImportError('blocked')\n")
    manifest = site.write(3)
    path = os.pathsep.join([str(blocker.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = site.start("-m", "runner", "run", str(manifest), "--cluster", "local", PYTHONPATH=path)
    code, _ = site.end(run)
    assert code == 64
    assert "pip install 'runcomfy-runner[dask]'" in site.said(run)
    assert "Traceback" not in site.said(run)
