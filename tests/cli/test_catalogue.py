"""Prices and models as the live catalogue names them."""

from __future__ import annotations

import json

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
    assert "from $0.0090, reserved up to $0.0180; the budget is $1.5" in words
    assert served.stats["submissions"] == 0


def test_an_unknown_price_is_said_and_never_zero(desk, serve):
    """A model without a price, no token, or --offline: the plan says that it does not know."""
    desk.base = serve().base
    manifest = desk.write("model: emulator/unpriced/text-to-image\noutput: out\njobs: [{prompt: x}]\n")
    plan = json.loads(desk("plan", manifest, "--json").stdout)
    assert (plan["from_usd"], plan["unpriced"]) == (None, ["emulator/unpriced/text-to-image"])
    offline = desk("plan", desk.jobs(1), "--offline").stdout
    assert "not known" in offline
    assert "$0" not in offline


def test_models_lists_the_catalogue_and_shows_one(desk, serve):
    """A table for people, JSON for scripts; a price by the second and a missing one are said as such."""
    desk.base = serve().base
    table = desk("models").stdout
    assert f"from $0.0045           {KLEIN}" in table
    assert "a second" in table
    assert "price unknown" in table
    one = desk("models", KLEIN).stdout
    assert "integer, 64 to 2048, default 1024" in one
    assert "prompt               string (required)" in one
    assert json.loads(desk("models", KLEIN, "--json").stdout)["model_id"] == KLEIN
    assert [entry["model_id"] for entry in json.loads(desk("models", "--search", "klein", "--json").stdout)] == [KLEIN]


def test_models_says_what_is_wrong(desk, serve):
    """An unknown id is a wrong word (64), an unreachable catalogue is unavailable (69), no token is 77."""
    assert desk("models").returncode == 77
    desk.base = serve().base
    assert desk("models", "no/such/model").returncode == 64
    desk.base = "http://127.0.0.1:9/v1"
    assert desk("models").returncode == 69
