"""A manifest whose file gets another name: its purchases are found before anything is bought again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.harness import KLEIN, Service

import runner
from runner.core.models import EMULATOR
from runner.core.shards import Shard
from runner.engine.config import RunConfig
from runner.engine.forecast import make_forecast
from runner.engine.options import RunOptions
from runner.ledger.records import decode, encode
from runner.manifest.jobs.fingerprint import fingerprint

pytestmark = pytest.mark.anyio
JOBS = [{"id": f"shoe-{n}", "prompt": f"a shoe, {n}"} for n in range(3)]


def write(service: Service, file: str, jobs: list[dict[str, str]] = JOBS, /, **settings: Any) -> runner.Manifest:
    """A manifest without `output:`; its results go to `output/` and its name."""
    path = service.folder / file
    path.parent.mkdir(exist_ok=True)
    document = {"model": KLEIN, "defaults": {"width": 64, "height": 64}, **settings, "jobs": jobs}
    path.write_bytes(msgspec.json.encode(document))
    return runner.load(path)


def rename(service: Service, old: str, new: str, /, **settings: Any) -> runner.Manifest:
    (service.folder / old).unlink()
    return write(service, new, **settings)


@pytest.mark.parametrize("folder", ["", "jobs/"])
async def test_a_renamed_manifest_buys_nothing_again(service: Service, folder: str) -> None:
    """`mv shoes.yaml shoes-v2.yaml`: 65, with the folder, the old file and both ways on; `plan` says the same."""
    if folder:
        (service.folder / "output").mkdir()
    await service.run(write(service, f"{folder}shoes.yaml"))
    renamed = rename(service, f"{folder}shoes.yaml", f"{folder}shoes-v2.yaml")
    with pytest.raises(runner.ConflictError) as told:
        await service.run(renamed)
    text = str(told.value)
    for words in (
        f"{service.folder}/output/shoes holds 3 purchases of the same jobs",
        f"made by {service.folder}/{folder}shoes.yaml, which no longer exists",
        "write `name: shoes`",
        "write `name: shoes-v2`",
        "Nothing was bought",
    ):
        assert words in text
    config = RunConfig.resolve(renamed, RunOptions(), service.environ)
    with pytest.raises(runner.ConflictError, match="which no longer exists"):
        make_forecast(config, renamed.jobs, now=0.0, visit=lambda *_: None)
    assert service.submissions == 3
    assert not (service.folder / "output/shoes-v2").exists()


async def test_the_old_name_in_the_manifest_uses_what_was_bought(service: Service) -> None:
    """`name: shoes`, as the message says: all is reused."""
    await service.run(write(service, "shoes.yaml"))
    report = await service.run(rename(service, "shoes.yaml", "shoes-v2.yaml", name="shoes"))
    assert (report.skipped, report.exit_code, service.submissions) == (3, 0, 3)


async def test_the_old_folder_given_by_an_option_uses_what_was_bought(service: Service) -> None:
    """`--output output/shoes`, likewise."""
    await service.run(write(service, "shoes.yaml"))
    renamed = rename(service, "shoes.yaml", "shoes-v2.yaml")
    report = await service.run(renamed, output=service.folder / "output/shoes")
    assert (report.skipped, report.exit_code, service.submissions) == (3, 0, 3)


async def test_a_new_name_in_the_manifest_buys_again(service: Service) -> None:
    """`name: shoes-v2` says that this is another batch."""
    await service.run(write(service, "shoes.yaml"))
    report = await service.run(rename(service, "shoes.yaml", "shoes-v2.yaml", name="shoes-v2"))
    assert (report.done, service.submissions) == (3, 6)


async def test_one_common_job_is_enough(service: Service) -> None:
    """A renamed manifest was edited, too: what stayed in it would be bought twice."""
    await service.run(write(service, "shoes.yaml"))
    (service.folder / "shoes.yaml").unlink()
    edited = write(service, "boots.yaml", [{"id": "new", "prompt": "a boot"}, {"id": "x", "prompt": "a shoe, 1"}])
    with pytest.raises(runner.ConflictError, match="holds a purchase of the same jobs"):
        await service.run(edited)


async def test_of_several_folders_the_one_with_the_most_is_named(service: Service) -> None:
    """A manifest that was renamed twice: its name is the one to take."""
    await service.run(write(service, "a.yaml", JOBS[:1]))
    await service.run(write(service, "b.yaml", JOBS))
    await service.run(write(service, "c.yaml", JOBS[:2]))
    for name in "abc":
        (service.folder / f"{name}.yaml").unlink()
    with pytest.raises(runner.ConflictError, match=r"output/b holds 3 purchases.*`name: b`"):
        await service.run(write(service, "shoes.yaml"))


async def test_a_shard_of_a_renamed_manifest_buys_nothing_either(service: Service) -> None:
    """A split folder is found, and a shard's run finds it."""
    manifest = write(service, "shoes.yaml")
    for index in (1, 2):
        await service.run(manifest, shard=Shard(index=index, of=2))
    renamed = rename(service, "shoes.yaml", "shoes-v2.yaml")
    with pytest.raises(runner.ConflictError, match="holds 3 purchases"):
        await service.run(renamed, shard=Shard(index=1, of=2))
    assert service.submissions == 3


async def test_a_copied_manifest_is_a_batch_of_its_own(service: Service) -> None:
    """The first one is still there: the folder is its, and the copy buys into another."""
    await service.run(write(service, "shoes.yaml"))
    assert (await service.run(write(service, "shoes-v2.yaml"))).done == 3


