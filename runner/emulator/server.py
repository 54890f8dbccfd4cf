"""Server of the emulator on a loopback socket."""

from __future__ import annotations

import ipaddress
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from .app import Emulator
from .options import Options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

_FOREVER = 1e6


@asynccontextmanager
async def serve(
    options: Options | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    state: Path | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Emulator]:
    """Serve until the end of the block; unfinished calls are then dropped.

    ``port`` 0 selects a free port. ``state`` is a folder that keeps the requests for the next start. ``now`` returns
    the time in seconds since the epoch. Raises ``ValueError`` for a host that other machines can reach or a ``state``
    that cannot be read, ``OSError`` if the port is taken or the folder cannot be written.
    """
    _refuse_others(host)
    emulator = Emulator(options or Options(), now)
    server = web.Server(
        emulator.handle,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_FOREVER,
        tcp_keepalive=False,
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.05)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=4096, reuse_address=True)
        await site.start()
        emulator.open(_origin(runner.addresses[0]), state)
        yield emulator
    finally:
        # The socket must be closed even if the caller was cancelled.
        with anyio.CancelScope(shield=True):
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()
        emulator.close()


def _refuse_others(host: str) -> None:
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(f"the emulator lets anybody in, so it serves this machine only, not {host!r}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
