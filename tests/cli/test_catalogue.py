"""Prices and models as the live catalogue names them."""

from __future__ import annotations

import json

from runner.cli.commands.models import _describe

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
    assert (
        "from $0.0090, reserved up to $0.0180; the budget is $1.5, and $1.5000 of it is left: enough for all" in words
    )
    assert served.stats["submissions"] == 0


def test_a_plan_says_how_far_the_budget_goes(desk, serve):
    """What is left of it after what was spent, and for how many of the purchases that is enough."""
    desk.base = serve().base
    desk("run", desk.jobs(2))
    manifest = desk.jobs(6, budget="0.02")
    words = desk("plan", manifest).stdout
    assert "the budget is $0.02, and $0.0110 of it is left: enough for the first 2 of these" in words
    plan = json.loads(desk("plan", manifest, "--json").stdout)
    assert (plan["buy"], plan["budget_left_usd"], plan["affordable"]) == (4, 0.011, 2)
    assert json.loads(desk("run", manifest, "--json").stdout)["done"] == 2
    assert json.loads(desk("plan", manifest, "--budget", "1", "--json").stdout)["affordable"] == 2


def test_a_plan_of_a_redo_says_what_it_costs(desk, serve):
    """`plan --redo --only` counts what is done as bought, and a budget that no price is known for as none at all."""
    desk.base = serve().base
    manifest = desk.jobs(3)
    desk("run", manifest)
    plan = json.loads(desk("plan", manifest, "--redo", "--only", "job-[01]", "--json").stdout)
    assert (plan["buy"], plan["reuse"], plan["up_to_usd"]) == (2, 0, 0.009)
    words = desk("plan", manifest, "--redo", "--all", "--jobs").stdout
    assert "buy           job-2: done, and to be bought anew (--redo)" in words
    assert desk("plan", manifest, "--redo").returncode == 64
    unpriced = desk.write("model: emulator/unpriced/text-to-image\noutput: o2\nbudget: 1\njobs: [{prompt: x}]\n")
    assert "the next run would buy nothing: a budget needs a price" in desk("plan", unpriced).stdout


def test_an_unknown_price_is_said_and_never_zero(desk, serve):
    """A model without a price, no token, or --offline: the plan says that it does not know."""
    desk.base = serve().base
    manifest = desk.write("model: emulator/unpriced/text-to-image\noutput: out\njobs: [{prompt: x}]\n")
    plan = json.loads(desk("plan", manifest, "--json").stdout)
    assert (plan["from_usd"], plan["unpriced"]) == (None, ["emulator/unpriced/text-to-image"])
    assert plan["models"] == [{"model": "emulator/unpriced/text-to-image", "buy": 1, "base_price_usd": None}]
    assert "emulator/unpriced/text-to-image: 1, price unknown" in desk("plan", manifest).stdout
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
    found = json.loads(desk("models", "--search", "klein", "--json").stdout)
    assert [entry["model_id"] for entry in found] == [KLEIN, KLEIN.replace("4b", "9b")]


def test_a_model_without_a_schema_is_not_shown_as_taking_anything():
    """Where the catalogue's schema is missing or malformed, the inputs are unknown, and it says so."""
    for schema in (None, 5, {"properties": {"a": 1}, "required": 5}):
        assert "inputs unknown" in _describe({"model_id": "a/b", "input_schema": schema})
    assert "price unknown" in _describe({"model_id": "a/b", "base_price_usd": "0"})
    told = _describe({"model_id": "a/b", "input_schema": {"properties": {"s": {"type": "float"}}}})
    assert "number" in told


def test_models_says_what_is_wrong(desk, serve):
    """An unknown id is a wrong word (64), an unreachable catalogue is unavailable (69), no token is 77."""
    assert desk("models").returncode == 77
    desk.base = serve().base
    assert desk("models", "no/such/model").returncode == 64
    desk.base = "http://127.0.0.1:9/v1"
    assert desk("models").returncode == 69
