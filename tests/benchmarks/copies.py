"""How fast copies are made: ``runner copies`` beside the plain Pillow loop that people write, on the same originals.

    python tests/benchmarks/copies.py                   2,000 pictures of 1 MP, two copies each: a few minutes
    python tests/benchmarks/copies.py --pictures 200

Both make a JPEG of at most 1200x1200 and a WebP of 320x320 from PNGs, in as many threads as there are processors; the
plain loop hashes, flushes and records nothing. The ratio is that of the copies a second. Where other programs use the
machine, compare the processor seconds. A child process does each, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

import click
import msgspec
from measure import measure
from PIL import Image

from runner.core.models import Output, Record, State
from runner.ledger.records import encode

PLAIN = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image

root = Path(sys.argv[1])
for name in ("web", "thumbs"):
    (root / name).mkdir()

def make(path):
    with Image.open(path) as image:
        web = image.convert("RGB")
        small = web.copy()
        web.thumbnail((1200, 1200), Image.Resampling.LANCZOS)
        web.save(root / "web" / f"{path.stem}.jpg", quality=85, optimize=True, progressive=True)
        small.thumbnail((320, 320), Image.Resampling.LANCZOS)
        small.save(root / "thumbs" / f"{path.stem}.webp", quality=80)

with ThreadPoolExecutor(os.cpu_count()) as threads:
    list(threads.map(make, sorted(root.glob("*.png"))))
"""
DIFFERENT = 20
"""Different originals; each is there many times under other names."""


def originals(folder: Path, count: int) -> list[Output]:
    """Write ``count`` pictures of 1 MP that look like photographs to an encoder: soft shapes and some noise."""
    found = []
    for number in range(min(DIFFERENT, count)):
        noise = Image.frombytes("RGB", (32, 24), Random(number).randbytes(32 * 24 * 3))
        soft = noise.resize((1152, 864), Image.Resampling.BICUBIC)
        grain = Image.effect_noise(soft.size, 12).convert("RGB")
        path = folder / f"{number:05}.png"
        Image.blend(soft, grain, 0.15).save(path, compress_level=1)
        data = path.read_bytes()
        found.append(
            Output(url="", path=path.name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(),
                   media_type="image/png", width=1152, height=864)
        )  # fmt: skip
    for number in range(len(found), count):
        output = found[number % DIFFERENT]
        shutil.copyfile(folder / str(output.path), folder / f"{number:05}.png")
        found.append(msgspec.structs.replace(output, path=f"{number:05}.png"))
    return found


def prepare(folder: Path, outputs: list[Output]) -> Path:
    """Write the results log and the manifest of a finished batch."""
    model = "blackforestlabs/flux-2-klein/4b/text-to-image"
    jobs = [{"id": str(output.path)[:5], "prompt": f"picture {output.path}"} for output in outputs]
    records = [
        Record(id=job["id"], purchase=1, state=State.DONE, at="2026-11-22T01:02:03.456Z", api="emulator", manifest="m",
               model=model, inputs=job, fingerprint="", file=job["id"], request_id=f"r{job['id']}", outputs=(output,))
        for job, output in zip(jobs, outputs, strict=True)
    ]  # fmt: skip
    (folder / "results.jsonl").write_bytes(b"".join(map(encode, records)))
    copies = [
        {"file": "web/{{ job.id }}.jpg", "fit": "1200x1200"},
        {"file": "thumbs/{{ job.id }}.webp", "fit": "320x320"},
    ]
    manifest = folder / "m.json"
    manifest.write_text(json.dumps({"model": model, "output": ".", "copies": copies, "jobs": jobs}))
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.prepare is not None:
        prepare(given.prepare, originals(given.prepare, given.pictures))
        return
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary)
        words = [sys.executable, __file__, "--pictures", str(given.pictures), "--prepare", temporary]
        subprocess.run(words, check=True)
        for _ in range(given.rounds):
            click.echo(line("plain loop", source, [sys.executable, "-c", PLAIN, temporary]))
            runner = [sys.executable, "-m", "runner", "copies", f"{temporary}/m.json"]
            click.echo(line("runner copies", source, runner))


def line(name: str, source: Path, command: list[str]) -> str:
    """Run ``command``, and return what it took. The folder is as before afterwards."""
    log = (source / "results.jsonl").read_bytes()
    measured = measure(command, env={"PYTHONDONTWRITEBYTECODE": ""})
    (source / "results.jsonl").write_bytes(log)
    made = [path for folder in ("web", "thumbs") for path in (source / folder).iterdir()]
    size = sum(path.stat().st_size for path in made) / len(made) / 1000
    for folder in ("web", "thumbs"):
        shutil.rmtree(source / folder)
    return (
        f"{name:14} {len(made):6,} copies of {size:.0f} kB, {len(made) / measured.seconds:6.1f}/s, "
        f"{measured.seconds:6.1f} s, {measured.cpu_seconds:6.1f} CPU s, {measured.peak_bytes / 1e6:5.0f} MB"
    )


if __name__ == "__main__":
    main()
