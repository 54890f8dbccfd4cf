"""Which connection a submission travels on."""

from __future__ import annotations

import asyncio

import pytest
from support.virtual_time import VirtualLoop

from runner.api.client import connect
from runner.api.config import ApiBase, Token
from runner.api.responses import Accepted

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
