"""What the benchmarks work on: feeds of any length, manifests, and folders in which everything is done already."""

from __future__ import annotations

from pathlib import Path

import runner
from runner.core.models import Job, Output, Record, State
from runner.ledger.records import RESULTS, encode

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
FLAT = "flat"
FOLDERS = "folders"
"""Each row has a folder of its own in ``file``."""

_HEAD = f"model: {KLEIN}\noutput: {{output}}\ndefaults: {{{{width: 64, height: 64}}}}\njobs:\n"
_ENTRY = """\
  - from: feed.csv
    id: "{{ sku }}"
    prompt: "{{ name }}, {{ colour }}, studio light, white background"
"""
_FILE = '    file: "{{ sku }}/front"\n'


def write_feed(folder: Path, rows: int) -> None:
    """``feed.csv`` and a manifest of it for each layout of the output folder: ``flat.yaml``, ``folders.yaml``."""
    with (folder / "feed.csv").open("w", encoding="utf-8") as file:
        file.write("sku,name,colour\n")
        file.writelines(f"sku-{n:08},Ceramic mug number {n},colour {n % 97}\n" for n in range(rows))
    for layout, more in ((FLAT, ""), (FOLDERS, _FILE)):
        (folder / f"{layout}.yaml").write_text(_HEAD.format(output=layout) + _ENTRY + more, encoding="utf-8")


def write_list(folder: Path, jobs: int) -> Path:
    """A YAML list of plain jobs."""
    path = folder / "list.yaml"
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEAD.format(output="list"))
        file.writelines(f"  - id: job-{n:06}\n    prompt: Ceramic mug number {n}, studio light\n" for n in range(jobs))
    return path


def write_done(manifest: Path, api: str) -> None:
    """The output folder of ``manifest`` as it would be with all its jobs done at ``api``; the files are empty."""
    loaded = runner.load(manifest)
    root = manifest.parent / manifest.stem
    root.mkdir()
    (shared := manifest.parent / "shared").mkdir(exist_ok=True)
    (shared / "front.png").touch()
    with (root / RESULTS).open("wb") as file:
        for number, job in enumerate(loaded.jobs):
            file.write(encode(_done(job, number, api, f"../{manifest.name}")))
            if job.file == job.id:
                (root / f"{job.file}.png").touch()
            else:  # a million folders would need gigabytes, links need none
                (root / job.id).symlink_to(shared)
    loaded.jobs.close()


def _done(job: Job, number: int, api: str, manifest: str) -> Record:
    at = "2026-11-22T01:02:03.456Z"
    output = Output(
        url=f"https://storage.runcomfy.net/outputs/{number:032x}/0.png",
        path=f"{job.file}.png",
        bytes=0,
        sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        media_type="image/png",
        width=64,
        height=64,
    )
    return Record(
        id=job.id,
        purchase=1,
        state=State.DONE,
        at=at,
        api=api,
        manifest=manifest,
        model=job.model,
        inputs=job.inputs,
        fingerprint=job.fingerprint,
        file=job.file,
        reserved_usd=0.0045,
        cost_usd=0.0045,
        request_id=f"{number:032x}",
        submitted_at=at,
        completed_at=at,
        outputs=(output,),
    )
