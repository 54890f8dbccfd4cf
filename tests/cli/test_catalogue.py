"""Prices and models as the live catalogue names them."""

from __future__ import annotations

import json
import socket

import pytest

from runner.cli.commands.models import description_of

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"


def test_a_plan_says_what_the_purchases_may_cost(desk, serve):
    """With a token the plan names the least and the most, and the budget; nothing is submitted."""
    served = serve()
    desk.base = served.base
    sizes = "model: {}\noutput: out\nbudget: 1.50\njobs:\n  - {{prompt: a mug, sizes: [512x512, 2048x1024]}}\n"
    manifest = desk.write(sizes.format(KLEIN))
    plan = json.loads(desk("plan", manifest, "--json").stdout)
    assert (plan["buy"], plan["from_usd"], plan["up_to_usd"]) == (2, 0.009, 0.018)
    words = desk("plan", manifest).stdout
    assert f"{KLEIN}: 2, from $0.0045 each" in words
    assert "from $0.0090, reserved up to $0.0180; budget $1.5, of which $1.5000 is left: enough for all" in words
    assert served.stats["submissions"] == 0


def test_a_plan_says_how_far_the_budget_goes(desk, serve):
    """What is left of it after what was spent, and for how many of the purchases that is enough."""
    desk.base = serve().base
    desk("run", desk.jobs(2))
    manifest = desk.jobs(6, budget="0.02")
    words = desk("plan", manifest).stdout
    assert "budget $0.02, of which $0.0110 is left: enough for the first 2 jobs" in words
    plan = json.loads(desk("plan", manifest, "--json").stdout)
    assert (plan["buy"], plan["budget_left_usd"], plan["affordable"]) == (4, 0.011, 2)
    assert json.loads(desk("run", manifest, "--json").stdout)["done"] == 2
    assert json.loads(desk("plan", manifest, "--budget", "1", "--json").stdout)["affordable"] == 2


@pytest.mark.slow
def test_a_plan_of_a_redo_says_what_it_costs(desk, serve):
    """`plan --redo --only` counts what is done as bought, and a budget that no price is known for as none at all."""
    desk.base = serve().base
    manifest = desk.jobs(3)
    desk("run", manifest)
    plan = json.loads(desk("plan", manifest, "--redo", "--only", "job-[01]", "--json").stdout)
    assert (plan["buy"], plan["reuse"], plan["up_to_usd"]) == (2, 0, 0.009)
    words = desk("plan", manifest, "--redo", "--all", "--jobs").stdout
    assert "buy            job-2: done, and bought again (--redo)" in words
    assert desk("plan", manifest, "--redo").returncode == 64
    unpriced = desk.write("model: emulator/unpriced/text-to-image\noutput: o2\nbudget: 1\njobs: [{prompt: x}]\n")
    assert "next run would buy nothing yet: a budget needs the price" in desk("plan", unpriced).stdout


def test_an_unknown_price_is_said_and_never_zero(desk, serve):
    """A model without a price, no token, or --offline: the plan says that it does not know."""
    desk.base = serve().base
    manifest = desk.write("model: emulator/unpriced/text-to-image\noutput: out\njobs: [{prompt: x}]\n")
    plan = json.loads(desk("plan", manifest, "--json").stdout)
    assert (plan["from_usd"], plan["unpriced"]) == (None, ["emulator/unpriced/text-to-image"])
    model = {"model": "emulator/unpriced/text-to-image", "buy": 1, "base_price_usd": None, "price_unit": None}
    assert plan["models"] == [model]
    assert "emulator/unpriced/text-to-image: 1, price unknown" in desk("plan", manifest).stdout
    offline = desk("plan", desk.jobs(1), "--offline").stdout
    assert "total price unknown (--offline)" in offline
    assert "$0" not in offline


CLIPS = """
output: clips
model: emulator/clip/text-to-video
defaults: {width: 64, height: 64}
jobs:
  - {id: a, prompt: a mug, duration: 3}
  - {id: b, prompt: a cup}
"""


