"""The listing of the catalogue, from servers that page, ignore parameters, or say less than they should."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from runner.api.client import Api, connect
from runner.api.config import ApiBase, Token
from runner.cli.commands.models import _list
from runner.engine.model_info import ModelQuery
from runner.engine.options import RunOptions

pytestmark = pytest.mark.anyio

MODELS = [
    {"model_id": f"v/{number}/text-to-{kind}", "categories": [f"text-to-{kind}"], "kind": "model"}
    for number, kind in enumerate(["image", "video", "audio"] * 90)
]

Reply = Callable[[dict[str, str]], Any]


@asynccontextmanager
async def served(reply: Reply) -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """The address of an API whose listing ``reply`` makes from the parameters, and what it was asked."""
    asked: list[dict[str, str]] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(dict(request.query))
        return web.json_response(reply(asked[-1]))

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", asked
    finally:
        await runner.cleanup()


@asynccontextmanager
async def api(reply: Reply) -> AsyncIterator[tuple[Api, list[dict[str, str]]]]:
    async with served(reply) as (url, asked), connect(ApiBase(url=url, name=url), Token("t")) as client:
        yield client, asked


def page(query: dict[str, str], size: int = 100) -> list[dict[str, Any]]:
    offset = int(query["offset"])
    return MODELS[offset : offset + min(size, int(query["limit"]))]


@pytest.mark.parametrize(
    ("reply", "calls"),
    [
        (lambda query: {"models": page(query), "total": 270}, 3),
        (lambda query: {"models": page(query, 40), "total": 270}, 7),
        (lambda query: {"models": page(query)}, 3),
        (lambda query: {"models": MODELS, "total": 270}, 1),
        (lambda query: {"models": MODELS}, 2),
        (lambda query: {"models": [5, None, *MODELS], "total": 10**9}, 2),
    ],
    ids=["pages", "smaller pages", "no total", "all at once", "all at once, no total", "a wrong total"],
)
async def test_every_model_is_listed_once(reply: Reply, calls: int) -> None:
    """Whatever the server makes of limit and offset; the asking ends."""
    async with api(reply) as (client, asked):
        found = await client.catalogue({"search": "v"})
        assert (found, len(asked)) == (MODELS, calls)
        assert {query["search"] for query in asked} == {"v"}


async def test_an_entry_without_an_id_is_listed_once_as_well() -> None:
    """It is of little use, and no reason to drop it."""
    async with api(lambda query: {"models": [{"display_name": "Nameless"}] * 100}) as (client, _):
        assert await client.catalogue() == [{"display_name": "Nameless"}]


@pytest.mark.parametrize("document", [{}, {"models": None}, {"error_code": 400004}, []])
async def test_an_answer_without_a_list_is_no_empty_catalogue(document: Any) -> None:
    """It cannot be asked, and that is said."""
    async with api(lambda query: document) as (client, _):
        assert await client.catalogue() is None
        assert await client.categories() == []


async def test_parameters_are_sent_and_what_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that ignores them shows no model that does not fit."""
    monkeypatch.setenv("RUNCOMFY_TOKEN", "t")
    query = ModelQuery(search="v", category="text-to-audio", kind="model")
    async with served(lambda query: {"models": MODELS, "total": 270}) as (url, asked):
        found, _ = await _list(RunOptions(api=url), query)
    assert len(found) == 90
    assert {entry["categories"][0] for entry in found} == {"text-to-audio"}
    assert asked == [{"search": "v", "category": "text-to-audio", "kind": "model", "limit": "100", "offset": "0"}]
