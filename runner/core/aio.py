"""Event loop helpers: running a loop, and running long work in threads beside the loop.

The loop must handle signals while a pass over a million jobs takes minutes. A cancelled caller abandons work that
only reads (``disk.in_thread``, ``pull``), and waits for work that writes or holds something open (``to_its_end``).
A results log must not be used by two threads at once: while one of these helpers reads a log, no other code may use
the log.
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
    """Wait for ``event`` even if cancelled; return the cancellation that arrived meanwhile, for the caller to raise."""
    cancelled = None
    with CancelScope(shield=True):
        while not event.is_set():
            try:
                await event.wait()
            except asyncio.CancelledError as error:  # raised outside anyio: a shield does not block it
                cancelled = error
    return cancelled


async def to_its_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``call`` in a thread and wait until it ends, even if the caller is cancelled."""
    ended = asyncio.Event()
    work = asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))
    work.add_done_callback(lambda _: ended.set())
    cancelled = await outlast(ended)
    result = work.result()
    if cancelled is not None:
        raise cancelled
    return result


async def pull(items: Iterator[T], most: int = 256) -> list[T]:
    """Return at most ``most`` of the next ``items``, computed in a thread; an empty list if no items are left."""
    return await in_thread(None, list, islice(items, most))


@asynccontextmanager
async def at_work(threads: E) -> AsyncIterator[E]:
    """Yield ``threads``, and wait on exit until their work has ended: for example the hash of a file of gigabytes."""
    try:
        yield threads
    finally:
        await to_its_end(threads.shutdown)


def run_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` on an event loop: uvloop if installed, otherwise asyncio's own."""
    return anyio.run(work, backend_options={"use_uvloop": find_spec("uvloop") is not None})
