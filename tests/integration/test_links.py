"""Links and odd files planted in an output folder, rights, and what is left behind: nothing gets out of the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.harness import Service

from runner.core.errors import LedgerError, OutputError, UsageError
from runner.emulator import InjectedFault
from runner.ledger import Log
from runner.ledger.repair import repair
from runner.report.page import check_target

pytestmark = pytest.mark.anyio
THEIRS = b"somebody's own text, without a newline at its end"


@pytest.fixture
def theirs(service: Service) -> Path:
    """A file of somebody's outside the output folder."""
    (service.output / ".runner").mkdir(parents=True)
    path = service.folder / "theirs"
    path.write_bytes(THEIRS)
    return path


def untouched(path: Path) -> bool:
    return path.read_bytes() == THEIRS


@pytest.mark.parametrize("name", ["results.jsonl", ".runner/lock"])
async def test_a_link_in_place_of_our_own_files_is_refused(service: Service, theirs: Path, name: str) -> None:
    """Nothing is appended to what it leads to, cut off it or emptied; nothing is bought."""
    (service.output / name).symlink_to(theirs)
    with pytest.raises((LedgerError, OutputError), match="link"):
        await service.run()
    assert untouched(theirs)
    assert service.submissions == 0


@pytest.mark.parametrize("name", ["holder.json", "results.jsonl.tmp", "incoming/x"])
async def test_a_link_under_a_temporary_name_is_replaced_and_not_followed(
    service: Service, theirs: Path, name: str
) -> None:
    """The run goes on, and what the link leads to stays as it is."""
    planted = service.output / ".runner" / name
    planted.parent.mkdir(exist_ok=True)
    planted.symlink_to(theirs)
    assert (await service.run()).done == 1
    assert untouched(theirs)


async def test_a_folder_of_ours_that_leads_outside_is_refused_before_anything_is_written(service: Service) -> None:
    """Neither the lock nor a temporary file lands there."""
    outside = service.folder / "outside"
    outside.mkdir()
    service.output.mkdir()
    (service.output / ".runner").symlink_to(outside)
    with pytest.raises(OutputError, match=r"\.runner leaves the output folder by a link"):
        await service.run()
    assert list(outside.iterdir()) == []
    assert service.submissions == 0


def test_what_is_no_plain_file_is_no_results_manifest(tmp_path: Path) -> None:
    """A pipe would keep a run waiting for ever, and one under the report's name the report."""
    (tmp_path / ".runner").mkdir()
    os.mkfifo(tmp_path / "results.jsonl")
    with pytest.raises(LedgerError, match="not a plain file"):
        Log(tmp_path / "results.jsonl", writable=True)
    os.mkfifo(tmp_path / "report.html")
    with pytest.raises(UsageError, match=r"report\.html is no report"):
        check_target(tmp_path / "report.html")


def test_damage_is_set_aside_with_the_rights_of_the_log_and_through_no_link(tmp_path: Path) -> None:
    """Half a line may hold a prompt: who made the log private finds the copies private, too."""
    path, theirs = tmp_path / "results.jsonl", tmp_path / "theirs"
    theirs.write_bytes(THEIRS)
    (tmp_path / ".runner").mkdir()
    (tmp_path / ".runner/results.jsonl.damaged-1.tmp").symlink_to(theirs)
    path.write_bytes(b'{"id":"mug","inputs":{"prompt":"a secret')
    path.chmod(0o600)
    Log(path, writable=True).close()
    path.write_bytes(b"damage\n")
    repair(path, at="now", api="api")
    copies = sorted((tmp_path / ".runner").glob("results.jsonl.*"))
    assert [copy.name.split(".")[2][:4] for copy in copies] == ["dama", "torn"]
    assert {copy.stat().st_mode & 0o777 for copy in [path, *copies]} == {0o600}
    assert theirs.read_bytes() == THEIRS


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
async def test_the_umask_is_obeyed_by_all_that_is_written(service: Service) -> None:
    """Who keeps others out by the umask keeps them out of prompts and pictures."""
    assert (await service.run(jobs=2)).done == 2
    made = [path for path in service.output.rglob("*") if path.name != "lock"]  # empty; its library gives it rights
    assert len(made) > 3
    assert [path for path in made if path.stat().st_mode & 0o027] == []


async def test_what_a_killed_run_left_is_gone_after_the_next(service: Service) -> None:
    """Half downloads, half copies, a half rewritten log."""
    assert (await service.run()).done == 1
    for name in ("incoming/0123", "results.jsonl.tmp"):
        (service.output / ".runner" / name).write_bytes(b"half")
    assert (await service.run(service.manifest({"id": "a", "prompt": "another picture"}))).done == 1
    left = [path.name for path in (service.output / ".runner").rglob("*") if path.is_file()]
    assert set(left) - {"lock"} == {"results.jsonl.last"}


async def test_a_delivery_that_fails_leaves_no_temporary_file(service: Service) -> None:
    """Cut short, broken, or not there: what came of it is taken away at once."""
    service.fault(InjectedFault(on="file", kind="truncate"))
    assert (await service.run(jobs=3)).owed == 3
    assert list((service.output / ".runner/incoming").iterdir()) == []
