"""Answers whose heads break the rules of HTTP: what aiohttp refuses is mended, what it reads is left alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import pytest
from support.virtual_time import VirtualLoop

from runner.api.client import connect
from runner.api.config import ApiBase, Token
from runner.api.responses import Accepted, RefusalCause, Refused, Submission, Unreadable
from runner.core.http import session
from runner.core.response_heads import mend_head

pytestmark = pytest.mark.anyio

BODY = b'{"request_id": "req-1"}'
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK", end: bytes = b"\r\n") -> bytes:
    return end.join([status, *lines, b"", b""])


ODD = {
    "a blank in a name": head(LENGTH, b"X Frame Options: DENY"),
    "an accent in a name": head(LENGTH, "X-Städ: x".encode()),
    "a name in quotes": head(LENGTH, b'"X-A": b'),
    "a blank before the colon": head(LENGTH, b"X-A : b"),
    "no colon": head(LENGTH, b"garbage"),
    "no name": head(LENGTH, b": x"),
    "a null byte": head(LENGTH, b"X-A: a\0b"),
    "a bare CR": head(LENGTH, b"X-A: b\rX-B: c"),
    "the length twice": head(LENGTH, LENGTH),
    "the length in a list": head(LENGTH + b", %d" % len(BODY)),
    "two lengths, one of them too short": head(b"Content-Length: 5", LENGTH),
    "an empty length": head(b"Content-Length:"),
    "a negative length": head(b"Content-Length: -1"),
    "a word for a length": head(b"Content-Length: auto"),
    "a length beside chunks": head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "a length beside no coding": head(LENGTH, b"Transfer-Encoding: identity"),
    "HTTP/2": head(LENGTH, status=b"HTTP/2 200 OK"),
    "small letters": head(LENGTH, status=b"http/1.1 200 OK"),
    "two blanks": head(LENGTH, status=b"HTTP/1.1  200 OK"),
    "a BOM": b"\xef\xbb\xbf" + head(LENGTH),
    "900 headers": head(LENGTH, *[b"X-%d: a" % number for number in range(900)]),
    "a header of 100 KB": head(LENGTH, b"X-A: " + b"a" * 100_000),
    "blank lines first": b"\r\n\r\n" + head(LENGTH, b"garbage"),
    "bare line feeds": head(LENGTH, b"garbage", end=b"\n"),
}
PLAIN = {
    "usual": head(LENGTH, b"Content-Type: application/json", b"X-City: Malm\xc3\xb6"),
    "no reason": head(LENGTH, status=b"HTTP/1.1 200"),
    "HTTP/1.0": head(status=b"HTTP/1.0 200 OK"),
    "chunks": head(b"Transfer-Encoding: gzip, chunked"),
    "bare line feeds": head(LENGTH, end=b"\n"),
    "one header twice": head(LENGTH, b"Server: a", b"Server: b"),
    "no HTTP": b"ICY 200 OK\r\n\r\n",
}


async def submit(*parts: bytes, keep_open: bool = False) -> Submission:
    """Submit to a server that answers with ``parts``, one after the other."""

    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # the client may hang up first
            await reader.readuntil(b"\r\n\r\n{}")
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.1)
            if keep_open:
                await reader.read()
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with connect(ApiBase(url=url, name=url), Token("a-token-of-a-test")) as api:
            found = await api.submit("some/model", {})
        await ended.wait()
        return found


@pytest.mark.parametrize("start", ODD.values(), ids=ODD)
async def test_the_id_behind_an_odd_head_is_read(start: bytes) -> None:
    """In one piece, in two, and byte by byte: an answer that a browser shows is no unknown purchase."""
    body = CHUNKED if b"chunked" in start else BODY
    assert await submit(start + body) == Accepted(request_id="req-1")
    assert await submit(start, body) == Accepted(request_id="req-1")
    assert await submit(start[:20], start[20:-1], start[-1:] + body) == Accepted(request_id="req-1")


@pytest.mark.parametrize("start", PLAIN.values(), ids=PLAIN)
async def test_a_head_that_keeps_to_the_rules_passes_unchanged(start: bytes) -> None:
    """What is right is not touched, and what is no HTTP is not made into it."""
    assert mend_head(start) == start


async def test_an_answer_after_early_hints_is_mended_too() -> None:
    """A 103 comes first; the head of the answer itself is the next one."""
    hints = head(b"Link: </a.css>; rel=preload", status=b"HTTP/1.1 103 Early Hints")
    assert await submit(hints + head(LENGTH, b"garbage") + BODY) == Accepted(request_id="req-1")


async def test_what_follows_an_answer_does_not_spoil_it() -> None:
    """Bytes that nobody asked for, right behind the body; and chunks whose end is broken."""
    assert await submit(head(LENGTH) + BODY + b"HTTP/9 garbage\r\n\r\n") == Accepted(request_id="req-1")
    chunks = b"%x\r\n%s\r\nzz\r\n" % (len(BODY), BODY)
    assert await submit(head(b"Transfer-Encoding: chunked") + chunks) == Accepted(request_id="req-1")


async def test_an_answer_shorter_than_the_larger_of_two_lengths_proves_nothing() -> None:
    """A refusal in it may be half of something else."""
    refusal = b'{"error_code": 400123}'
    lengths = (b"Content-Length: %d" % len(refusal), b"Content-Length: 500")
    status = b"HTTP/1.1 400 Bad Request"
    assert isinstance(await submit(head(*lengths, status=status) + refusal), Unreadable)
    assert isinstance(await submit(head(lengths[0], status=status) + refusal), Refused)


async def test_a_refusal_behind_an_odd_head_is_obeyed_with_its_wait() -> None:
    """A 429 of a gateway pauses the run for as long as it asks for."""
    refusal = head(b"Content-Length: 0", b"Retry-After: 7", b"X Y: z", status=b"HTTP/1.1 429 Slow Down")
    found = await submit(refusal)
    assert isinstance(found, Refused)
    assert (found.cause, found.retry_after) == (RefusalCause.BUSY, 7.0)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"{}", b"HTTPX"])
async def test_what_is_no_http_is_known_at_once(answer: bytes) -> None:
    """A server of another kind that keeps the connection open makes nobody wait for a head."""
    started = asyncio.get_running_loop().time()
    assert isinstance(await submit(answer, keep_open=True), Unreadable)
    assert asyncio.get_running_loop().time() - started < 10


async def test_a_head_without_end_is_given_up() -> None:
    """256 KB are looked at."""
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 60_000
    assert isinstance(await submit(endless, keep_open=True), Unreadable)


async def test_a_connection_with_an_odd_answer_is_not_used_again() -> None:
    """Where one answer breaks the rules, the end of it may be in another place than it seems."""
    connections, ended = 0, asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(head(LENGTH, LENGTH) + BODY)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            await writer.wait_closed()
            ended.release()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, session(keepalive_seconds=60) as client:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for number in (1, 2):
            response: aiohttp.ClientResponse
            async with client.get(url) as response:
                assert await response.read() == BODY
            assert connections == number
            await ended.acquire()
