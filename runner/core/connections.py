"""Connections to the API and the storage: the moment a request counts as sent, and the reuse of connections.

A request counts as sent from the moment it is given a connection. Before this moment no byte of the request has left
the machine, whatever a proxy did.
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
    """Progress of one HTTP request."""

    def __init__(self) -> None:
        self.sent = False
        """True if a byte of the request may have left the machine; False proves that none has."""
        self.proxy: str | None = None
        """Proxy that the request goes through; None: no proxy."""


current_exchange: ContextVar[Exchange | None] = ContextVar("current_exchange", default=None)


class MendingHandler(ResponseHandler):
    """Connection that repairs the head of each response before aiohttp parses it."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._head: bytearray | None = None
        """Bytes received of the expected head; None: no head is expected."""

    def set_response_params(self, **params: Any) -> None:
        """Prepare for the response to the next request."""
        self._head = bytearray()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Pass on a complete head, then the body separately, so that an error in the body does not affect the head."""
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
    """Connection pool that checks a connection before reuse, and supports SOCKS proxies."""

    def __init__(self, *, idle_seconds: float, **options: Any) -> None:
        """Create the pool. A connection that was idle for ``idle_seconds`` is not reused."""
        super().__init__(**options)
        factory: Any = partial(MendingHandler, loop=self._loop)
        self._factory = factory
        self._options = options
        self.idle_seconds = idle_seconds
        self._idle_since: WeakKeyDictionary[ResponseHandler, float] = WeakKeyDictionary()
        self._through_socks: dict[str, aiohttp.TCPConnector] = {}

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:  # noqa: ASYNC109 - aiohttp's
        """Return a connection for ``req``, and mark the current exchange as sent."""
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
        """Lower ``idle_seconds`` to half of N if the server sends ``Keep-Alive: timeout=N``."""
        said = re.search(r"timeout\s*=\s*\"?(\d{1,9})", keep_alive, re.IGNORECASE) if keep_alive else None
        if said is not None:
            self.idle_seconds = min(self.idle_seconds, int(said[1]) / 2)

    def _pool_of(self, req: Any) -> aiohttp.TCPConnector:
        """Return the pool of the SOCKS proxy that ``req`` goes through, or this pool."""
        url = socks_url(str(req.proxy)) if req.proxy is not None else None
        if url is None:
            return self
        if url not in self._through_socks:
            if find_spec("aiohttp_socks") is None:
                raise aiohttp.ClientConnectionError("it is a SOCKS proxy, which needs the extra `socks`")
            from aiohttp_socks import ProxyConnector  # noqa: PLC0415 - an extra

            pool = self._through_socks[url] = ProxyConnector.from_url(url, rdns=True, **self._options)
            pool._factory = self._factory  # noqa: SLF001 - aiohttp's pools create connections with it
        return self._through_socks[url]

    def _put_down(self, protocol: ResponseHandler) -> None:
        self._idle_since[protocol] = get_running_loop().time()

    def _is_usable(self, protocol: ResponseHandler) -> bool:
        """Tell whether ``protocol`` is new, or was idle only briefly and received neither bytes nor the end."""
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
    """Return a connection through a SOCKS proxy; its errors are raised as errors of aiohttp."""
    from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError  # noqa: PLC0415 - an extra

    req.proxy = None  # the pool already connects through the proxy
    try:
        return await pool.connect(req, traces, limits)
    except (ProxyConnectionError, ProxyError, ProxyTimeoutError, EOFError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from None


def _is_readable(socket: Any) -> bool:
    """Tell whether an idle socket has something to read: unexpected bytes, or the end of the connection."""
    if socket is None or socket.fileno() < 0:
        return True
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([socket.fileno()], [], [], 0)[0])
