"""Connections to the API and the storage: where sending begins, and which connections are used again.

The border between sent and not sent is the moment at which a request is given its connection: before it no byte of the
request has left, whatever a proxy did meanwhile.
"""

from __future__ import annotations

import re
import select
from asyncio import get_running_loop
from contextvars import ContextVar
from functools import partial
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from runner.core.proxies import socks_url
from runner.core.response_heads import end_of_head, is_interim, mend_head


class Exchange:
    """What became of one request so far."""

    def __init__(self) -> None:
        self.sent = False
        """Whether a byte of it may have left. False is proof that none has."""
        self.proxy: str | None = None
        """The proxy that it goes through."""


current_exchange: ContextVar[Exchange | None] = ContextVar("current_exchange", default=None)


class MendingHandler(ResponseHandler):
    """A connection that mends the head of each answer before aiohttp reads it."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._head: bytearray | None = None
        """What came so far of the head that is awaited; None while none is."""

    def set_response_params(self, **params: Any) -> None:
        """Prepare for the answer to the next request."""
        self._head = bytearray()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Pass on a head once it is whole, then the body apart from it: what is wrong there does not spoil the head."""
        if self._head is None or not data:
            super().data_received(data)
            return
        seen = len(self._head)
        self._head += data if seen else data.lstrip(b"\r\n")
        end = end_of_head(self._head, seen)
        if end == 0:
            return
        came, self._head = bytes(self._head), None
        if end is None:
            super().data_received(came)
            return
        head, rest = came[:end], came[end:]
        if is_interim(head):
            self._head = bytearray()
        super().data_received(mend_head(head))
        if rest:
            self.data_received(rest)


class Connector(aiohttp.TCPConnector):
    """A pool that looks at a connection before it is used again, and knows SOCKS proxies."""

    def __init__(self, *, idle_seconds: float, **options: Any) -> None:
        """``idle_seconds``: a connection that was idle for so long is not used again."""
        super().__init__(**options)
        factory: Any = partial(MendingHandler, loop=self._loop)
        self._factory = factory
        self._options = options
        self.idle_seconds = idle_seconds
        self._idle_since: WeakKeyDictionary[ResponseHandler, float] = WeakKeyDictionary()
        self._through_socks: dict[str, aiohttp.TCPConnector] = {}

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:  # noqa: ASYNC109 - aiohttp's
        """Return a connection for ``req``; from then on it counts as sent."""
        pool = self._pool_of(req)
        while True:
            if pool is self:
                connection = await super().connect(req, traces, timeout)
            else:
                connection = await _connect_through(pool, req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or self._is_usable(protocol):
                break
            connection.close()
        if protocol is not None:
            connection.add_callback(lambda: self._put_down(protocol))
        exchange = current_exchange.get()
        if exchange is not None:
            exchange.sent = True
        return connection

    def heed(self, keep_alive: str) -> None:
        """Use connections for half as long as the server allows with ``Keep-Alive: timeout=N``, if that is less."""
        said = re.search(r"timeout\s*=\s*\"?(\d{1,9})", keep_alive, re.IGNORECASE) if keep_alive else None
        if said is not None:
            self.idle_seconds = min(self.idle_seconds, int(said[1]) / 2)

    def _pool_of(self, req: Any) -> aiohttp.TCPConnector:
        """This pool, or that of the SOCKS proxy which ``req`` goes through."""
        url = socks_url(str(req.proxy)) if req.proxy is not None else None
        if url is None:
            return self
        if url not in self._through_socks:
            if find_spec("aiohttp_socks") is None:
                raise aiohttp.ClientConnectionError("it speaks SOCKS, which needs the extra `socks`")
            from aiohttp_socks import ProxyConnector  # noqa: PLC0415 - an extra

            pool = self._through_socks[url] = ProxyConnector.from_url(url, rdns=True, **self._options)
            pool._factory = self._factory  # noqa: SLF001 - how aiohttp's pools make a connection
        return self._through_socks[url]

    def _put_down(self, protocol: ResponseHandler) -> None:
        self._idle_since[protocol] = get_running_loop().time()

    def _is_usable(self, protocol: ResponseHandler) -> bool:
        """Tell whether it is new, or was idle for a moment only and nothing has come meanwhile: bytes, or its end."""
        since = self._idle_since.get(protocol)
        if since is None:
            return True
        if get_running_loop().time() - since >= self.idle_seconds or protocol.should_close:
            return False
        transport = protocol.transport
        return transport is not None and not _is_readable(transport.get_extra_info("socket"))

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all connections."""
        for pool in self._through_socks.values():
            await pool.close(abort_ssl=abort_ssl)
        await super().close(abort_ssl=abort_ssl)


async def _connect_through(pool: aiohttp.TCPConnector, req: Any, traces: Any, limits: Any) -> Connection:
    """Return a connection through a SOCKS proxy. Its errors become aiohttp's."""
    from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError  # noqa: PLC0415 - an extra

    req.proxy = None  # the pool is the proxy's
    try:
        return await pool.connect(req, traces, limits)
    except (ProxyConnectionError, ProxyError, ProxyTimeoutError, EOFError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from None


def _is_readable(socket: Any) -> bool:
    """Tell whether something waits to be read that nobody asked for: bytes, or the end of the connection."""
    if socket is None or socket.fileno() < 0:
        return True
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([socket.fileno()], [], [], 0)[0])
