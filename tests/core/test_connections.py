"""Which connection a request travels on, and where the border lies between sent and not sent."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from support.virtual_time import VirtualLoop

from runner.core import connections, proxies
from runner.core.connections import Exchange
from runner.core.errors import UsageError
from runner.core.http import AnswerTimeout, ConnectFailed, ConnectionBroken, send, session

pytestmark = pytest.mark.anyio

TIMEOUT = AnswerTimeout(20.0, whole=True)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture(autouse=True)
def _environment_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    proxies._proxy_for_origin.cache_clear()


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[int]:
    """The port of a server on loopback."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def answer(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Counting:
    """A server that keeps its connections open, and answers with the number of each."""

    def __init__(self, *headers: str) -> None:
        self.connections = 0
        self.headers = headers
        self.afterwards: Callable[[asyncio.StreamWriter], None] = lambda _: None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = b"%d" % self.connections
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(number, *self.headers))
            self.afterwards(writer)


async def ask(client: aiohttp.ClientSession, url: str, method: str = "GET", exchange: Exchange | None = None) -> bytes:
    with TIMEOUT.map_errors(exchange):
        async with TIMEOUT.bound(), await send(client, method, url, TIMEOUT) as response:
            return await response.read()


async def test_a_connection_that_was_idle_for_a_moment_is_not_used_again() -> None:
    """A server may be closing it. At once it is used again."""
    server = Counting()
    async with served(server) as port, session(keepalive_seconds=60, idle_seconds=0.5) as client:
        url = f"http://127.0.0.1:{port}/"
        assert [await ask(client, url, "POST") for _ in range(3)] == [b"1"] * 3
        await asyncio.sleep(0.6)
        assert await ask(client, url, "POST") == b"2"
        await asyncio.sleep(0.4)
        assert await ask(client, url, "POST") == b"2"


@pytest.mark.parametrize("header", ["timeout=0", "max=100, timeout=0", "Timeout=1"])
async def test_a_connection_is_not_used_past_what_its_server_allows(header: str) -> None:
    """`Keep-Alive: timeout=1` says that it may be closed then; the way there takes time, too."""
    server = Counting(f"Keep-Alive: {header}")
    async with served(server) as port, session(keepalive_seconds=60) as client:
        url = f"http://127.0.0.1:{port}/"
        await ask(client, url, "POST")
        await asyncio.sleep(0.6)
        assert await ask(client, url, "POST") == b"2"


async def test_bytes_that_nobody_asked_for_close_a_connection() -> None:
    """A second answer comes a moment after the first: the next request does not take it for its own."""
    server = Counting()
    loop = asyncio.get_running_loop()
    async with served(server) as port, session(keepalive_seconds=60) as client:
        url = f"http://127.0.0.1:{port}/"
        server.afterwards = lambda writer: loop.call_later(0.01, writer.write, answer(b"of another"))
        assert await ask(client, url) == b"1"
        await asyncio.sleep(0.02)
        assert await ask(client, url) == b"2"


async def test_bytes_that_have_come_and_are_not_read_yet_close_a_connection() -> None:
    """They are looked for in the socket itself, also where the event loop had no turn since."""
    server, writers = Counting(), []
    server.afterwards = writers.append
    async with served(server) as port, session(keepalive_seconds=60) as client:
        url = f"http://127.0.0.1:{port}/"
        assert await ask(client, url) == b"1"
        writers[0].transport.get_extra_info("socket")._sock.send(answer(b"of another"))
        assert await ask(client, url) == b"2"


async def test_a_connection_that_its_server_has_closed_is_not_used_again() -> None:
    """The end of a connection lies in the socket as bytes do."""
    server, writers = Counting(), []
    server.afterwards = writers.append
    async with served(server) as port, session(keepalive_seconds=60) as client:
        url = f"http://127.0.0.1:{port}/"
        assert await ask(client, url, "POST") == b"1"
        writers[0].transport.get_extra_info("socket")._sock.shutdown(socket.SHUT_RDWR)
        assert await ask(client, url, "POST") == b"2"


@pytest.mark.parametrize("has_poll", [True, False])
def test_a_connection_is_looked_into_without_waiting(monkeypatch: pytest.MonkeyPatch, *, has_poll: bool) -> None:
    """Also on a system without `poll`, and where the connection was closed meanwhile: that is no error of the job."""
    if not has_poll:
        monkeypatch.delattr(select, "poll")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not connections._is_readable(ours)
        theirs.send(b"x")
        assert connections._is_readable(ours)
    assert connections._is_readable(ours)
    assert connections._is_readable(None)


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)


