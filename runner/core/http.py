"""HTTP for the API client and the downloads: sessions, proxies, and the mapping of errors."""

from __future__ import annotations

import re
import ssl
import zlib
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import TypeVar

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from yarl import URL

from runner.core.connections import Connector, Exchange, current_exchange
from runner.core.errors import RunnerError
from runner.core.proxies import proxy_for, words_of_proxy
from runner.core.response_heads import MAX_LINE
from runner.core.running_time import running_timeout

T = TypeVar("T")

CONNECT_SECONDS = 10.0
MAX_CONNECT_SECONDS = 60.0
"""Of all that is tried for one connection: each address, a proxy's tunnel, TLS."""
_GZIP, _ZLIB, _DEFLATE = 31, 15, -15
"""Forms of compression, as zlib counts them."""
USER_AGENT = "runcomfy-runner"


class ConnectFailed(RunnerError):
    """No connection was made: nothing has left this machine."""


class ConnectionBroken(RunnerError):
    """The exchange broke off after something was sent, or its answer is no HTTP."""


class TooLarge(RunnerError):
    """The body is longer than was allowed."""


def session(
    *,
    keepalive_seconds: float,
    idle_seconds: float | None = None,
    headers: Mapping[str, str] | None = None,
    resolver: AbstractResolver | None = None,
) -> aiohttp.ClientSession:
    """A session whose pool is no limit (the scheduler is), without cookies, redirects or decompression of its own.

    ``idle_seconds``: a connection that was idle for longer is not used again, though it is kept.
    """
    connector = Connector(
        idle_seconds=keepalive_seconds if idle_seconds is None else idle_seconds,
        limit=0,
        keepalive_timeout=keepalive_seconds,
        ttl_dns_cache=300,
        resolver=resolver,
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers={hdrs.USER_AGENT: USER_AGENT, hdrs.ACCEPT_ENCODING: "identity", **(headers or {})},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
    )


class AnswerTimeout:
    """How long to wait for an answer. One serves any number of exchanges at once.

    Only time in which this process ran counts.
    """

    def __init__(self, seconds: float, *, whole: bool) -> None:
        """``whole``: the answer has to be complete in ``seconds``, however it drips in; else headers and each piece."""
        self.limits = aiohttp.ClientTimeout(total=None, connect=MAX_CONNECT_SECONDS, sock_connect=CONNECT_SECONDS)
        self._seconds = seconds
        self._whole = whole
        self._too_late = f"no whole answer within {seconds:g} s" if whole else "no answer in time"

    def bound(self) -> AbstractAsyncContextManager[None]:
        """Bound the whole exchange, where the answer has to be complete. Leaving it may raise ``TimeoutError``."""
        return running_timeout(self._seconds) if self._whole else nullcontext()

    def wait(self, part: Awaitable[T]) -> Awaitable[T]:
        """Bound the wait for ``part``: the headers, or a piece of the body. Awaiting it may raise ``TimeoutError``."""
        return part if self._whole else _within(self._seconds, part)

    @contextmanager
    def map_errors(self, exchange: Exchange | None = None) -> Iterator[None]:
        """Raise ``ConnectFailed`` or ``ConnectionBroken`` in place of an error of aiohttp's or the system's.

        ``exchange`` is told whether anything was sent.
        """
        exchange = exchange or Exchange()
        token = current_exchange.set(exchange)
        try:
            yield
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # aiohttp keeps the error where its traceback leads: a cycle that would keep blocks of a file alive
            error = error.with_traceback(None)
            if not exchange.sent:
                raise ConnectFailed(_words_of_no_connection(error, exchange.proxy)) from None
            raise ConnectionBroken(self._too_late if isinstance(error, TimeoutError) else _words(error)) from None
        finally:
            current_exchange.reset(token)


async def _within(seconds: float, part: Awaitable[T]) -> T:
    async with running_timeout(seconds):
        return await part


@contextmanager
def response_of(response: aiohttp.ClientResponse) -> Iterator[aiohttp.ClientResponse]:
    """Release the connection of ``response`` in the end: free again where the answer was read to its end."""
    try:
        yield response
    finally:
        if not response.closed:
            response.release()


