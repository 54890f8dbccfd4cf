"""Connection to the API, or to an emulator inside this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from runner.api.client import Api, connect
from runner.api.config import ApiBase, Token
from runner.core.models import EMULATOR

EMULATOR_STATE = Path(".runner") / "emulator"
"""Folder in the output folder in which the emulator keeps its requests."""


@asynccontextmanager
async def reach(
    base: ApiBase, token: Token, *, state: Path | None = None, now: Callable[[], float] = time.time
) -> AsyncIterator[Api]:
    """Connect to the API ``base``. If it is the emulator, start one with its requests in ``state``.

    ``now`` is the clock of the emulator.
    """
    async with AsyncExitStack() as stack:
        if base.name == EMULATOR:
            from runner.emulator import Options, serve  # noqa: PLC0415 - slow to load, and used by few

            emulator = await stack.enter_async_context(serve(Options(), state=state, now=now))
            base = ApiBase(url=emulator.base, name=EMULATOR)
        yield await stack.enter_async_context(connect(base, token))
