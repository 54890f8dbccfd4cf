"""`runner verify` as a person or a cron line meets it."""

from __future__ import annotations

import json

import pytest

from runner.core.models import State


def spoil(desk) -> None:
    """Altered, truncated, gone, and two swapped."""
    out = desk.folder / "out"
    body = bytearray((out / "job-0.png").read_bytes())
    body[90] ^= 4
    (out / "job-0.png").write_bytes(body)
    (out / "job-1.png").write_bytes((out / "job-1.png").read_bytes()[:200])
    (out / "job-2.png").unlink()
    (out / "job-3.png").rename(out / "x")
    (out / "job-4.png").rename(out / "job-3.png")
    (out / "x").rename(out / "job-4.png")
    (out / "mine.jpg").write_bytes(b"x")


def tree(desk) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (desk.folder / "out").rglob("*") if path.is_file()}


@pytest.fixture
def finished(desk, serve):
    """A batch of six that is done."""
    served = serve()
    desk.base = served.base
    assert desk("run", desk.jobs(6)).returncode == 0
    return served


def test_all_five_kinds_are_named_and_nothing_is_changed(desk, finished):
    """Exit 1, a line per file on stdout; needs no token, and the folder alone is enough."""
    assert desk("verify", "batch.yaml").returncode == 0
    spoil(desk)
    before = tree(desk)
    desk.base = ""
    ended = desk("verify", "out")
    assert ended.returncode == 1
    lines = {line.split()[1].rstrip(":"): line.split()[0] for line in ended.stdout.splitlines()[:-1]}
    assert lines == {
        "job-0.png": "altered",
        "job-1.png": "truncated",
        "job-2.png": "missing",
        "job-3.png": "swapped",
        "job-4.png": "swapped",
        "mine.jpg": "foreign",
    }
    assert "job-3.png (job-3, purchase 1): contains job-4.png" in ended.stdout
    assert "1 of 6 files are right" in ended.stdout
    assert "--repair" in ended.stderr
    assert tree(desk) == before


def test_json_is_one_object_with_a_list_per_kind(desk, finished):
    """Each entry with id, path, what was recorded and what is there."""
    spoil(desk)
    ended = desk("verify", "out", "--json")
    found = json.loads(ended.stdout)
    assert list(found) == ["checked", "ok", "missing", "altered", "truncated", "swapped", "foreign", "output"]
    assert (found["checked"], found["ok"]) == (6, 1)
    (truncated,) = found["truncated"]
    assert (truncated["id"], truncated["path"], truncated["actual"]["bytes"]) == ("job-1", "job-1.png", 200)
    assert truncated["expected"]["bytes"] > 200
    assert [entry["belongs_to"]["id"] for entry in found["swapped"]] == ["job-4", "job-3"]
    assert [entry["path"] for entry in found["foreign"]] == ["mine.jpg"]


def test_repair_puts_all_right_and_submits_nothing(desk, finished):
    """Exit 1 while a foreign file is there, 0 without it; the altered versions are kept."""
    spoil(desk)
    ended = desk("verify", "batch.yaml", "--repair", "--json")
    assert ended.returncode == 1, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["ok"], [entry["path"] for entry in told["foreign"]]) == (6, ["mine.jpg"])
    assert told["repaired"] == [f"job-{number}.png" for number in range(5)]
    assert told["kept"] == ["job-0.png.altered", "job-1.png.altered"]
    (desk.folder / "out/mine.jpg").unlink()
    ended = desk("verify", "out", "--repair")
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False)
    assert finished.stats["submissions"] == 6
    assert "nothing was submitted" in desk("run", "batch.yaml").stderr


@pytest.mark.slow
def test_repair_in_words(desk, finished):
    """What was repaired, where the altered version is, and how it stands now."""
    (desk.folder / "out/job-0.png").write_bytes(b"painted over")
    ended = desk("verify", "out", "--repair")
    assert ended.returncode == 0
    assert [line.split()[:2] for line in ended.stdout.splitlines()[:2]] == [
        ["repaired", "job-0.png"],
        ["kept", "job-0.png.altered"],
    ]


def test_repair_needs_a_token(desk, finished):
    """It asks the API: exit 77 without one, and nothing is moved."""
    spoil(desk)
    before = tree(desk)
    desk.base = ""
    ended = desk("verify", "out", "--repair")
    assert (ended.returncode, "RUNCOMFY_TOKEN" in ended.stderr) == (77, True)
    assert tree(desk) == before


def test_repair_against_the_emulator_inside(desk):
    """`--emulator` names the folder and the service, as for the other verbs."""
    manifest = desk.write(
        "model: blackforestlabs/flux-2-klein/4b/text-to-image\njobs:\n  - {id: a, prompt: x, size: 64x64}\n"
    )
    assert desk("run", manifest, "--emulator").returncode == 0
    picture = desk.folder / "output/batch-emulator/a.png"
    picture.unlink()
    assert desk("verify", manifest, "--emulator").returncode == 1
    assert desk("verify", manifest, "--emulator", "--repair").returncode == 0
    assert picture.is_file()


