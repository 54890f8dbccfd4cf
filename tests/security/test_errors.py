"""The line where aiohttp's errors become ours: none crosses it, and none brings the token along."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from security.server import ESCAPES, http
from yarl import URL

from runner.core.errors import RunnerError
from runner.core.http import AnswerTimeout, ConnectFailed, ConnectionBroken, send, session

TOKEN = "rc-hostile-0123456789abcdef"
ADDRESS = URL("https://model-api.runcomfy.net/v1/models/x")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def kinds(root: type[BaseException]) -> Iterator[type[BaseException]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


KINDS = sorted(set(kinds(aiohttp.ClientError)), key=lambda kind: kind.__name__)


def made(kind: type[Any]) -> BaseException:
    """One such error, with a request that carries the token where it holds one."""
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {TOKEN}"}))
    key = ConnectionKey("model-api.runcomfy.net", 443, True, True, None, None, None)
    trouble = ssl.SSLError(1, "bad") if issubclass(kind, ssl.SSLError | aiohttp.ClientSSLError) else OSError(111, "No")
    if issubclass(kind, aiohttp.ClientResponseError):
        request = RequestInfo(ADDRESS, "POST", headers, ADDRESS)
        return kind(request, (), status=400, message=f"Bad header:\n\n  b'Bearer {TOKEN}'\n    ^", headers=headers)
    if kind is aiohttp.client_exceptions.UnixClientConnectorError:
        return kind("/socket", key, trouble)
    if issubclass(kind, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
        return kind(key, trouble)
    if kind is aiohttp.ServerFingerprintMismatch:
        return kind(b"x", b"y", "host", 443)
    if issubclass(kind, aiohttp.InvalidURL):
        return kind(ADDRESS)
    return kind("words of its own")


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Of a server that answers once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"{}"))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def failing(client: aiohttp.ClientSession, address: str, error: BaseException | None = None) -> None:
    """An exchange that ends with ``error``, if it comes so far."""
    patience = AnswerTimeout(5, whole=True)
    with patience.map_errors():
        async with await send(client, "GET", address, patience) as response:
            await response.read()
            if error is not None:
                raise error


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [*KINDS, TimeoutError, ConnectionResetError, ValueError])
async def test_no_error_of_the_clients_crosses_the_line(address: str, kind: type[BaseException]) -> None:
    """Each becomes one of two of ours; what is printed of it, to the last cause, holds no header of the request."""
    error = made(kind)
    async with session(keepalive_seconds=1, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        with pytest.raises(RunnerError) as caught:
            await failing(client, address, error)
    assert type(caught.value) in (ConnectFailed, ConnectionBroken)
    shown = "".join([repr(caught.value), *traceback.format_exception(caught.value)])
    assert TOKEN not in shown
    assert str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "start",
    [
        f"HTTP/1.1 200 OK\r\nX: {TOKEN}".ljust(300_000, "x"),
        f"HTTP/1.1 2000 {TOKEN}",
        f"Bearer {TOKEN}: \x00",
        f"HTTP/1.1 {ESCAPES.splitlines()[0]}\x00",
    ],
)
async def test_bad_http_is_told_without_its_bytes(start: str) -> None:
    """A server that echoes what it was sent in a broken head is quoted nowhere."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{start}\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, session(keepalive_seconds=1) as client:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(ConnectionBroken, match=r"^the answer is not valid HTTP: ") as caught:
            await failing(client, address)
    assert TOKEN not in str(caught.value)
    assert str(caught.value).isprintable()