async def test_a_manifest_of_other_jobs_is_not_stopped(service: Service) -> None:
    """Folders of manifests that are gone lie around for years."""
    await service.run(write(service, "shoes.yaml"))
    (service.folder / "shoes.yaml").unlink()
    assert (await service.run(write(service, "hats.yaml", [{"id": "hat", "prompt": "a hat"}]))).done == 1


async def test_what_another_manifest_bought_into_the_same_folder_stops_nobody(service: Service) -> None:
    """Two manifests share a folder by `name:`, and one of them is gone: a copy of the other one is no renaming."""
    await service.run(write(service, "gone.yaml", JOBS[:1], name="shared"))
    await service.run(write(service, "there.yaml", JOBS[1:], name="shared"))
    (service.folder / "gone.yaml").unlink()
    assert (await service.run(write(service, "copy.yaml", JOBS[1:]))).done == 2


async def test_purchases_that_were_only_read_otherwise_are_found(service: Service) -> None:
    """`12` was bought as a number where no schema was there to say that it is a text: another fingerprint."""
    jobs = [{"id": "a", "prompt": "12"}]
    await service.run(write(service, "shoes.yaml", jobs))
    (service.folder / "shoes.yaml").unlink()
    results = service.folder / "output/shoes/results.jsonl"
    inputs = {"prompt": 12, "width": 64, "height": 64}
    change = {"inputs": inputs, "fingerprint": fingerprint(KLEIN, inputs)}
    lines = [msgspec.structs.replace(decode(line), **change) for line in results.read_bytes().splitlines()]
    results.write_bytes(b"".join(map(encode, lines)))
    with pytest.raises(runner.ConflictError, match="holds a purchase"):
        await service.run(write(service, "shoes-v2.yaml", jobs))


async def test_a_batch_that_has_begun_looks_at_no_other_folder(service: Service) -> None:
    """What it bought is its own; a folder beside that comes later changes nothing."""
    await service.run(write(service, "shoes.yaml", JOBS[:1], name="old"))
    await service.run(write(service, "shoes-v2.yaml"))
    (service.folder / "shoes.yaml").unlink()
    assert (await service.run(runner.load(service.folder / "shoes-v2.yaml"))).skipped == 3


async def test_a_folder_beside_that_cannot_be_read_stops_nobody(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said that it could not be searched."""
    await service.run(write(service, "shoes.yaml"))
    (service.folder / "shoes.yaml").unlink()
    results = service.folder / "output/shoes/results.jsonl"
    results.write_bytes(results.read_bytes() + b"damage\n" + results.read_bytes())
    report = await service.run(write(service, "shoes-v2.yaml"))
    assert report.done == 3
    assert "output/shoes could not be searched" in caplog.text


async def test_a_log_beside_that_a_crash_tore_stops_nobody(service: Service) -> None:
    """Half a line at its end is nothing to look at: the other batch cuts it when it runs next."""
    await service.run(write(service, "shoes.yaml"))
    results = service.folder / "output/shoes/results.jsonl"
    results.write_bytes(results.read_bytes() + results.read_bytes()[:50])
    assert (await service.run(write(service, "hats.yaml", [{"id": "hat", "prompt": "a hat"}]))).done == 1


async def test_results_without_a_line_are_no_results(service: Service) -> None:
    """A run that was stopped before its first purchase leaves an empty log: that folder has bought nothing yet."""
    await service.run(write(service, "shoes.yaml"))
    renamed = rename(service, "shoes.yaml", "shoes-v2.yaml")
    begun = service.folder / "output/shoes-v2"
    begun.mkdir()
    (begun / "results.jsonl").touch()
    with pytest.raises(runner.ConflictError, match="holds 3 purchases"):
        await service.run(renamed)
    assert service.submissions == 3


async def test_a_log_beside_that_cannot_be_opened_stops_nobody(service: Service) -> None:
    """A folder in its place, or a link that leads nowhere, holds no purchases of this batch."""
    output = service.folder / "output"
    (output / "one/results.jsonl").mkdir(parents=True)
    (output / "two").mkdir()
    (output / "two/results.jsonl").symlink_to("nowhere")
    assert (await service.run(write(service, "shoes.yaml"))).done == 3


@pytest.mark.parametrize("change", [{"api": EMULATOR}, {"manifest": "-"}])
async def test_what_was_not_bought_by_a_file_for_money_stops_nobody(service: Service, change: dict[str, str]) -> None:
    """Pictures of the emulator, and a manifest from standard input, which has no name to change."""
    await service.run(write(service, "shoes.yaml"))
    (service.folder / "shoes.yaml").unlink()
    results = service.folder / "output/shoes/results.jsonl"
    lines = [msgspec.structs.replace(decode(line), **change) for line in results.read_bytes().splitlines()]
    results.write_bytes(b"".join(map(encode, lines)))
    assert (await service.run(write(service, "shoes-v2.yaml"))).done == 3


async def test_links_and_files_beside_are_passed_over(service: Service, tmp_path: Path) -> None:
    """A file, an empty folder and a link into nowhere below `output/` are no folders of results."""
    output = service.folder / "output"
    (output / "empty").mkdir(parents=True)
    (output / "file").write_bytes(b"")
    (output / "link").symlink_to(tmp_path / "nowhere")
    assert (await service.run(write(service, "shoes.yaml"))).done == 3
    shutil.rmtree(output)
