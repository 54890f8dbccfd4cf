"""Limit of ``--buy``: many workers may wait for the last room."""

from __future__ import annotations

import anyio

from runner.engine.purchase_limit import PurchaseLimit
from runner.engine.stop import Stop


class CountingStop(Stop):
    """Stop that counts how many wait for it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = self.most = 0

    async def wait(self, seconds: float | None = None) -> bool:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            return await super().wait(seconds)
        finally:
            self.waiting -= 1


def test_one_worker_looks_for_room_and_all_end_when_the_purchase_is_made():
    """While the API pauses the last submission of `--buy 1`, a thousand workers cost no CPU, and none hangs."""

    async def play() -> tuple[list[bool], int]:
        stop, got = CountingStop(), list[bool]()
        limit = PurchaseLimit(stop, 1)
        assert await limit.acquire()

        async def worker() -> None:
            got.append(await limit.acquire())

        async with anyio.create_task_group() as group:
            for _ in range(1000):
                group.start_soon(worker)
            await anyio.wait_all_tasks_blocked()
            limit.release(made=True)
        return got, stop.most

    assert anyio.run(play) == ([False] * 1000, 1)
