"""Transmission of a response in the manner of its fault."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from .responses import Answer

MAX_BODY = 64 * 2**20
"""Maximum bytes of a request body, the limit that RunComfy's own clients use."""
_PIECES = 20
_BLOCK = 1 << 16


async def read_body(request: web.BaseRequest) -> bytes | None:
    """Return the body of a call; ``None``: longer than ``MAX_BODY``, and not read further."""
    if (request.content_length or 0) > MAX_BODY:
        return None
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


async def send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Send ``answer``. Never returns if the connection is cut: the lost connection cancels the caller."""
    if answer.manner == "twice":
        _repeat_later(request, answer)
    if answer.manner in {"whole", "twice"}:
        return web.Response(
            status=answer.status, body=answer.body, content_type=answer.media_type, headers=answer.headers
        )
    if answer.manner == "reset":
        await _reset(request)
    return await _stream(request, answer)


def _repeat_later(request: web.BaseRequest, answer: Answer) -> None:
    """Send ``answer`` once more, unrequested, after its ``seconds`` on the idle connection."""
    lines = f"HTTP/1.1 {answer.status} OK", f"Content-Type: {answer.media_type}", f"Content-Length: {len(answer.body)}"
    text = "\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body
    transport = request.transport

    def write() -> None:
        if transport is not None and not transport.is_closing():
            transport.write(text)

    asyncio.get_running_loop().call_later(answer.seconds, write)


async def _stream(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.media_type
    if answer.manner in {"chunked", "endless"}:
        response.enable_chunked_encoding()
    else:
        response.content_length = len(answer.body) + answer.padding + (10 if answer.manner == "long" else 0)
    await response.prepare(request)
    if answer.manner == "long":
        await response.write(answer.body)
        await _hang_up(request)
    if answer.manner == "cut":
        await response.write(answer.body[: len(answer.body) * 2 // 3])
        await _hang_up(request)
    pause = answer.seconds / _PIECES if answer.manner == "trickle" else 0
    await _pour(response, answer.body, pause)
    left = answer.padding
    while left or answer.manner == "endless":
        block = _BLOCK if answer.manner == "endless" else min(left, _BLOCK)
        await response.write(bytes(block))
        left = max(left - block, 0)
        # A fast socket would otherwise block the event loop for other connections.
        await asyncio.sleep(0)
    await response.write_eof()
    return response


async def _pour(response: web.StreamResponse, body: bytes, pause: float) -> None:
    piece = -(-len(body) // _PIECES) or 1
    for start in range(0, len(body), piece):
        await response.write(body[start : start + piece])
        if pause:
            await asyncio.sleep(pause)


async def _reset(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is not None:
        # A linger time of 0 makes the close a reset.
        no_time = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
        transport.abort()
    await _until_lost()


async def _hang_up(request: web.BaseRequest) -> None:
    if request.transport is not None:
        # Bytes written so far are still sent.
        request.transport.close()
    await _until_lost()


async def _until_lost() -> None:
    await asyncio.get_running_loop().create_future()