def test_a_plan_prices_videos_by_the_second(desk, serve):
    """The duration of each job, or the model's own; what a run reserves is what the plan said."""
    desk.base = serve().base
    manifest = desk.write(CLIPS)
    plan = json.loads(desk("plan", manifest, "--budget", "0.1", "--json").stdout)
    assert (plan["from_usd"], plan["up_to_usd"], plan["affordable"], plan["unpriced"]) == (0.1, 0.1, 2, [])
    model = {"model": "emulator/clip/text-to-video", "buy": 2, "base_price_usd": 0.02}
    assert plan["models"] == [{**model, "price_unit": "second", "seconds": 5}]
    words = desk("plan", manifest).stdout
    assert "emulator/clip/text-to-video: 2, 5 s in total, from $0.02 a second; makes videos" in words
    run = json.loads(desk("run", manifest, "--budget", "0.07", "--json").stdout)
    assert (run["done"], run["left"]) == (1, 1)
    plan = json.loads(desk("plan", manifest, "--budget", "0.07", "--json").stdout)
    assert (plan["buy"], plan["affordable"]) == (1, 0)


ANIMATED = """
output: animated
model: emulator/animate/image-to-video
defaults: {image_url: https://example.com/mug.png}
jobs:
  - {id: a, prompt: a mug, duration: "5"}
  - {id: b, prompt: a cup}
  - {id: c, prompt: a pot}
"""


def test_a_plan_says_which_jobs_lack_a_duration_and_what_to_write(desk, serve):
    """Their price is not known and is no part of the sum; with a budget nothing is bought, and the plan says so."""
    desk.base = serve().base
    manifest = desk.write(ANIMATED)
    words = desk("plan", manifest).stdout
    assert (
        "2 jobs, such as b, have no `duration` in seconds; add it, for example `duration: 5`, to each of these jobs"
        in words
    )
    assert "from $0.2500, reserved up to $0.2500, without 2 whose duration is unknown" in words
    plan = json.loads(desk("plan", manifest, "--budget", "5", "--json").stdout)
    assert plan["without_duration"] == [{"model": "emulator/animate/image-to-video", "jobs": 2, "example": "b"}]
    assert (plan["unpriced"], plan["affordable"]) == (["emulator/animate/image-to-video"], None)
    assert plan["not_now"].startswith(
        "a budget needs the price of each job: the price of emulator/animate/image-to-video"
    )
    run = desk("run", manifest, "--budget", "5")
    assert run.returncode == 65
    assert "add it, for example `duration: 5`, to each of these jobs or to `defaults:`" in run.stderr
    assert not (desk.folder / "animated/results.jsonl").read_bytes()


def test_a_plan_says_what_kinds_of_files_a_model_makes(desk, serve):
    """By its categories, with the emulator and without a token as well; a model that says nothing of it makes none."""
    text = "output: out\njobs: [{{id: a, prompt: x, model: {}}}]\n"
    sound = desk.write(text.format("emulator/jingle/text-to-audio"))
    assert "emulator/jingle/text-to-audio makes audio" in desk("plan", sound, "--emulator").stdout
    printed = desk("plan", sound, "--emulator", "--json").stdout
    assert json.loads(printed)["makes"] == {"emulator/jingle/text-to-audio": ["audio"]}
    assert "; makes images" in desk("plan", desk.jobs(1), "--offline").stdout
    desk.base = serve().base
    assert (
        "price unknown; makes 3D models" in desk("plan", desk.write(text.format("some/text-to-3d")), "--offline").stdout
    )
    unsaid = desk("plan", desk.write(text.format("some/model")), "--offline").stdout
    assert "some/model: 1, price unknown" in unsaid
    assert "makes" not in unsaid


