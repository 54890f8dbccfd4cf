"""Dask ``distributed`` as far as it is used: reaching a cluster, asking its workers, handing a shard to one of them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it has none
import distributed

from runner.cluster import probe as probing
from runner.cluster.messages import News, Order, Outcome, decode
from runner.cluster.work import interrupt, run_shard
from runner.errors import Unavailable

LOCAL = "local"
REACH_SECONDS = 30
_AGREED = ("python", "distributed")
"""Of what the workers say of their versions: what has to be the same."""


class Engine:
    """A cluster that is reached."""

    def __init__(self, client: distributed.Client) -> None:
        self._client: Any = client

    async def workers(self) -> dict[str, int]:
        """Addresses, and how many tasks each does at a time."""
        found = (await self._client.scheduler.identity(n_workers=-1))["workers"]
        return {address: worker["nthreads"] for address, worker in found.items()}

    async def versions(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """Of the libraries that have to agree: ours, and those of each worker."""
        found = await self._client.get_versions()
        return _agreed(found["client"]), {name: _agreed(worker) for name, worker in found["workers"].items()}

    async def probe(self, *arguments: object) -> Mapping[str, dict[str, str] | BaseException]:
        """What each worker has; see ``probe``."""
        cloudpickle.register_pickle_by_value(probing)
        try:
            answers: Mapping[str, Any] = await self._client.run(probing.probe, *arguments, on_error="return")
        finally:
            cloudpickle.unregister_pickle_by_value(probing)
        return answers

    def listen(self, run: str, hear: Callable[[News], None]) -> None:
        """Hand over what the shards of ``run`` tell."""
        self._client.subscribe_topic(run, lambda event: hear(decode(event[1])))

    async def run(self, order: Order, key: str) -> Outcome:
        """Have a shard run to its end, wherever there is room; again elsewhere where a worker dies."""
        task = self._client.submit(run_shard, order, key=key, pure=False, retries=0)
        try:
            outcome: Outcome = await task
        except distributed.KilledWorker:
            return Outcome(error="every worker that ran it died; it was begun four times", exit_code=75)
        except Exception as error:  # noqa: BLE001 - whatever a scheduler that went away makes of it
            return Outcome(
                error=f"the cluster did not run it to its end ({type(error).__name__}: {error})", exit_code=75
            )
        return outcome

    async def interrupt(self, run: str, reason: str) -> None:
        """End the shards of ``run`` gently, wherever they are."""
        await self._client.run(interrupt, run, reason, on_error="ignore")


@asynccontextmanager
async def reach(address: str) -> AsyncIterator[Engine]:
    """The cluster at ``address``; ``local``: processes of this machine, one a processor. Raises ``Unavailable``."""
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(await _connect(address, stack))
        except (OSError, ValueError) as error:
            raise Unavailable(f"the cluster at {address} cannot be reached: {error}. Nothing was bought.") from error
        yield Engine(client)


async def _connect(address: str, stack: AsyncExitStack) -> Any:  # the engine has no types
    if address != LOCAL:
        return distributed.Client(address, asynchronous=True, timeout=REACH_SECONDS)  # type: ignore[no-untyped-call]
    cluster = distributed.LocalCluster(  # type: ignore[no-untyped-call]
        threads_per_worker=1, dashboard_address=None, asynchronous=True, silence_logs=logging.CRITICAL
    )
    started = await stack.enter_async_context(cluster)
    return distributed.Client(started, asynchronous=True)  # type: ignore[no-untyped-call]


def _agreed(found: Mapping[str, Any]) -> dict[str, str]:
    packages = {**found.get("packages", {})}
    python = str(packages.get("python", "")).split(".")
    return {name: ".".join(python[:2]) if name == "python" else str(packages.get(name)) for name in _AGREED}
