"""Application of the emulator: routes HTTP calls, applies faults to responses, and counts calls."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote

from . import wire
from .apply_faults import pause, spoil
from .catalogue import CATEGORIES, MODELS, problems
from .fault_injection import FaultInjector
from .faults import CALLS, InjectedFault
from .input_pictures import small_copies
from .output_faults import OUTPUT_FAULTS, change_outputs
from .responses import Answer, invalid, refusal, said
from .service import Service, fingerprint
from .storage import has_file, no_such_file, read_file, stored
from .wire import read_body, send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp import web

    from .catalogue import Json, Model
    from .options import Options
    from .queue import Request


_LONG_BODIES = 4
"""Bodies of more than ``_SHORT`` bytes that are read at the same time, to limit the memory."""
_SHORT = 2**20


class Emulator:
    """Running emulator, created by ``serve``."""

    def __init__(self, options: Options, now: Callable[[], float]) -> None:
        self._options = options
        self._now = now
        self._dice = FaultInjector(options.seed, options.faults)
        self._service = Service(options, self._dice, now)
        self._counts: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._handling = 0
        self._peak_calls = 0
        self._earlier = 0
        self._reading = asyncio.Semaphore(_LONG_BODIES)

    @property
    def origin(self) -> str:
        """Origin: ``http://127.0.0.1:PORT``."""
        return self._service.teller.origin

    @property
    def base(self) -> str:
        """Base URL of the API: ``origin`` and ``/v1``."""
        return f"{self.origin}/v1"

    @property
    def balance_base(self) -> str:
        """Base URL of the account service with the balance: ``origin`` and ``/prod/v2``."""
        return f"{self.origin}/prod/v2"

    @property
    def faults(self) -> tuple[InjectedFault, ...]:
        """Fault rules in force. ``stats`` counts how often each kind has happened."""
        return self._dice.faults

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Accepted requests, each with ``request_id model_id input state created seconds finished cost``."""
        return self._service.listing()

    @property
    def stats(self) -> dict[str, Any]:
        """Counts of the calls so far. Requests that an earlier process accepted count as submissions too."""
        accepted = self._service.accepted
        return {
            "submissions": self._earlier + self._calls["submit"],
            "accepted": accepted.total(),
            "duplicates": {mark: count for mark, count in accepted.items() if count > 1},
            "calls": {operation: self._calls[operation] for operation in CALLS},
            "peak_in_flight": self._service.peak_in_flight,
            "peak_calls": self._peak_calls,
            "authorization_on_files": self._counts["authorization_on_files"],
            "unauthorised": self._counts["unauthorised"],
            "charged_usd": self._service.charged_usd(),
            "balance_usd": self._service.balance_usd(),
            "faults": dict(self._dice.hits),
        }

    def set_faults(self, *faults: InjectedFault) -> None:
        """Replace the rules; scripted faults remain."""
        self._dice.replace(faults)

    def script(self, operation: str, *faults: InjectedFault | None) -> None:
        """Set the faults of the next calls of ``operation``, in order and before any rule; ``None``: no fault.

        Raises ``ValueError`` for an unknown operation or a fault of another operation.
        """
        self._dice.script(operation, faults)

    def open(self, origin: str, folder: Path | None) -> None:
        """Start with the requests that an earlier process left in ``folder``. Raises ``OSError`` and ``ValueError``."""
        self._service.teller.origin = origin
        self._service.open(folder)
        self._earlier = self._service.accepted.total()

    def close(self) -> None:
        self._service.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        path, _, query = request.raw_path.partition("?")
        call = route(request.method, path)
        if isinstance(call, Answer):
            return await self._send(request, call)
        if call.operation == "inside":
            return await self._send(request, said(self.stats if call.subject == "stats" else self.requests))
        self._calls[call.operation] += 1
        if call.operation == "file":
            return await self._send(request, await self._file(request, call))
        self._handling += 1
        self._peak_calls = max(self._peak_calls, self._handling)
        try:
            return await self._send(request, await self._api(request, call, query))
        finally:
            self._handling -= 1

    async def _send(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        """Send ``answer`` with the time of the service, by which clients may count days and waits."""
        date = {"Date": formatdate(self._now(), usegmt=True)}
        return await send(request, replace(answer, headers={**answer.headers, **date}))

    async def _api(self, request: web.BaseRequest, call: Call, query: str) -> Answer:
        if not self._authorised(request.headers.get("Authorization", "")):
            self._counts["unauthorised"] += 1
            return refusal(401, 400004, "token or account invalid")
        if call.operation == "submit":
            return await self._submit(request, call.subject)
        if call.operation == "balance":
            return await self._perform(
                self._dice.strike("balance", "", ""), self._service.balance, self._service.balance
            )
        parameters = {name: values[-1] for name, values in parse_qs(query).items()} if query else {}
        if call.operation in {"model", "models"}:
            return await self._show(call, parameters)
        return await self._ask(call, with_cost=parameters.get("include_cost") == "true")

    def _authorised(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        wanted = self._options.token
        return scheme == "Bearer" and (bool(token.strip()) if wanted is None else token == wanted)

    async def _submit(self, request: web.BaseRequest, model_id: str) -> Answer:
        model = MODELS.get(model_id)
        if model is None:
            return refusal(404, 400001, f"invalid model id: {model_id}")
        given = await self._given(request)
        if isinstance(given, Answer):
            return given
        prompt = given.get("prompt")
        fault = self._dice.strike("submit", fingerprint(model_id, given), prompt if isinstance(prompt, str) else "")
        insets = await small_copies(given) if model.shows_input else ()
        return await self._perform(fault, partial(self._buy, model, given, insets), self._service.pretend)

    async def _given(self, request: web.BaseRequest) -> Json | Answer:
        """Return the inputs in the body of the call, or an error response if there are none."""
        short = request.content_length is not None and request.content_length <= _SHORT
        async with nullcontext() if short else self._reading:
            body = await read_body(request)
            given = _object(body) if body is not None else None
        if body is None:
            return refusal(413, 413000, f"the body is longer than {wire.MAX_BODY:,} bytes")
        return refusal(400, 400000, "the body is not a JSON object") if given is None else given

    def _buy(self, model: Model, given: Json, insets: tuple[bytes, ...]) -> Answer:
        detail = problems(model, given)
        return invalid(detail) if detail else self._service.accept(model, given, insets)

    async def _ask(self, call: Call, *, with_cost: bool) -> Answer:
        request = self._service.request(call.subject)
        key, prompt = (request.key, request.input["prompt"]) if request else (call.subject, "")
        complete = request is not None and request.state == "completed"
        fault = self._dice.strike(call.operation, key, prompt, complete=complete)
        if fault and fault.kind == "forget" and request:
            self._service.forget(request)
        if call.operation == "cancel":
            cancel = partial(self._service.cancel, call.subject)
            return await self._perform(fault, cancel, partial(cancel, really=False))
        look = partial(self._service.status, call.subject)
        if call.operation == "result":
            look = partial(self._service.result, call.subject, with_cost=with_cost)
        if fault and fault.kind in OUTPUT_FAULTS and request:
            look = partial(self._odd_result, look, fault, request)
        return await self._perform(fault, look, look)

    def _odd_result(self, look: Callable[[], Answer], fault: InjectedFault, request: Request) -> Answer:
        def read(url: str) -> tuple[str, bytes]:
            return read_file(request, url.rpartition("/")[2], self._options)

        return change_outputs(look(), fault, request, read)

    async def _show(self, call: Call, parameters: dict[str, str]) -> Answer:
        fault = self._dice.strike(call.operation, call.subject, "")
        look = partial(self._entry, call.subject) if call.operation == "model" else partial(_list, parameters)
        if call.name == "categories":
            look = partial(said, {"categories": CATEGORIES})
        return await self._perform(fault, look, look)

    def _entry(self, model_id: str) -> Answer:
        model = MODELS.get(model_id)
        if model is None:
            return refusal(404, 400001, f"invalid model id: {model_id}")
        told = self._options.schemas
        return said(model.entry(with_schema=True) | ({"input_schema": told[model_id]} if model_id in told else {}))

    async def _file(self, request: web.BaseRequest, call: Call) -> Answer:
        self._counts["authorization_on_files"] += "Authorization" in request.headers
        held = self._service.held(call.subject)
        if held is None or held.state != "completed" or not has_file(held, call.name):
            return no_such_file()
        number = int(call.name.partition(".")[0])
        fault = self._dice.strike("file", held.key, held.input["prompt"], number=number)
        wider = 8 if fault and fault.kind == "wrong_size" else 0
        answer = await stored(held, call.name, self._options, wider=wider)
        return await self._perform(fault, lambda: answer, lambda: answer)

    async def _perform(
        self, fault: InjectedFault | None, act: Callable[[], Answer], pretend: Callable[[], Answer]
    ) -> Answer:
        """Perform the call and return its response, both changed by the fault; ``pretend`` responds without effect."""
        if fault is None:
            return act()
        if not fault.early:
            answer = act()
            await asyncio.sleep(pause(fault))
        else:
            await asyncio.sleep(pause(fault))
            # A slow call has its effect, only later.
            answer = act() if fault.kind == "slow" else pretend()
        return spoil(answer, fault, self._now())


def _object(body: bytes) -> Json | None:
    try:
        given = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _list(parameters: dict[str, str]) -> Answer:
    limit, offset = (_whole(parameters.get(name, default)) for name, default in (("limit", "100"), ("offset", "0")))
    if limit is None or not 1 <= limit <= 500:
        return invalid([{"loc": ["query", "limit"], "msg": "must be of type integer, from 1 to 500"}])
    if offset is None:
        return invalid([{"loc": ["query", "offset"], "msg": "must be of type integer, from 0 on"}])
    with_schema = parameters.get("include_schema") == "true"
    found = [model for model in MODELS.values() if _matches(model, parameters)]
    page = [model.entry(with_schema=with_schema) for model in found[offset : offset + limit]]
    return said({"models": page, "total": len(found), "limit": limit, "offset": offset})


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _matches(model: Model, parameters: dict[str, str]) -> bool:
    text = f"{model.model_id} {model.display_name} {model.description}".lower()
    return (
        parameters.get("search", "").lower() in text
        and parameters.get("category", model.categories[0]) in model.categories
        and parameters.get("kind", model.kind) == model.kind
    )


class Call(NamedTuple):
    """Operation with its subject."""

    operation: str
    subject: str = ""
    """Id of a model or a request."""
    name: str = ""
    """Name of a file, or of a list."""


def route(method: str, path: str) -> Call | Answer:
    """Return the call for a method and path, or the error response for an unknown one."""
    parts = unquote(path).split("/")[1:]
    for operations in (_models(parts), _requests(parts), _files(parts), _account(parts), _inside(parts)):
        if operations:
            return operations.get("GET" if method == "HEAD" else method) or _wrong_method(operations)
    return refusal(404, 404000, "no such path")


def _models(parts: list[str]) -> dict[str, Call]:
    if parts[:2] != ["v1", "models"]:
        return {}
    model_id = "/".join(parts[2:])
    if not model_id:
        return {"GET": Call("models")}
    if model_id == "categories":
        return {"GET": Call("models", name="categories")}
    return {"GET": Call("model", model_id), "POST": Call("submit", model_id)}


def _requests(parts: list[str]) -> dict[str, Call]:
    if parts[:2] != ["v1", "requests"] or len(parts) != 4 or parts[3] not in {"status", "result", "cancel"}:
        return {}
    return {"POST" if parts[3] == "cancel" else "GET": Call(parts[3], parts[2])}


def _files(parts: list[str]) -> dict[str, Call]:
    return {"GET": Call("file", parts[1], parts[2])} if parts[0] == "files" and len(parts) == 3 else {}


def _account(parts: list[str]) -> dict[str, Call]:
    return {"GET": Call("balance")} if parts == ["prod", "v2", "balance"] else {}


def _inside(parts: list[str]) -> dict[str, Call]:
    known = parts[0] == "_emulator" and len(parts) == 2 and parts[1] in {"stats", "requests"}
    return {"GET": Call("inside", parts[1])} if known else {}


def _wrong_method(operations: dict[str, Call]) -> Answer:
    return replace(refusal(405, 405000, "method not allowed"), headers={"Allow": ", ".join(operations)})
