"""Event loop helpers: running a loop, and long work in threads beside it.

The loop has to see signals while a pass over a million jobs takes minutes. Work that only reads may be left by a
cancelled caller (``disk.in_thread``, ``pull``); work that writes, or holds something open, is waited for
(``to_its_end``). A results log is not for two threads at once: while one of these reads it, nobody else may use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import ParamSpec, TypeVar

import anyio
from anyio import CancelScope

from runner.core.disk import in_thread

P = ParamSpec("P")

T = TypeVar("T")

E = TypeVar("E", bound=Executor)


async def outlast(event: asyncio.Event) -> asyncio.CancelledError | None:
    """Wait for ``event`` whatever happens; return the cancellation that came meanwhile, for the caller to raise."""
    cancelled = None
    with CancelScope(shield=True):
        while not event.is_set():
            try:
                await event.wait()
            except asyncio.CancelledError as error:  # from outside anyio, which no shield keeps off
                cancelled = error
    return cancelled


async def to_its_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``call`` in a thread. A cancelled caller waits for its end all the same."""
    ended = asyncio.Event()
    work = asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))
    work.add_done_callback(lambda _: ended.set())
    cancelled = await outlast(ended)
    result = work.result()
    if cancelled is not None:
        raise cancelled
    return result


async def pull(items: Iterator[T], most: int = 256) -> list[T]:
    """At most so many of the next ``items``, worked out in a thread; empty at their end."""
    return await in_thread(None, list, islice(items, most))


@asynccontextmanager
async def at_work(threads: E) -> AsyncIterator[E]:
    """``threads``, whose work has come to its end when this is left: a file of gigabytes that is hashed, say."""
    try:
        yield threads
    finally:
        await to_its_end(threads.shutdown)


def run_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` on an event loop, uvloop's where that is installed."""
    return anyio.run(work, backend_options={"use_uvloop": find_spec("uvloop") is not None})
