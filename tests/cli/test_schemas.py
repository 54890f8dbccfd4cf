"""Inputs against the catalogue's schemas, from the command line."""

from __future__ import annotations

import json

MODEL = "emulator/edit/image-to-image"


def batch(desk, job: str = "prompt: a mug, style: 12", **settings: object):
    lines = [f"{key}: {value}" for key, value in {"model": MODEL, "output": "out", **settings}.items()]
    return desk.write("\n".join([*lines, f"jobs: [{{id: a, {job}}}]"]) + "\n")


def test_a_run_checks_inputs_by_the_catalogue_and_buys_nothing_that_is_wrong(desk, serve):
    """A misspelt input of any model is an error with its place (65), in `plan` as in `run`."""
    served = serve()
    desk.base = served.base
    manifest = batch(desk, "prompt: a mug, stlye: oil")
    for verb in ("plan", "run"):
        ended = desk(verb, manifest)
        assert ended.returncode == 65
        assert "batch.yaml:3:31: `stlye` is neither a key of a job nor an input" in ended.stderr
        assert "did you mean `style`?" in ended.stderr
    assert served.stats["submissions"] == 0


def test_an_address_that_is_no_good_is_refused_with_the_published_limits(desk, serve):
    """Hosted files are https addresses; the words say what is right, and how large they may be."""
    desk.base = serve().base
    ended = desk("run", batch(desk, "prompt: a mug, image_url: http://example.com/mug.png"))
    assert ended.returncode == 65
    assert "images up to 50 MB (about 4K), videos up to 100 MB" in ended.stderr


def test_the_cache_lies_in_the_users_home_and_serves_offline(desk, serve):
    """Asked once, kept under `~/.cache`; `--offline` then asks nothing at all, and still checks."""
    served = serve()
    desk.base = served.base
    manifest = batch(desk)
    first = desk("plan", manifest, "--offline")
    assert "are not checked here" in first.stderr
    assert "--offline: the catalogue is not contacted" in first.stderr
    assert desk("run", manifest).returncode == 0
    assert len(list((desk.folder / ".cache" / "runcomfy-runner").rglob("*.json"))) == 1
    asked = served.stats["calls"]["model"]
    for verb in ("plan", "run"):
        ended = desk(verb, manifest, "--offline")
        assert (ended.returncode, "warning" in ended.stderr) == (0, False)
        assert desk(verb, batch(desk, "prompt: b, steps: 51"), "--offline").returncode == 65
        batch(desk)
    assert served.stats["calls"]["model"] == asked
    assert served.stats["submissions"] == 1


def test_a_cache_that_cannot_be_written_is_no_error(desk, serve):
    """A full or foreign home only means that the catalogue is asked again."""
    desk.base = serve().base
    (desk.folder / ".cache").write_text("not a folder")
    ended = desk("run", batch(desk))
    assert (ended.returncode, "warning" in ended.stderr) == (0, False)


def test_an_emulator_inside_the_process_checks_by_its_own_catalogue(desk):
    """`--emulator` needs no network for that, and leaves nothing in the cache."""
    ended = desk("run", batch(desk, "prompt: a mug, steps: 51"), "--emulator")
    assert ended.returncode == 65
    assert "`steps` is 51; the model takes 1 to 50" in ended.stderr
    assert desk("run", batch(desk), "--emulator", "--offline").returncode == 0
    unknown = desk("plan", batch(desk, model="no/such/model"), "--emulator")
    assert "the emulator has no such model" in unknown.stderr
    assert not (desk.folder / ".cache").exists()


def test_a_plan_says_when_a_missing_schema_keeps_a_run_from_buying(desk, serve):
    """On a night when schema and cache are gone, an edited job is not bought, and the plan says so too."""
    desk.base = serve("--fault", "model status status=500 after=2").base
    assert desk("run", batch(desk)).returncode == 0
    for file in (desk.folder / ".cache").rglob("*.json"):
        file.unlink()
    assert "A run would buy nothing" in desk("plan", batch(desk)).stdout
    edited = batch(desk, "prompt: a jug, style: 12")
    words = desk("plan", edited).stdout
    assert "The next run would buy nothing yet: the input schema of earlier purchases is unavailable" in words
    found = json.loads(desk("plan", edited, "--json").stdout)
    assert (found["buy"], found["doubtful"]) == (1, 1)
    assert found["not_now"] in words
    ended = desk("run", edited)
    assert ended.returncode == 69
    assert "try again when the catalogue can be reached" in ended.stderr


def test_status_of_a_manifest_asks_nobody(desk, serve):
    """Looking is free of the network: the copy that the run kept tells which jobs there are."""
    served = serve()
    desk.base = served.base
    manifest = batch(desk)
    assert desk("run", manifest).returncode == 0
    asked = served.stats["calls"]["model"]
    status = desk("status", manifest, "--json")
    assert json.loads(status.stdout)["left"] == 0
    assert served.stats["calls"]["model"] == asked
