"""Running an event loop: the program's, and that of a shard on a worker of a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TypeVar

import anyio

T = TypeVar("T")


def run_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` on an event loop, uvloop's where that is installed."""
    return anyio.run(work, backend_options={"use_uvloop": find_spec("uvloop") is not None})
