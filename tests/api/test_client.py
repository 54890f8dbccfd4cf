"""Which connection a submission travels on, and how long it may take."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from mmap import mmap
from typing import Any

import pytest
from support.virtual_time import VirtualLoop

from runner.api.client import connect
from runner.api.config import ApiBase, Token
from runner.api.responses import Accepted, Refused, Unreadable

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


async def test_a_submission_is_not_sent_on_a_connection_that_was_idle_for_a_second() -> None:
    """Some servers close theirs after one second: what is sent then may or may not have been bought."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                body = b'{"request_id": "connection-%d"}' % connections
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with connect(ApiBase(url=url, name=url), Token("a-token-of-a-test")) as api:
            for seconds, connection in ((0.0, 1), (0.1, 1), (1.0, 2)):
                await asyncio.sleep(seconds)
                assert await api.submit("some/model", {}) == Accepted(request_id=f"connection-{connection}")


LONG = 24 << 20
ACCEPTED = b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"request_id": "r"}'


async def submit_to(serve: Any, body: bytes) -> Any:
    """The outcome of one submission to a server that reads and answers as it likes."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with connect(ApiBase(url=url, name=url), Token("a-token-of-a-test")) as api:
            with closing(mmap(-1, len(body))) as encoded:
                encoded[:] = body
                return await api.submit("some/model", encoded)


@pytest.mark.slow
async def test_a_slow_line_has_the_time_that_it_needs() -> None:
    """Giving up in the middle of photos that are still being sent would leave a purchase in doubt."""
    came = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"content-length: {LONG}\r\n".encode() in head.lower()
        while len(came) < LONG:
            if len(came) % (1 << 20) < (1 << 16):
                await asyncio.sleep(60)
            came.extend(await reader.read(1 << 16))
        await asyncio.sleep(100)
        writer.write(ACCEPTED)
        await reader.read()
        writer.close()

    body = bytes(range(256)) * (LONG // 256)
    assert await submit_to(serve, body) == Accepted(request_id="r")
    assert came == body


async def test_a_line_that_takes_nothing_more_ends_the_submission() -> None:
    """Minutes without any progress are the end, also in the middle of a body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10_000)
        writer.close()

    found = await submit_to(serve, bytes(LONG))
    assert isinstance(found, Unreadable)
    assert "within 632 s" in found.fault.message


async def test_an_answer_in_the_middle_of_a_body_is_an_answer() -> None:
    """A service that refuses photos of this length says so before it has read them; the rest is not sent."""
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = b'{"error_message": "too large"}'
        writer.write(b"HTTP/1.1 422 No\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        read = 0
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                read += len(piece)
        assert read < LONG
        closed.set()
        writer.close()

    found = await submit_to(serve, bytes(LONG))
    assert isinstance(found, Refused)
    await closed.wait()