async def _half_a_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(b"HTTP/1.1 2")


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _want_a_password(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


async def _no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await reader.read(4096)
    writer.write(b"this is no TLS\r\n\r\n")


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (_hang_up, "closed the connection"),
        (_half_a_line, "no connection through"),
        (_say_nothing, "no connection in time"),
        (_want_a_password, r"user name and a password \(407\).*USER:PASSWORD@127"),
        (_refuse, "HTTP 502"),
        (_no_tls, "TLS"),
    ],
)
async def test_what_a_proxy_never_let_through_was_not_sent(
    monkeypatch: pytest.MonkeyPatch, proxy: Handler, words: str
) -> None:
    """Until tunnel and TLS stand, no byte of the request has left. The words name the proxy, not its password."""
    async with served(proxy) as port, session(keepalive_seconds=1) as client:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{port}")
        exchange = Exchange()
        with pytest.raises(ConnectFailed, match=words) as caught:
            await ask(client, "https://api.example.test/", "POST", exchange)
    assert f"the proxy http://127.0.0.1:{port}" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not exchange.sent


async def test_what_has_a_connection_counts_as_sent() -> None:
    """A server that hangs up may have read it before."""
    exchange = Exchange()
    async with served(_hang_up) as port, session(keepalive_seconds=1) as client:
        with pytest.raises(ConnectionBroken):
            await ask(client, f"http://127.0.0.1:{port}/", "POST", exchange)
    assert exchange.sent


async def test_a_proxy_without_a_scheme_is_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As curl reads it: `HTTPS_PROXY=proxy.corp:3128`."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.corp.example:3128")
    assert proxies.proxy_for("https://api.example.test/v1") == "http://proxy.corp.example:3128"
    proxies.require_usable_proxy("https://api.example.test/v1")


class Socks:
    """A SOCKS5 proxy that connects to ``port`` whatever it is asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        writer.write(b"\x05\x00")
        head = await reader.readexactly(5)
        self.asked.append(head[3:4] + await reader.readexactly(head[4] + 2))
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        onward, back = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(_pass_on(reader, back), _pass_on(onward, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_socks_proxy_is_used(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """With the extra `socks`. The proxy looks up the name, and its connections are used again, too."""
    pytest.importorskip("aiohttp_socks")
    server = Counting()
    async with served(server) as port:
        socks = Socks(port)
        async with served(socks) as proxy, session(keepalive_seconds=60) as client:
            monkeypatch.setenv("HTTP_PROXY", f"{scheme}://127.0.0.1:{proxy}")
            proxies.require_usable_proxy("http://api.example.test/")
            exchange = Exchange()
            assert [await ask(client, "http://api.example.test/", "POST", exchange) for _ in range(2)] == [b"1"] * 2
            assert exchange.sent
    assert socks.asked == [b"\x03api.example.test\x00P"]


async def _refuse_all_methods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(3)
    writer.write(b"\x05\xff")


@pytest.mark.parametrize("proxy", [_hang_up, _refuse_all_methods, _say_nothing, None])
async def test_a_socks_proxy_that_gives_no_connection_was_sent_nothing(
    monkeypatch: pytest.MonkeyPatch, proxy: Handler | None
) -> None:
    """It hangs up, refuses, is silent, or is not there: no byte of the request has left."""
    pytest.importorskip("aiohttp_socks")
    exchange = Exchange()
    async with served(proxy or _hang_up) as port, session(keepalive_seconds=1) as client:
        monkeypatch.setenv("HTTP_PROXY", f"socks5://127.0.0.1:{port if proxy else 9}")
        with pytest.raises(ConnectFailed, match="no connection through the proxy socks5://"):
            await ask(client, "http://api.example.test/", "POST", exchange)
    assert not exchange.sent


@pytest.mark.parametrize(
    ("proxy", "words"),
    [("socks5://me:secret@proxy:1080", r"runcomfy-runner\[socks\]"), ("ftp://proxy:21", "cannot be used")],
)
async def test_a_proxy_that_cannot_be_used_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, proxy: str, words: str
) -> None:
    """Before anything is bought: SOCKS without its extra, and what is no proxy at all."""
    monkeypatch.setattr(proxies, "find_spec", lambda _: None)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError, match=words) as caught:
        proxies.require_usable_proxy("https://api.example.test/v1")
    assert "proxy:" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_storage_behind_socks_without_the_extra_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NO_PROXY` may name the API only: then it is the storage that cannot be reached, and what is paid stays owed."""
    monkeypatch.setattr(connections, "find_spec", lambda _: None)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    async with session(keepalive_seconds=1) as client:
        with pytest.raises(ConnectFailed, match="needs the extra"):
            await ask(client, "https://storage.example.test/a.png")