@pytest.mark.parametrize("emulator", [True, False], ids=["the emulator, without a token", "an API"])
def test_models_lists_the_catalogue_and_shows_one(desk, serve, emulator):
    """A table for people, JSON for scripts; a price by the second and a missing one are said as such."""
    if not emulator:
        desk.base = serve().base
    option = ["--emulator"] if emulator else []
    listed = desk("models", *option)
    rows = [line.split(maxsplit=5) for line in listed.stdout.splitlines()]
    assert ["from", "$0.0045", "each", "images", KLEIN] in rows
    assert ["from", "$0.02", "a", "second", "videos", "emulator/clip/text-to-video"] in rows
    assert ["price", "unknown", "images", "emulator/unpriced/text-to-image"] in rows
    assert len({line.index(row[-1]) for line, row in zip(listed.stdout.splitlines(), rows, strict=True)}) == 1
    assert f"{len(rows)} models" in listed.stderr
    one = desk("models", KLEIN, *option).stdout
    assert "  width   integer, 64 to 2048, default 1024\n" in one
    assert "  prompt  string, required\n" in one
    assert "  makes    images (text-to-image)\n  runs as  model\n  price    from $0.0045 each\n" in one
    entry = json.loads(desk("models", KLEIN, "--json", *option).stdout)
    assert (entry["model_id"], entry["makes"]) == (KLEIN, ["image"])
    found = json.loads(desk("models", "--search", "klein", "--json", *option).stdout)
    assert [entry["model_id"] for entry in found] == [KLEIN, KLEIN.replace("4b", "9b")]


def test_models_are_chosen_by_category_and_kind(desk, serve):
    """Together with a search; where nothing fits it says what there is."""
    desk.base = serve().base
    assert desk("models", "--category", "image-to-3d").stdout.split()[-1] == "emulator/statue/image-to-3d"
    assert desk("models", "--kind", "workflow").stdout.split()[-1] == "emulator/kit/text-to-image"
    assert desk("models", "--kind", "workflow", "--search", "klein").stdout == "no model matches\n"
    nothing = desk("models", "--category", "movies")
    assert (nothing.returncode, nothing.stdout) == (0, "no model matches\n")
    assert "categories: image-to-3d, " in nothing.stderr
    assert "--category selects its output" in desk("models", "--kind", "video").stderr
    assert json.loads(desk("models", "--category", "movies", "--json").stdout) == []
    assert desk("models", KLEIN, "--kind", "model").returncode == 64


def test_a_model_by_the_second_says_how_a_job_is_priced(desk):
    """By its duration, the model's own where it has one; choices and inputs of an older version are said."""
    clip = desk("models", "emulator/clip/text-to-video", "--emulator").stdout
    assert "from $0.02 a second; `duration` is 2 by default\n" in clip
    assert "  seconds   integer, 1 to 10, deprecated\n" in clip
    animate = desk("models", "emulator/animate/image-to-video", "--emulator").stdout
    assert "from $0.05 a second; the price of a job depends on its `duration`\n" in animate
    assert "  duration   string, one of 5, 10\n" in animate


def test_a_model_without_a_schema_is_not_shown_as_taking_anything():
    """Where the catalogue's schema is missing or malformed, the inputs are unknown, and it says so."""
    for schema in (None, 5, {"properties": {"a": 1}, "required": 5}):
        assert "inputs unknown" in description_of({"model_id": "a/b", "input_schema": schema})[-1]
    assert "  price    unknown" in description_of({"model_id": "a/b", "base_price_usd": "0"})
    told = description_of({"model_id": "a/b", "input_schema": {"properties": {"s": {"type": "float"}}}})
    assert told[-1] == "  s  number"


def test_models_says_what_is_wrong(desk, serve):
    """An unknown id is a wrong word (64), an unreachable catalogue is unavailable (69), no token is 77."""
    assert desk("models").returncode == 77
    desk.base = serve().base
    assert desk("models", "no/such/model").returncode == 64
    desk.base = "http://127.0.0.1:9/v1"
    assert desk("models").returncode == 69
    assert desk("models", "--emulator", "--api", desk.base).returncode == 64


def test_an_api_that_cannot_be_reached_is_named_and_not_the_token(desk):
    """Nothing listens at the address: `models` and `plan` name the address and the reason."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        desk.base = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        why = f"the API at {desk.base} cannot be reached: "
        for words in (["models"], ["models", "a/b/text-to-image"]):
            ended = desk(*words)
            assert ended.returncode == 69
            assert why in ended.stderr
            assert "token" not in ended.stderr
        told = desk("plan", desk.jobs(1)).stdout
    assert f"total price unknown ({why}" in told
    assert "token" not in told


def test_a_token_that_the_catalogue_refuses_is_named(desk, serve):
    """The token is wrong, the address is right."""
    desk.base = serve("--token", "another").base
    ended = desk("models")
    assert ended.returncode == 69
    assert "refuses the token" in ended.stderr
