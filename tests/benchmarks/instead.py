"""What people write instead, to compare with: a script that polls every second, and the bare three requests.

    python tests/benchmarks/instead.py script|bare BASE JOBS LANES FOLDER

Neither keeps a record of what was bought. ``script`` is what a competent engineer writes in twenty lines; ``bare`` does
not even wait, so it only serves where the answer is there at once: the least that a client of this API can do.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

KLEIN: Final = "blackforestlabs/flux-2-klein/4b/text-to-image"
AUTHORIZATION = {"Authorization": "Bearer benchmark"}
POLL_SECONDS = {"script": 1.0, "bare": 0.0}
DECODE = msgspec.json.decode


def prompt_of(number: int) -> str:
    """A few prompts for all: each picture is drawn once, and then it is not the emulator's pencil that is measured."""
    return f"picture {number % 16}"


async def carry(session: aiohttp.ClientSession, base: str, number: int, folder: Path, pause: float) -> None:
    """Buy one picture and keep it."""
    body = msgspec.json.encode({"prompt": prompt_of(number), "width": 64, "height": 64})
    request_id = (await call(session, "POST", f"{base}/models/{KLEIN}", body))["request_id"]
    answer = await call(session, "GET", f"{base}/requests/{request_id}/result")
    while "output" not in answer:
        await asyncio.sleep(pause)
        answer = await call(session, "GET", f"{base}/requests/{request_id}/result")
    async with session.get(answer["output"]["image"]) as response:
        (folder / f"job-{number}.png").write_bytes(await response.read())


async def call(session: aiohttp.ClientSession, method: str, url: str, body: bytes | None = None) -> dict[str, Any]:
    headers = {**AUTHORIZATION, "Content-Type": "application/json"}
    async with session.request(method, url, data=body, headers=headers) as response:
        found: dict[str, Any] = DECODE(await response.read())
        return found


async def run(base: str, jobs: int, lanes: int, folder: Path, pause: float) -> None:
    """All of them, so many at once."""
    numbers = iter(range(jobs))

    async def lane(mine: Iterator[int]) -> None:
        for number in mine:
            await carry(session, base, number, folder, pause)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        await asyncio.gather(*(lane(numbers) for _ in range(lanes)))


def main() -> None:
    kind, base, jobs, lanes, folder = sys.argv[1:]
    Path(folder).mkdir(parents=True)
    work = run(base, int(jobs), int(lanes), Path(folder), POLL_SECONDS[kind])
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
