"""An emulator on a real socket, a clock moved by hand, and a client without opinions."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from runner.emulator import Emulator, InjectedFault, Options, parse_fault, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Clock:
    """Shows what it was set to."""

    time: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes
    json: Any


class Client:
    """Sends what it is told and shows what came back."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self._session = session

    async def call(self, method: str, url: str, **extra: Any) -> Reply:
        if url.startswith("/"):
            url = self.emulator.origin + url
        extra.setdefault("headers", {"Authorization": "Bearer token"})
        async with self._session.request(method, url, allow_redirects=False, **extra) as response:
            body = await response.read()
            is_json = response.content_type == "application/json" and response.status < 600
            try:
                document = await response.json() if is_json else None
            except ValueError:
                document = None
            return Reply(response.status, response.headers, body, document)

    async def submit(self, prompt: str = "a red fox", model: str = KLEIN, **inputs: Any) -> Reply:
        return await self.call("POST", f"/v1/models/{model}", json={"prompt": prompt, **inputs})

    async def bought(self, prompt: str = "a red fox", model: str = KLEIN, **inputs: Any) -> str:
        """The id of a new request."""
        reply = await self.submit(prompt, model, **inputs)
        assert reply.status == 200
        return str(reply.json["request_id"])

    async def status(self, request_id: str) -> Reply:
        return await self.call("GET", f"/v1/requests/{request_id}/status")

    async def result(self, request_id: str, query: str = "") -> Reply:
        return await self.call("GET", f"/v1/requests/{request_id}/result{query}")

    async def cancel(self, request_id: str) -> Reply:
        return await self.call("POST", f"/v1/requests/{request_id}/cancel")

    async def file(self, request_id: str, name: str = "0.png") -> Reply:
        return await self.call("GET", f"/files/{request_id}/{name}", headers={})


def _session() -> aiohttp.ClientSession:
    session = aiohttp.ClientSession()
    # Left alone, aiohttp repeats a GET that was cut, and hides the fault. Its own test client does this too.
    session._retry_connection = False
    return session


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulate(clock: Clock) -> Callable[..., AbstractAsyncContextManager[Client]]:
    """Opens an emulator with these options and a client for it."""

    @asynccontextmanager
    async def opened(*, state: Path | None = None, **options: Any) -> AsyncIterator[Client]:
        async with (
            serve(Options(**options), state=state, now=clock) as emulator,
            _session() as session,
        ):
            yield Client(emulator, session)

    return opened


@pytest.fixture
def fault() -> Callable[[str], InjectedFault]:
    """A fault by its command-line form."""
    return parse_fault
