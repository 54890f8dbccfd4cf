"""Photos as inputs, and results as the feed of the next batch, as `jobs/photos.yaml` and its sequel show it."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageStat
from support.sampling import sampled

JOBS = Path(__file__).parents[2] / "jobs"
DONE = "jobs/photos-done.csv"


@pytest.fixture
def shop(desk):
    """A copy of the examples, with a folder for results as the repository has one."""
    shutil.copytree(JOBS, desk.folder / "jobs", ignore=shutil.ignore_patterns("__pycache__", "photos-done.csv"))
    (desk.folder / "output").mkdir()
    return desk


def colour(image: Image.Image) -> tuple[float, ...]:
    return tuple(ImageStat.Stat(image.convert("RGB")).mean)


def shown_photo(picture: Path) -> tuple[float, ...]:
    """The colour of the inset, in the lower right corner of a result."""
    with Image.open(picture) as image:
        side = image.width // 3
        inset = min(side, 96)
        return colour(image.crop((image.width - side, image.height - inset, image.width - side + inset, image.height)))


def nearest(seen: tuple[float, ...], among: dict[str, tuple[float, ...]]) -> str:
    return min(among, key=lambda name: sum((a - b) ** 2 for a, b in zip(seen, among[name], strict=True)))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_every_photo_is_in_its_own_result_and_the_results_are_the_next_feed(shop):
    """A dozen photos through one model, exported, and through a second: each result shows what it was made from."""
    photos = {path.stem: path for path in (shop.folder / "jobs/photos").glob("*.jpg")}
    assert len(photos) == 12
    assert shop("run", "jobs/photos.yaml", "--emulator").returncode == 0
    colours = {}
    for stem, path in photos.items():
        with Image.open(path) as image:
            colours[stem] = colour(image)
    results = shop.folder / "output/photos-emulator"
    assert {stem: nearest(shown_photo(results / f"{stem}.png"), colours) for stem in photos} == {s: s for s in photos}

    exported = shop("export", "jobs/photos.yaml", "--emulator", "--feed", DONE)
    assert (exported.returncode, exported.stdout) == (0, "")
    assert f"{DONE}: 12 pictures; the paths in `file` start at its folder" in exported.stderr
    found = rows(shop.folder / DONE)
    assert [row["path"] for row in found] == sorted(f"photos/{stem}.jpg" for stem in photos)
    for row in found:
        file = shop.folder / "jobs" / row["file"]
        assert file.samefile(results / f"{row['stem']}.png")
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
        assert row["request_id"]
        assert row["cost_usd"] == "0.005"

    assert shop("run", "jobs/photos-large.yaml", "--emulator").returncode == 0
    firsts = {}
    for stem in photos:
        with Image.open(results / f"{stem}.png") as image:
            firsts[stem] = colour(image)
    larges = shop.folder / "output/photos-large-emulator"
    assert {s: nearest(shown_photo(larges / f"{s}-large.png"), firsts) for s in photos} == {s: s for s in photos}
    assert "A run would buy nothing" in shop("plan", "jobs/photos-large.yaml", "--emulator").stdout
    shutil.copy(photos["bowl"], photos["mug"])
    planned = shop("plan", "jobs/photos.yaml", "--emulator", "--jobs").stdout
    assert "mug: inputs changed: another file is at photos/mug.jpg" in planned


BATCH = """
model: emulator/contact-sheet/text-to-image
output: out
defaults: {width: 64, height: 64}
jobs:
- {from: rows.csv, id: "{{ sku }}", prompt: "{{ name }}", count: 2}
- {id: alone, prompt: by itself, count: 1}
"""
ROWS = 'sku;name;file\na;"=Mug; ""blue""";x\nb; Cup ;y\n'


def batch(desk) -> None:
    desk.write(BATCH)
    desk.write(ROWS, "rows.csv")


def test_the_rows_come_back_as_they_were_with_each_picture(desk):
    """Cells unchanged, one row a picture, its cost once; a job without a row has its id; a taken name gets a number."""
    batch(desk)
    assert desk("run", "batch.yaml", "--emulator").returncode == 0
    (desk.folder / "next").mkdir()
    ended = desk("export", "batch.yaml", "--emulator", "--feed", "next/done.csv")
    assert ended.returncode == 0
    assert "file_2, sha256_2, request_id_2, cost_usd_2" in ended.stderr
    found = rows(desk.folder / "next/done.csv")
    assert list(found[0]) == ["sku", "name", "file", "id", "file_2", "sha256_2", "request_id_2", "cost_usd_2"]
    assert [(row["sku"], row["name"], row["file"], row["id"], row["file_2"]) for row in found] == [
        ("a", '=Mug; "blue"', "x", "a", "../out/a.png"),
        ("a", '=Mug; "blue"', "x", "a", "../out/a-2.png"),
        ("b", " Cup ", "y", "b", "../out/b.png"),
        ("b", " Cup ", "y", "b", "../out/b-2.png"),
        ("", "", "", "alone", "../out/alone.png"),
    ]
    assert [bool(row["cost_usd_2"]) for row in found] == [True, False, True, False, True]


def test_what_has_no_picture_or_another_input_is_told(desk):
    """Jobs that are not done have no row, and a picture of earlier words is named as such."""
    batch(desk)
    assert desk("run", "batch.yaml", "--emulator", "--only", "a").returncode == 0
    desk.write(ROWS.replace("=Mug", "=Jug"), "rows.csv")
    ended = desk("export", "batch.yaml", "--emulator", "--feed", "-")
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 3
    assert "2 jobs have no picture, and no row" in ended.stderr
    assert "1 job has a picture made from other inputs" in ended.stderr
    assert "start at the current folder" in ended.stderr
    assert "no picture" not in desk("export", "batch.yaml", "--emulator", "--feed", "-", "--only", "a").stderr


def test_a_file_of_the_users_own_is_never_replaced(desk):
    """A feed may be the only copy of a shop's products; an earlier export is replaced."""
    batch(desk)
    assert desk("run", "batch.yaml", "--emulator").returncode == 0
    refused = desk("export", "batch.yaml", "--emulator", "--feed", "rows.csv")
    assert refused.returncode == 64
    assert "rows.csv is not an earlier export of results, and is not replaced" in refused.stderr
    assert (desk.folder / "rows.csv").read_text() == ROWS
    for _ in range(2):
        assert desk("export", "batch.yaml", "--emulator", "--feed", "done.csv").returncode == 0


@sampled(
    ("words", "said"),
    [
        (("batch.yaml", "--feed", "done.xlsx"), "call it done.csv"),
        (("batch.yaml", "--feed", "-", "--format", "json"), "leave out --format and --selection"),
        (("out", "--feed", "-"), "needs the manifest"),
        (("batch.yaml", "--feed", "gone/done.csv"), "gone/done.csv cannot be written"),
    ],
    quick=1,
)
def test_what_cannot_be_written_is_refused_in_words(desk, words, said):
    """Before anything is written."""
    batch(desk)
    assert desk("run", "batch.yaml", "--emulator").returncode == 0
    ended = desk("export", *words, "--emulator")
    assert ended.returncode in (64, 73)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