def test_usage(desk, finished):
    """Both repairs at once, and a folder without results, are errors that say what to do."""
    assert desk("verify", "out", "--repair", "--repair-log").returncode == 64
    ended = desk("verify", "nowhere.yaml")
    assert ended.returncode == 64
    assert "Traceback" not in ended.stderr


def test_repair_waits_for_no_run_and_verify_looks_on(desk, serve):
    """During a run both repairs are told who holds the folder, exit 75; looking needs no lock."""
    served = serve("--seconds", "30")
    desk.base = served.base
    process = desk.start("run", desk.jobs(2))
    served.wait_for(accepted=2)
    for flag in ("--repair", "--repair-log"):
        ended = desk("verify", "out", flag)
        assert (ended.returncode, str(process.pid) in ended.stderr) == (75, True)
    assert desk("verify", "out").returncode == 0
    process.kill()
    process.communicate()


def damage(desk, job: str) -> int:
    """Garble the last line of a job; returns its number."""
    results = desk.folder / "out/results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    number = max(n for n, line in enumerate(lines) if f'"id":"{job}"'.encode() in line)
    lines[number] = lines[number].replace(b'"state":"', b'"st\x00\x00\x00')
    results.write_bytes(b"".join(lines))
    return number + 1


def test_a_damaged_log_is_refused_mended_and_gone_on_with(desk, finished):
    """Run and verify say how; the mended log keeps every other line; the next run buys nothing again."""
    number = damage(desk, "job-2")
    before = (desk.folder / "out/results.jsonl").read_bytes()
    for verb in (["run", "batch.yaml"], ["verify", "out"], ["verify", "out", "--repair"]):
        ended = desk(*verb)
        assert ended.returncode == 65
        assert f"results.jsonl:{number}" in ended.stderr
        assert "verify --repair-log" in ended.stderr
    desk.base, base = "", desk.base
    ended = desk("verify", "out", "--repair-log")
    desk.base = base
    assert "Traceback" not in ended.stderr
    assert f"removed  line {number}: " in ended.stdout
    assert (desk.folder / "out/.runner/results.jsonl.damaged-1").read_bytes() == before
    assert desk("run", "batch.yaml").returncode in (0, 2)
    assert finished.stats["submissions"] == 6
    assert desk("verify", "out", "--repair-log").stdout.endswith("nothing was changed\n")


@pytest.mark.slow
def test_what_mending_held_is_told_with_what_to_do(desk, finished):
    """Damage that names nobody: said in words, with the place to look, exit 2; as JSON too."""
    results = desk.folder / "out/results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join([*lines[:3], b"\x00" * 200 + b"\n", *lines[3:]]))
    copy = results.read_bytes()
    ended = desk("verify", "out", "--repair-log")
    assert ended.returncode == 2
    assert "names no job" in ended.stdout
    assert "Generations page" in ended.stdout
    results.write_bytes(copy)
    told = json.loads(desk("verify", "out", "--repair-log", "--json").stdout)
    assert list(told) == ["kept", "cut", "held", "hidden", "copy"]
    assert (told["kept"], told["hidden"], told["cut"][0]["line"]) == (len(lines), True, 4)


def test_an_unfinished_purchase_beside_the_damage_is_held(desk, serve):
    """Killed after the submission, its `submitted` line garbled: owed by its request id, not submitted again."""
    served = serve("--seconds", "30")
    desk.base = served.base
    process = desk.start("run", desk.jobs(1))
    desk.wait_for(submitted=1)
    process.kill()
    process.communicate()
    damage(desk, "job-0")
    ended = desk("verify", "out", "--repair-log", "--json")
    assert ended.returncode == 0, "a request in hand is no question of money"
    (held,) = json.loads(ended.stdout)["held"]
    assert (held["id"], held["state"]) == ("job-0", "submitted")
    assert desk.records()["job-0"].state is State.SUBMITTED
    assert desk("plan", "batch.yaml", "--json").stdout.count('"buy": 0') == 1


KIT = """
model: emulator/kit/text-to-image
output: out
{settings}
jobs:
  - id: a
    prompt: a mug
"""


@pytest.mark.slow
def test_what_the_manifest_allows_by_now_is_fetched_by_a_repair(desk, serve):
    """A run tells how many outputs could not be had and what to do; with a larger `max_pixels` a repair has them."""
    desk.base = serve().base
    first = desk("run", desk.write(KIT.format(settings="max_pixels: 100")), "--offline")
    assert first.returncode == 0
    assert "a: done, with unavailable outputs (1 of 3): a picture of 64x64 pixels" in first.stderr
    assert "1 done, with unavailable outputs (`runner verify --repair` tries to download them again" in first.stderr
    assert desk("verify", "batch.yaml").returncode == 1
    desk.write(KIT.format(settings=""))
    assert desk("run", "batch.yaml", "--offline").returncode == 0
    assert not (desk.folder / "out/a.png").exists()
    assert desk("verify", "batch.yaml", "--repair").returncode == 0
    assert (desk.folder / "out/a.png").stat().st_size > 100
    assert desk.records()["a"].warning is None
