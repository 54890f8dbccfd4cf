"""Signals of a run: the first ends the run gracefully, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import anyio

from runner.cli.arguments import T
from runner.cli.display import RunDisplay
from runner.core.errors import one_error
from runner.engine.stop import GRACE_SECONDS, Stop


def signals() -> list[signal.Signals]:
    """Return the signals that end a run gracefully.

    SIGTERM and SIGHUP are left out if the process was started with the signal ignored, as ``nohup`` does with SIGHUP.
    """
    found = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in found if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN]


async def attend(work: Callable[[Stop], Awaitable[T]], watch: RunDisplay) -> T:
    """Do ``work`` while listening for signals and displaying the progress."""
    stop = Stop()
    watch.heed(stop)
    with one_error():
        async with anyio.create_task_group() as group:
            group.start_soon(_heed_signals, stop, watch)
            group.start_soon(watch.tick)
            result = await work(stop)
            group.cancel_scope.cancel()
    return result


async def _heed_signals(stop: Stop, watch: RunDisplay) -> None:
    """End the run gracefully at the first signal, and the process at the second. Nothing is lost in either case."""
    with anyio.open_signal_receiver(*signals()) as received:
        async for number in received:
            name = signal.Signals(number).name
            if stop.interrupted.is_set():
                watch.abandoned(name)
                os._exit(75)
            stop.interrupt(f"interrupted by {name}")
            watch.interrupted(name, GRACE_SECONDS)
