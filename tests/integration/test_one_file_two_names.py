"""Two names of one file: links to folders, links to files, disks that ignore case. A paid picture keeps one of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.harness import Service

import runner
from runner.core.disk import same_file
from runner.core.models import State
from runner.engine.maintenance.verify import check
from runner.files.output_folder import Folder
from runner.ledger import open_reader

pytestmark = pytest.mark.anyio


def link_folder(output: Path) -> None:
    """``mugs`` holds the pictures, and ``cups`` is a link to it, as after `mv cups mugs; ln -s mugs cups`."""
    (output / "cups").rename(output / "mugs")
    (output / "cups").symlink_to("mugs")


def link_new_name(output: Path) -> None:
    """The new name is a link to the old one's file."""
    (output / "mugs").mkdir()
    (output / "mugs/mug.png").symlink_to("../cups/mug.png")


def link_old_name(output: Path) -> None:
    """The old name is a link to the new one's file."""
    (output / "mugs").mkdir()
    (output / "cups/mug.png").rename(output / "mugs/mug.png")
    (output / "cups/mug.png").symlink_to("../mugs/mug.png")


def hard_link(output: Path) -> None:
    """Both names are entries of one file."""
    (output / "mugs").mkdir()
    (output / "mugs/mug.png").hardlink_to(output / "cups/mug.png")


def copy(output: Path) -> None:
    """The same bytes twice."""
    (output / "mugs").mkdir()
    shutil.copyfile(output / "cups/mug.png", output / "mugs/mug.png")


@pytest.mark.parametrize("arrange", [link_folder, link_new_name, link_old_name, hard_link])
@pytest.mark.parametrize("new_id", ["mug", "mug-new"])
async def test_a_renamed_job_keeps_its_picture_where_both_names_are_one_file(
    service: Service, arrange: Callable[[Path], None], new_id: str
) -> None:
    """`file: cups/mug` becomes `file: mugs/mug`: the paid picture is there under the new name, nothing is bought."""
    await service.run(service.manifest({"id": "mug", "prompt": "p", "file": "cups/mug"}))
    picture = (service.output / "cups/mug.png").read_bytes()
    arrange(service.output)
    renamed = service.manifest({"id": new_id, "prompt": "p", "file": "mugs/mug"})
    report = await service.run(renamed)
    assert (report.skipped, report.exit_code, service.submissions) == (1, 0, 1)
    record = service.record(new_id)
    assert (record.state, record.outputs[0].path) == (State.DONE, "mugs/mug.png")
    assert (service.output / "mugs/mug.png").read_bytes() == picture
    assert (await service.run(renamed)).skipped == 1
    assert (service.output / "mugs/mug.png").read_bytes() == picture
    with open_reader(service.output) as ledger:
        assert check(ledger, Folder(service.output)).wrong == ()


async def test_a_second_copy_of_a_renamed_picture_is_removed(service: Service) -> None:
    """Where the two names are two files, only the new one stays."""
    await service.run(service.manifest({"id": "mug", "prompt": "p", "file": "cups/mug"}))
    copy(service.output)
    await service.run(service.manifest({"id": "mug-new", "prompt": "p", "file": "mugs/mug"}))
    assert service.files() == ["mugs/mug.png"]


async def test_a_new_picture_replaces_the_one_at_its_jobs_older_spelling(service: Service) -> None:
    """Prompt and `file:` change together, and the two names are one file: the old picture is set aside, not lost."""
    await service.run(service.manifest({"id": "mug", "prompt": "p", "file": "cups/mug"}))
    old = (service.output / "cups/mug.png").read_bytes()
    link_folder(service.output)
    report = await service.run(service.manifest({"id": "mug", "prompt": "q", "file": "mugs/mug"}))
    assert (report.done, report.exit_code) == (1, 0)
    assert (service.output / ".replaced/mug/1/mug.png").read_bytes() == old
    assert (service.output / "mugs/mug.png").read_bytes() != old


async def test_another_jobs_picture_under_a_second_name_is_called_by_its_own(service: Service) -> None:
    """It is not called a stranger's, which somebody may move away: said before anything is bought."""
    first = {"id": "mug", "prompt": "p", "file": "cups/mug"}
    await service.run(service.manifest(first))
    link_folder(service.output)
    with pytest.raises(
        runner.ConflictError,
        match=r"mugs/mug\.png is in the way of job other and is the file that the results log names cups/mug\.png",
    ) as told:
        await service.run(service.manifest(first, {"id": "other", "prompt": "q", "file": "mugs/mug"}))
    assert "not runner's" not in str(told.value)
    assert service.submissions == 1


@pytest.fixture
def caseless(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that ignores case: the temporary one on macOS, else what ``RUNNER_CASELESS`` names.

    ``.ci/run`` mounts one on Linux, as root: exFAT in an image.
    """
    folder = Path(os.environ.get("RUNNER_CASELESS", tmp_path)) / uuid4().hex
    folder.mkdir()
    try:
        (folder / "a").touch()
        if not (folder / "A").exists():
            pytest.skip("no disk here ignores case; RUNNER_CASELESS may name a folder on one")
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(("old", "new"), [("Mug", "mug"), ("Cups/mug", "cups/mug"), ("Cups/Mug", "cups/mug")])
@pytest.mark.parametrize("new_id", ["hero", "hero-2"])
async def test_a_disk_that_ignores_case_loses_no_renamed_picture(
    service: Service, caseless: Path, old: str, new: str, new_id: str
) -> None:
    """`Mug` becomes `mug`: the paid picture can be opened under the new name, nothing is bought."""
    service.folder = caseless
    await service.run(service.manifest({"id": "hero", "prompt": "p", "file": old}))
    picture = (service.output / f"{old}.png").read_bytes()
    renamed = service.manifest({"id": new_id, "prompt": "p", "file": new})
    for _ in range(2):
        report = await service.run(renamed)
        assert (report.skipped, report.exit_code, service.submissions) == (1, 0, 1)
        assert (service.output / f"{new}.png").read_bytes() == picture
    with open_reader(service.output) as ledger:
        assert check(ledger, Folder(service.output)).wrong == ()


def test_links_and_spellings_lead_to_one_file_and_equal_bytes_do_not(tmp_path: Path, caseless: Path) -> None:
    """What decides whether a file may be set aside for another."""
    one, copied, link = (tmp_path / name for name in ("one", "copied", "link"))
    one.write_bytes(b"x")
    copied.write_bytes(b"x")
    link.symlink_to(one)
    assert same_file(one, link)
    assert not same_file(one, copied)
    assert not same_file(one, tmp_path / "nothing")
    (caseless / "Mug").write_bytes(b"x")
    assert same_file(caseless / "Mug", caseless / "mUG")
