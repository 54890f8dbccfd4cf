"""``runner models``: models, prices and inputs of the live catalogue."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from runner.cli.command_help import Command
from runner.cli.console import echo, plain, say
from runner.core.aio import run_loop
from runner.core.errors import Unavailable, UsageError
from runner.core.models import Json
from runner.engine.billing.prices import DURATION, Price, price_of, price_words
from runner.engine.catalogue import open_catalogue, why_unreachable
from runner.engine.model_info import ModelQuery, categories_of, output_words, outputs_of
from runner.engine.options import RunOptions
from runner.manifest import usable
from runner.manifest.problems import Invalid

if TYPE_CHECKING:
    from runner.api.client import Api

NO_CATALOGUE = "{api} answers, but not with a catalogue of models: the token may be refused. Try again later."


@click.command("models", cls=Command, page="inputs")
@click.argument("model", metavar="[ID]", required=False)
@click.option("--search", default="", metavar="WORDS", help="List models with these words in id, name or description.")
@click.option("--category", default="", metavar="NAME", help="List models of a category, such as image-to-video.")
@click.option("--kind", default="", metavar="KIND", help="List models of a kind: model, workflow or inference.")
@click.option("--emulator", is_flag=True, help="List the models of the emulator; needs no token.")
@click.option("--api", metavar="URL", help="Address of the API, with /v1.")
@click.option("--json", "as_json", is_flag=True, help="Print the entries of the catalogue as JSON.")
def command(
    model: str | None, search: str, category: str, kind: str, emulator: bool, api: str | None, as_json: bool
) -> int:
    """List the models of the live catalogue, or show the price and inputs of the model ID.

    \b
    Examples:
      runner models --category image-to-video
      runner models blackforestlabs/flux-2-klein/4b/text-to-image
    """
    options = RunOptions(api=api, emulator=emulator)
    query = ModelQuery(search=search, category=category, kind=kind)
    if model is None:
        found, categories = run_loop(lambda: _list(options, query))
        if as_json:
            echo(json.dumps([_with_outputs(entry) for entry in found]))
        else:
            _show_list(found, query, categories)
        return 0
    if query.parameters:
        raise UsageError("--search, --category and --kind are for the list; leave them out, or leave out the id")
    entry = run_loop(lambda: _entry(options, model))
    if as_json:
        echo(json.dumps(_with_outputs(entry)))
    else:
        for line in description_of(entry):
            say(line)
    return 0


async def _list(options: RunOptions, query: ModelQuery) -> tuple[list[dict[str, Json]], list[str]]:
    """Return the models that fit ``query``, and all categories if none fits.

    Raises ``Unavailable`` if the catalogue does not answer.
    """
    async with open_catalogue(options, os.environ) as api:
        entries = await api.catalogue(query.parameters)
        if entries is None:
            raise await _unavailable(api)
        found = [entry for entry in entries if query.fits(entry)]
        return found, [] if found else await api.categories()


async def _entry(options: RunOptions, model: str) -> dict[str, Json]:
    async with open_catalogue(options, os.environ) as api:
        entry = await api.catalogue_entry(model)
        if entry is None:
            raise await _unavailable(api)
    if not entry:
        raise UsageError(f"the catalogue has no model {model!r}; `runner models --search WORD` finds the right id")
    return entry


async def _unavailable(api: Api) -> Unavailable:
    """Return the error for a catalogue that gave no usable answer, with the reason."""
    why = await why_unreachable(api)
    return Unavailable(f"{why}. Try again later." if why else NO_CATALOGUE.format(api=api.base.name))


def _with_outputs(entry: dict[str, Json]) -> dict[str, Json]:
    """Return the entry as it came, with the kinds of output under ``makes`` unless it has such a key."""
    return {"makes": list(outputs_of(entry)), **entry}


def _show_list(found: list[dict[str, Json]], query: ModelQuery, categories: list[str]) -> None:
    rows = [(price_words(price_of(entry)), _makes(entry), plain(str(entry.get("model_id", "?")))) for entry in found]
    prices, makes = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    for price, made, model in rows:
        say(f"{price:<{prices}}  {made:<{makes}}  {model}")
    if rows:
        count = "1 model" if len(rows) == 1 else f"{len(rows):,} models"
        say(f"{count}. `runner models ID` shows the inputs of one.", err=True)
        return
    say("no model matches")
    if query.kind:
        say("--kind selects how a model runs (model, workflow, inference); --category selects its output", err=True)
    if query.category and categories:
        say(f"categories: {', '.join(categories)}", err=True)


def _makes(entry: dict[str, Json]) -> str:
    """Return in words what a model makes; its categories if its kinds of output are unknown, else ``?``."""
    return output_words(outputs_of(entry)) or plain(", ".join(categories_of(entry))) or "?"


def description_of(entry: dict[str, Json]) -> list[str]:
    """Return the lines about one model. Each line may hold untrusted text."""
    price = price_of(entry)
    about = {
        "name": entry.get("display_name"),
        "about": entry.get("description"),
        "makes": _makes_words(entry),
        "runs as": entry.get("kind"),
        "price": "unknown" if price is None else price_words(price) + _duration_words(price),
        "note": entry.get("pricing_note"),
        "page": entry.get("model_url"),
    }
    lines = [str(entry.get("model_id", "?"))]
    lines += [f"  {name:<8} {text}" for name, text in about.items() if isinstance(text, str) and text]
    try:
        schema = usable(entry.get("input_schema"))
    except Invalid as wrong:
        return [*lines, f"inputs unknown: the schema in the catalogue {wrong.what}"]
    required, rules = schema.get("required", []), schema["properties"]
    width = max(map(len, rules))
    first = sorted(rules, key=lambda name: name not in required)
    inputs = [f"  {name:<{width}}  {_rule(rules[name], required=name in required)}" for name in first]
    return [*lines, "inputs", *inputs]


def _makes_words(entry: dict[str, Json]) -> str:
    categories = ", ".join(categories_of(entry))
    words = output_words(outputs_of(entry))
    return f"{words} ({categories})" if words and categories else words or categories


def _duration_words(price: Price) -> str:
    if not price.per_second:
        return ""
    if price.default_seconds is None:
        return f"; the price of a job depends on its `{DURATION}`"
    return f"; `{DURATION}` is {price.default_seconds} by default"


def _rule(rule: dict[str, Any], *, required: bool) -> str:
    """Return the rule of an input in words: ``integer, 64 to 2048, default 1024``."""
    kind, choices = rule.get("type", "of unknown type"), rule.get("enum")
    parts = [" or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)]
    if isinstance(choices, list) and choices:
        parts.append(f"one of {', '.join(map(str, choices))}")
    low, high = rule.get("minimum"), rule.get("maximum")
    if low is not None and high is not None:
        parts.append(f"{low} to {high}")
    elif low is not None or high is not None:
        parts.append(f"at least {low}" if low is not None else f"at most {high}")
    if isinstance(rule.get("format"), str):
        parts.append(rule["format"])
    if rule.get("default") is not None:
        parts.append(f"default {rule['default']}")
    parts += ["required"] * required + ["deprecated"] * (rule.get("deprecated") is True)
    return ", ".join(parts)
