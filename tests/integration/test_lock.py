"""A run whose lock file is removed: nobody else gets in, it buys nothing more, and what it bought comes home."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.harness import Service, plain

import runner
from runner.core.shards import Shard
from runner.ledger import log_lock

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("shard", [None, Shard(index=1, of=1)])
async def test_a_removed_lock_file_lets_no_second_run_in_and_ends_the_buying(
    service: Service, shard: Shard | None, *, replaced: bool
) -> None:
    """The second run is refused, the first fetches what is in flight, and the next one buys the rest: nothing twice."""
    manifest = service.manifest(*plain(12))
    folder = service.output / ".runner"
    lock = (folder / shard.name if shard else folder) / "lock"

    async def interfere() -> None:
        await anyio.sleep(0.5)
        lock.unlink()
        if replaced:
            lock.touch()
        with pytest.raises(runner.Locked, match="is in use by process"):
            await service.run(manifest, shard=shard)

    async with anyio.create_task_group() as group:
        group.start_soon(interfere)
        report = await service.run(manifest, shard=shard)
    assert (report.done, report.left, report.exit_code) == (4, 8, 75)
    assert report.stopped is not None
    assert f"{lock} was removed or replaced during the run" in report.stopped.reason
    assert service.submissions == 4
    report = await service.run(manifest, shard=shard)
    assert (report.done, report.skipped, report.exit_code) == (8, 4, 0)
    assert service.submissions == 12


async def test_a_folder_of_ours_that_is_removed_ends_the_buying_too(service: Service, tmp_path: Path) -> None:
    """`.runner` moved away with all that is in it: nothing is bought twice."""

    async def interfere() -> None:
        await anyio.sleep(0.5)
        (service.output / ".runner").rename(tmp_path / "away")

    manifest = service.manifest(*plain(12))
    async with anyio.create_task_group() as group:
        group.start_soon(interfere)
        await service.run(manifest)
    assert service.submissions == 4
    assert (await service.run(manifest)).done + 4 >= 12
    assert service.submissions == 12


@pytest.mark.skipif(sys.platform != "linux", reason="tells which file is locked by /proc")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
async def test_a_file_system_that_refuses_locks_is_told_before_anything_is_bought(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Without a lock at all nothing is bought (73); with that of the lock file alone a run goes on, and says so."""
    real = log_lock.fcntl.flock
    refused = [".lock", "/lock", ".jsonl", ".tmp"]

    def flock(handle: int, *rest: Any) -> None:
        if str(Path(f"/proc/self/fd/{handle}").readlink()).endswith(tuple(refused)):
            raise OSError(number, os.strerror(number))
        real(handle, *rest)

    monkeypatch.setattr(log_lock.fcntl, "flock", flock)
    with pytest.raises(runner.OutputError, match="its file system has no locks") as told:
        await service.run(service.manifest(*plain(2)))
    assert (told.value.exit_code, service.submissions) == (73, 0)
    refused.remove("/lock")
    report = await service.run(service.manifest(*plain(2)))
    assert (report.done, report.exit_code) == (2, 0)
    assert caplog.text.count("the file system refuses to lock it") == 1
