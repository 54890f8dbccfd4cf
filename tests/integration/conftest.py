"""Fixtures of the tests that run whole batches in this process, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from support.harness import Service
from support.virtual_time import EPOCH, VirtualLoop

from runner.emulator import Options, serve


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture
async def make_service(tmp_path: Path) -> AsyncIterator[Any]:
    """Start services with emulator options of one's own."""
    async with AsyncExitStack() as stack:

        async def make(folder: str = "project", **options: Any) -> Service:
            home = tmp_path / folder
            home.mkdir(exist_ok=True)
            loop = asyncio.get_running_loop()
            behaviour = Options(**{"seconds": 1.0, "workers": 4, **options})
            context = serve(behaviour, now=lambda: EPOCH + loop.time())
            return Service(await stack.enter_async_context(context), home)

        yield make


@pytest.fixture
async def service(make_service: Any) -> Service:
    return await make_service()
