"""``runner models``: the live catalogue."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import click

from runner.core.aio import run_loop
from runner.core.errors import Unavailable, UsageError
from runner.core.models import Json
from runner.core.text import CONTROL
from runner.engine.billing.costs import base_price
from runner.engine.catalogue import open_catalogue
from runner.engine.options import RunOptions
from runner.manifest import usable
from runner.manifest.problems import Invalid


@click.command("models")
@click.argument("model", metavar="[ID]", required=False)
@click.option("--search", default="", help="Only models that fit this.")
@click.option("--api", metavar="URL", help="The API's address, with /v1.")
@click.option("--json", "as_json", is_flag=True, help="What the catalogue says, as JSON on standard output.")
def command(model: str | None, search: str, api: str | None, as_json: bool) -> int:
    """List the models of the live catalogue with their prices, or show the price and inputs of one.

    \b
    Example:
      runner models blackforestlabs/flux-2-klein/4b/text-to-image
    """
    options = RunOptions(api=api)
    if model is None:
        found = run_loop(lambda: _list(options, search))
        click.echo(json.dumps(found) if as_json else _lines(map(_line, found)) or "no model fits")
    else:
        entry = run_loop(lambda: _entry(options, model))
        click.echo(json.dumps(entry) if as_json else _describe(entry))
    return 0


async def _list(options: RunOptions, search: str) -> list[dict[str, Json]]:
    async with open_catalogue(options, os.environ) as api:
        found = await api.catalogue(search)
    if found is None:
        raise Unavailable("the catalogue cannot be reached, or refuses the token; try again later")
    return found


async def _entry(options: RunOptions, model: str) -> dict[str, Json]:
    async with open_catalogue(options, os.environ) as api:
        entry = await api.catalogue_entry(model)
    if entry is None:
        raise Unavailable("the catalogue cannot be reached, or refuses the token; try again later")
    if not entry:
        raise UsageError(f"the catalogue knows no model {model!r}; `runner models --search WORD` finds the right id")
    return entry


def _line(entry: dict[str, Json]) -> str:
    return f"{_price(entry):<22} {entry.get('model_id', '?')}"


def _price(entry: dict[str, Json]) -> str:
    """``from $0.0045``; a missing or malformed price is never shown as free."""
    price = base_price(entry)
    if price is not None:
        return f"from ${price:.4f}"
    per_second = base_price({**entry, "price_unit": "output"})
    return f"from ${per_second:.4f} a second" if per_second is not None else "price unknown"


def _describe(entry: dict[str, Json]) -> str:
    """A schema that is missing or malformed is said to be so: nothing can be told of the inputs then."""
    lines = [f"{entry.get('model_id')}: {entry.get('display_name', '')}", _price(entry)]
    try:
        schema = usable(entry.get("input_schema"))
    except Invalid as wrong:
        return _lines([*lines, f"  inputs unknown: the schema in the catalogue {wrong.what}"])
    required = schema.get("required", [])
    for name, rule in schema["properties"].items():
        lines.append(f"  {name:<20} {_rule(rule)}{' (required)' if name in required else ''}")
    return _lines(lines)


def _lines(lines: Iterable[str]) -> str:
    """Text for a terminal, which words of the catalogue must not command."""
    return "\n".join(CONTROL.sub(" ", line) for line in lines)


def _rule(rule: dict[str, Any]) -> str:
    bounds = f", {rule['minimum']} to {rule['maximum']}" if {"minimum", "maximum"} <= rule.keys() else ""
    default = f", default {rule['default']}" if "default" in rule else ""
    return f"{rule.get('type', 'of a type not told')}{bounds}{default}"
