"""A service that means harm: the Model API and its storage on one origin, in raw bytes over real sockets.

What it does to a job is chosen by the job's prompt. ``heal`` makes it a good service, under the same address and with
everything that it sold before. Beside it a *canary* listens, where malicious addresses lead: nobody may ever call.
"""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

FINISHED = "2026-11-22T01:02:03Z"
LOOPBACKS = ("127.0.0.1", "127.0.0.2", "::1")
"""Where the canary listens, as far as this machine has such addresses."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One request that is to be answered."""

    request_id: str
    token: str
    """What the client sent as its token."""
    api: str
    """``http://127.0.0.1:1234``"""
    canary: int
    """Its port."""

    @property
    def file(self) -> str:
        """Where the picture is."""
        return f"{self.api}/files/{self.request_id}.png"


Answer = bytes | AsyncIterator[bytes]
Deed = Callable[[Scene], Answer]


class Script(Protocol):
    """What is done to a job; None is what a good service does."""

    @property
    def submit(self) -> Deed | None: ...

    @property
    def result(self) -> Deed | None: ...

    @property
    def file(self) -> Deed | None: ...


def http(body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole answer, with a length that may lie."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "Connection: close", "\r\n"]).encode() + body


def said(document: object, *headers: str, status: str = "200 OK") -> bytes:
    """A JSON answer."""
    return http(json.dumps(document).encode(), "Content-Type: application/json", *headers, status=status)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int = 64, height: int = 64, *, pixels: bytes | None = None) -> bytes:
    """A picture; ``pixels`` are what its compressed data really hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x40\x80\xc0" * width) * height) if pixels is None else pixels
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PICTURE = png()
ESCAPES = "\x1b[31mred\x1b[2J\x07\x08\x9b5m\u202eoops\r\n0.0 WARNING forged"
"""Text that would take over a terminal, or write a line of its own into a log."""
ENTRY = {
    "base_price_usd": 0.0045,
    "price_unit": "output",
    "display_name": ESCAPES,
    "input_schema": {"type": "object", "properties": {ESCAPES: {"type": "string", "default": ESCAPES}}},
}
"""What the catalogue says of every model."""


def accepted(scene: Scene, **more: object) -> bytes:
    links = {f"{name}_url": f"{scene.api}/v1/requests/{scene.request_id}/{name}" for name in ("status", "result")}
    return said({"request_id": scene.request_id, **links, **more})


def completed(scene: Scene, *urls: str, **more: object) -> bytes:
    about = {"request_id": scene.request_id, "status": "completed", "cost": 0.0045, "finished_at": FINISHED}
    return said({**about, "output": {"images": list(urls) or [scene.file]}, **more})


@dataclass
class World:
    """The service, its memory and the canary."""

    scripts: Mapping[str, Script]
    healed: bool = False
    port: int = 0
    canary: int = 0
    canaries: list[str] = field(default_factory=list)
    """Where the canary listens."""
    calls: list[str] = field(default_factory=list)
    """Who called the canary: must stay empty."""
    submissions: Counter[str] = field(default_factory=Counter)
    """How often each prompt was submitted."""
    sold: dict[str, str] = field(default_factory=dict)
    """Prompts by request id."""
    trespasses: list[str] = field(default_factory=list)
    """Requests that a careful client never makes."""
    _talks: set[asyncio.Task[None] | None] = field(default_factory=set)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, head: str, body: bytes) -> Answer:
        """Judge a request, and do to it what its prompt asks for."""
        method, path, _ = head.split(" ", 2)
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        token = next((line[22:] for line in head.split("\r\n") if line.lower().startswith("authorization: bearer")), "")
        parts = path.partition("?")[0].strip("/").split("/")
        self._watch(path, parts, token, headers)
        if parts[:2] == ["v1", "models"]:
            if method == "POST":
                return self._submit(json.loads(body)["prompt"], token)
            return said(ENTRY if parts[2:] else {"models": [ENTRY]})
        if parts[:2] == ["v1", "requests"] and parts[2] in self.sold:
            return self._play("result", parts[2], token)
        name = parts[-1].removesuffix(".png")
        if parts[0] == "files" and name in self.sold:
            return self._play("file", name, token)
        self.trespasses.append(f"{method} {path}")
        return http(status="404 Not Found")

    def _watch(self, path: str, parts: list[str], token: str, headers: dict[str, str]) -> None:
        if (parts[0] == "files") == bool(token):
            self.trespasses.append(f"{path} with the token {token!r}")
        if "cookie" in headers or headers.get("accept-encoding") != "identity":
            self.trespasses.append(f"{path} with {headers}")

    def _submit(self, prompt: str, token: str) -> Answer:
        self.submissions[prompt] += 1
        request_id = f"req-{prompt.partition(' ')[0]}-{self.submissions[prompt]}"
        self.sold[request_id] = prompt
        return self._play("submit", request_id, token)

    def _play(self, call: str, request_id: str, token: str) -> Answer:
        scene = Scene(request_id=request_id, token=token, api=self.api, canary=self.canary)
        script = None if self.healed else self.scripts.get(self.sold[request_id].partition(" ")[0])
        deed: Deed | None = getattr(script, call, None)
        good: dict[str, Deed] = {"submit": accepted, "result": completed, "file": lambda _: http(PICTURE)}
        return (deed or good[call])(scene)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request on one connection."""
        self._talks.add(asyncio.current_task())
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - a bug of this server must not look like an attack
            self.trespasses.append(repr(error))
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next((line[16:] for line in head.split("\r\n") if line.lower().startswith("content-length")), "0")
        answer = await self.answer(head, await reader.readexactly(int(length)))
        if isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
            return
        async for piece in answer:
            writer.write(piece)
            await writer.drain()

    async def note(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody called the canary."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1):
                self.calls.append(f"{writer.get_extra_info('sockname')}: {await reader.read(200)!r}")
        writer.close()

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Listen until ``stop`` is set."""
        servers = [await asyncio.start_server(self.handle, "127.0.0.1", 0)]
        self.port = servers[0].sockets[0].getsockname()[1]
        for address in LOOPBACKS:
            with suppress(OSError):
                servers.append(await asyncio.start_server(self.note, address, self.canary))
                self.canary = servers[-1].sockets[0].getsockname()[1]
                self.canaries.append(address)
        ready.set()
        await stop.wait()
        for server in servers:
            server.close()
        for talk in filter(None, self._talks):
            talk.cancel()


@contextmanager
def serving(scripts: Mapping[str, Script]) -> Iterator[World]:
    """A world in a thread of its own."""
    world, ready, hands = World(scripts), threading.Event(), dict[str, Any]()

    async def live() -> None:
        hands["loop"], hands["stop"] = asyncio.get_running_loop(), asyncio.Event()
        await world.serve(ready, hands["stop"])

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield world
    finally:
        hands["loop"].call_soon_threadsafe(hands["stop"].set)
        thread.join(10)
