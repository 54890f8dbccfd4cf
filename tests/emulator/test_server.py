"""The emulator starts and stops cleanly, wherever it runs."""

import asyncio
import time
from contextlib import suppress

import aiohttp
import anyio
import pytest

from runner.emulator import InjectedFault, Options, serve

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
HEADERS = {"Authorization": "Bearer token"}


async def hang(session, emulator):
    """A submission that is being handled and will not be answered."""

    async def ask():
        with suppress(aiohttp.ClientError):
            await session.post(f"{emulator.base}/models/{KLEIN}", json={"prompt": "x"}, headers=HEADERS)

    before = sum(emulator.stats["faults"].values())
    task = asyncio.create_task(ask())
    while sum(emulator.stats["faults"].values()) == before:  # noqa: ASYNC110 - there is no event on the other side of a socket
        await asyncio.sleep(0)
    return task


async def leave_in_the_middle():
    """Seconds it takes to stop while calls hang and a file never ends."""
    faults = (InjectedFault(on="submit", kind="hang", after=1), InjectedFault(on="file", kind="huge"))
    async with aiohttp.ClientSession() as session:
        async with serve(Options(faults=faults, seconds=0)) as emulator:
            url = f"{emulator.base}/models/{KLEIN}"
            async with session.post(url, json={"prompt": "x", "width": 64}, headers=HEADERS) as response:
                request_id = (await response.json())["request_id"]
            async with session.get(f"{emulator.base}/requests/{request_id}/result", headers=HEADERS) as response:
                endless = await session.get((await response.json())["output"]["image"])
            waiting = [await hang(session, emulator) for _ in range(3)]
            start = time.perf_counter()
        took = time.perf_counter() - start
        endless.close()
        await asyncio.gather(*waiting)
    return took


@pytest.mark.anyio
async def test_leaving_drops_what_hangs_at_once():
    """Neither a hanging call nor an endless file holds it up."""
    assert await leave_in_the_middle() < 0.2


def test_it_runs_on_uvloop():
    """The same, resets included, on the faster loop."""
    uvloop = pytest.importorskip("uvloop")

    async def reset():
        options = Options(faults=(InjectedFault(on="models", kind="reset"),))
        async with serve(options) as emulator, aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientOSError):
                await session.get(f"{emulator.base}/models", headers=HEADERS)

    uvloop.run(reset())
    assert uvloop.run(leave_in_the_middle()) < 0.2


@pytest.mark.anyio
async def test_a_cancelled_block_still_closes_the_socket():
    """The port is free again although whoever served was cancelled."""
    with anyio.CancelScope() as scope:
        async with serve() as emulator:
            port = int(emulator.origin.rpartition(":")[2])
            scope.cancel()
            await anyio.sleep(1)
    async with serve(port=port) as emulator:
        assert emulator.origin == f"http://127.0.0.1:{port}"


@pytest.mark.anyio
async def test_a_taken_port_is_an_error():
    """Said at once, and nothing stays open."""
    async with serve() as emulator:
        with pytest.raises(OSError, match="in use"):
            async with serve(port=int(emulator.origin.rpartition(":")[2])):
                pass


@pytest.mark.anyio
async def test_an_abandoned_hang_is_forgotten():
    """A client that hangs up ends the handler too."""
    async with serve(Options(faults=(InjectedFault(on="submit", kind="hang"),))) as emulator:
        async with aiohttp.ClientSession() as session:
            task = await hang(session, emulator)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with anyio.fail_after(1):
            while any("handle" in repr(task) for task in asyncio.all_tasks()):  # noqa: ASYNC110 - there is no event on the other side of a socket
                await asyncio.sleep(0)
