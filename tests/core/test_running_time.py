"""Timeouts that count only the time in which the process ran."""

from __future__ import annotations

import asyncio
import time

import pytest

from runner.core import running_time
from runner.core.running_time import running_timeout

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_standstill_does_not_use_up_a_timeout() -> None:
    """What has come meanwhile takes a few turns of the loop to be read, and gets them."""
    async with running_timeout(0.3):
        time.sleep(0.6)  # noqa: ASYNC251 - nothing runs, as after SIGSTOP
        for _ in range(5):
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("seconds", [0.05, 0.25])
async def test_a_timeout_ends_where_nothing_comes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """In one step, and in several."""
    monkeypatch.setattr(running_time, "STEP_SECONDS", 0.1)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with running_timeout(seconds):
            await asyncio.Event().wait()
    assert time.monotonic() - begun >= seconds - 0.01


async def test_a_timeout_ends_on_a_machine_that_is_always_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait ends: steps that end late are passed over so many times and no more."""
    monkeypatch.setattr(running_time, "LATE_SECONDS", -1.0)
    monkeypatch.setattr(running_time, "MOST_LATE", 3)
    with pytest.raises(TimeoutError):
        async with running_timeout(0.01):
            await asyncio.Event().wait()
