"""HTTP for the API client and the downloads: sessions, proxies, and mapping of errors."""

from __future__ import annotations

import re
import ssl
import zlib
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import TypeVar

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from yarl import URL

from runner.core.connections import Connector, Exchange, current_exchange
from runner.core.errors import RunnerError
from runner.core.proxies import proxy_for, words_of_proxy
from runner.core.response_heads import MAX_LINE
from runner.core.running_time import Countdown, running_timeout
from runner.core.uploads import Upload

T = TypeVar("T")

CONNECT_SECONDS = 10.0
MAX_CONNECT_SECONDS = 60.0
"""Limit for one connection including all attempts: each address, the tunnel of a proxy, TLS."""
_GZIP, _ZLIB, _DEFLATE = 31, 15, -15
"""Compression formats, as ``wbits`` values of zlib."""
USER_AGENT = "runcomfy-runner"


class ConnectFailed(RunnerError):
    """Failure to connect: nothing has left this machine."""


class ConnectionBroken(RunnerError):
    """Failure after something was sent: a broken connection, or a response that is not HTTP."""


class TooLarge(RunnerError):
    """Body longer than allowed."""


def session(
    *,
    keepalive_seconds: float,
    idle_seconds: float | None = None,
    headers: Mapping[str, str] | None = None,
    resolver: AbstractResolver | None = None,
) -> aiohttp.ClientSession:
    """Return a session without cookies, redirects or automatic decompression.

    The pool does not limit the number of connections; the scheduler does. A connection that was idle for longer than
    ``idle_seconds`` is kept but not reused.
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
    """Timeout for a response; one instance serves any number of exchanges at once.

    Only time in which this process was running counts.
    """

    def __init__(self, seconds: float, *, whole: bool) -> None:
        """Limit the whole response to ``seconds`` if ``whole``; otherwise the headers and each part of the body."""
        self.limits = aiohttp.ClientTimeout(total=None, connect=MAX_CONNECT_SECONDS, sock_connect=CONNECT_SECONDS)
        self._seconds = seconds
        self._whole = whole
        self._too_late = f"no complete answer within {seconds:g} s" if whole else "no answer in time"

    def extended(self, seconds: float) -> AnswerTimeout:
        """Return the same timeout with ``seconds`` more."""
        return AnswerTimeout(self._seconds + seconds, whole=self._whole)

    def bound(self) -> AbstractAsyncContextManager[Countdown | None]:
        """Limit the whole exchange if ``whole``; no limit otherwise. Leaving the context may raise ``TimeoutError``.

        The context gives the countdown; None: no limit.
        """
        return running_timeout(self._seconds) if self._whole else nullcontext()

    def wait(self, part: Awaitable[T]) -> Awaitable[T]:
        """Limit the wait for ``part``: the headers, or a part of the body. Awaiting it may raise ``TimeoutError``."""
        return part if self._whole else _within(self._seconds, part)

    @contextmanager
    def map_errors(self, exchange: Exchange | None = None) -> Iterator[None]:
        """Raise ``ConnectFailed`` or ``ConnectionBroken`` in place of an error of aiohttp or the system.

        ``exchange`` records whether anything was sent.
        """
        exchange = exchange or Exchange()
        token = current_exchange.set(exchange)
        try:
            yield
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # aiohttp keeps a reference to the error: with the traceback, a cycle that keeps blocks of a file in memory
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
    """Yield ``response`` and release its connection on exit; the connection is reusable if the body was read whole."""
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
    body: bytes | Upload | None = None,
    headers: Mapping[str, str] | None = None,
) -> aiohttp.ClientResponse:
    """Send one request without following redirects, and return the response once its headers are received.

    Errors of aiohttp are raised unchanged: callers wrap this call and the reading of the body in ``map_errors`` and
    ``response_of``.
    """
    proxy = proxy_for(url)
    exchange = current_exchange.get()
    if exchange is not None:
        exchange.proxy = proxy
    described = headers if body is None else {**(headers or {}), hdrs.CONTENT_TYPE: "application/json"}
    if isinstance(body, Upload):
        described = {**(described or {}), hdrs.CONTENT_LENGTH: str(body.length)}
    asked = client.request(
        method,
        _as_given(url),
        data=body.pieces() if isinstance(body, Upload) else body,
        headers=described,
        timeout=answer_timeout.limits,
        allow_redirects=False,
        proxy=proxy,
    )
    response = await answer_timeout.wait(asked)
    if isinstance(client.connector, Connector):
        client.connector.heed(response.headers.get("Keep-Alive", ""))
    return response


def at_end(content: aiohttp.StreamReader) -> bool:
    """Tell whether a body was read to its end. False also for a broken body: reading it raises the error."""
    return content.at_eof() and content.exception() is None


_STEPS = r"[^?]*/\.\.?(?:[/?]|\Z)"
_SENDABLE = re.compile(
    rf"https?://[a-z0-9.-]++(?::[0-9]{{1,5}})?(?!{_STEPS})/(?:[A-Za-z0-9._~:/?@!$&'()*+,;=\[\]-]++|%[0-9A-Fa-f]{{2}})*+"
)
"""URL without ``..`` steps and without characters to escape. Possessive quantifiers: no backtracking, since every
request is matched."""


def _words(error: BaseException) -> str:
    """Describe ``error``, never by ``repr``: aiohttp's ``repr`` shows the request headers and thereby the token."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is not valid HTTP: {_first_line(error.message)}"
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
    """Describe why no connection was made; names the ``proxy`` if there is one."""
    reason = "no connection in time" if isinstance(error, TimeoutError) else _words(error)
    if proxy is None:
        return reason
    return words_of_proxy(proxy, error.status if isinstance(error, aiohttp.ClientHttpProxyError) else None, reason)


def _first_line(text: str) -> str:
    """Return the first line of aiohttp's message, without the bytes of the server that follow."""
    return text.strip().partition("\n")[0].partition(": b")[0].rstrip(": ")[:200]


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'reason', None) or error}"  # Python's own SSL errors have no reason
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


async def read_bounded(response: aiohttp.ClientResponse, limit: int, body: bytearray) -> None:
    """Read the whole body into ``body``; on an error ``body`` keeps the bytes received. Raises ``TooLarge``."""
    while not at_end(response.content):
        body += await response.content.readany()
        if len(body) > limit:
            response.close()
            raise TooLarge(f"the answer is longer than {limit:,} bytes")


def decompress(body: bytes, encoding: str, limit: int) -> tuple[bytes, bool]:
    """Return ``body`` decompressed, and True if it is complete. Some gateways compress without being asked.

    ``encoding`` is the value of the header. Gzip is recognised by its first bytes; a body that is neither gzip nor
    deflate is returned unchanged. Raises ``TooLarge`` above ``limit`` bytes.
    """
    forms = [_GZIP] if body.startswith(b"\x1f\x8b") else [_ZLIB, _DEFLATE] if "deflate" in encoding.lower() else []
    for form in forms:
        inflater = zlib.decompressobj(form)
        try:
            plain = inflater.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(plain) > limit:
            raise TooLarge(f"the answer has more than {limit:,} bytes when decompressed")
        return plain, inflater.eof and not inflater.unused_data
    return body, not forms


def _as_given(url: str) -> URL:
    """Return ``url`` unchanged if valid as written, since a storage may have signed it; otherwise quoted by yarl."""
    return URL(url, encoded=_SENDABLE.fullmatch(url) is not None)