async def send(
    client: aiohttp.ClientSession,
    method: str,
    url: str,
    answer_timeout: AnswerTimeout,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> aiohttp.ClientResponse:
    """Send one request, following no redirect. Return the answer as soon as its headers are there.

    aiohttp's errors are raised as they are: callers wrap this, and the reading of the body, in ``map_errors`` and
    ``response_of``.
    """
    proxy = proxy_for(url)
    exchange = current_exchange.get()
    if exchange is not None:
        exchange.proxy = proxy
    asked = client.request(
        method,
        _as_given(url),
        data=body,
        headers=headers if body is None else {**(headers or {}), hdrs.CONTENT_TYPE: "application/json"},
        timeout=answer_timeout.limits,
        allow_redirects=False,
        proxy=proxy,
    )
    response = await answer_timeout.wait(asked)
    if isinstance(client.connector, Connector):
        client.connector.heed(response.headers.get("Keep-Alive", ""))
    return response


def at_end(content: aiohttp.StreamReader) -> bool:
    """True if a body is read to its end, so that nothing more comes; False also where it broke off: reading says so."""
    return content.at_eof() and content.exception() is None


_STEPS = r"[^?]*/\.\.?(?:[/?]|\Z)"
_SENDABLE = re.compile(
    rf"https?://[a-z0-9.-]++(?::[0-9]{{1,5}})?(?!{_STEPS})/(?:[A-Za-z0-9._~:/?@!$&'()*+,;=\[\]-]++|%[0-9A-Fa-f]{{2}})*+"
)
"""An address without steps up, where nothing is to be escaped. No part is tried twice: every request passes here."""


def _words(error: BaseException) -> str:
    """What went wrong, never by ``repr``: aiohttp's shows the request's headers, and so the token."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is no valid HTTP: {_first_line(error.message)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer ended early"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {error.host}: {_reason(error.os_error)}"
    return _reason(error)


def _words_of_no_connection(error: BaseException, proxy: str | None) -> str:
    """Why no connection was made, and where a proxy is to blame."""
    reason = "no connection in time" if isinstance(error, TimeoutError) else _words(error)
    if proxy is None:
        return reason
    return words_of_proxy(proxy, error.status if isinstance(error, aiohttp.ClientHttpProxyError) else None, reason)


def _first_line(text: str) -> str:
    """What is wrong, without the server's own bytes, which come after it."""
    return text.strip().partition("\n")[0].partition(": b")[0].rstrip(": ")[:200]


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'reason', None) or error}"  # without one where Python itself raised it
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


async def read_bounded(response: aiohttp.ClientResponse, limit: int, body: bytearray) -> None:
    """Read the whole body into ``body``, which keeps what came where that fails. Raises ``TooLarge`` past ``limit``."""
    while not at_end(response.content):
        body += await response.content.readany()
        if len(body) > limit:
            response.close()
            raise TooLarge(f"the answer is longer than {limit:,} bytes")


def decompress(body: bytes, encoding: str, limit: int) -> tuple[bytes, bool]:
    """``body`` without gzip or deflate, which some gateways use unasked, and whether it came to its end.

    ``encoding`` is what the header says; gzip is known by its first bytes, and what is neither stays as it is. Raises
    ``TooLarge`` past ``limit``.
    """
    forms = [_GZIP] if body.startswith(b"\x1f\x8b") else [_ZLIB, _DEFLATE] if "deflate" in encoding.lower() else []
    for form in forms:
        inflater = zlib.decompressobj(form)
        try:
            plain = inflater.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(plain) > limit:
            raise TooLarge(f"the answer, gzip or deflate, has more than {limit:,} bytes when it is decompressed")
        return plain, inflater.eof and not inflater.unused_data
    return body, not forms


@lru_cache  # of submissions all but a few go to the same address
def _as_given(url: str) -> URL:
    """The address to the letter, where it can be sent so: a storage may have signed it. Else as yarl mends it."""
    return URL(url, encoded=_SENDABLE.fullmatch(url) is not None)
