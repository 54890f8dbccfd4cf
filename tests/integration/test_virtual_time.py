"""The loop of the tests: no thread is late because a machine is slow."""

from __future__ import annotations

import asyncio
import threading

from support.virtual_time import VirtualLoop


def test_the_end_of_a_loop_waits_for_its_threads_and_no_time_passes() -> None:
    """From Python 3.12 on they get 300 seconds; a thread that still works leaves the clock where it is."""
    runner = asyncio.Runner(loop_factory=VirtualLoop)
    loop = runner.get_loop()
    assert isinstance(loop, VirtualLoop)
    given_up = threading.Event()

    def work_on() -> None:
        until = loop.turns + 10
        while loop.turns < until and not given_up.wait(0.001):
            pass

    async def leave() -> None:
        loop.run_in_executor(None, work_on).cancel()

    began = loop.time()
    try:
        runner.run(leave())
        runner.close()  # a warning, as of threads that are given up, is an error
    finally:
        given_up.set()
    assert loop.time() == began
