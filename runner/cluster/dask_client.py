"""Client of a Dask cluster: connects, queries the workers, and runs shards on them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio
import cloudpickle  # type: ignore[import-untyped]  # has no types
import distributed

from runner.cluster import worker_entry as probing
from runner.cluster import worker_signals
from runner.cluster.messages import ShardOrder, ShardOutcome, ShardUpdate, decode
from runner.cluster.worker import beat, interrupt
from runner.core.errors import Unavailable

LOCAL = "local"
REACH_SECONDS = 10
TELL_SECONDS = 5
_AGREED = ("python", "distributed")
"""Versions of a worker that must match this machine's."""


class ClusterClient:
    """Connection to a cluster."""

    def __init__(self, client: distributed.Client) -> None:
        self._client: Any = client

    @property
    def gone(self) -> bool:
        """Return True if the connection to the scheduler was lost, and with it all tasks."""
        return bool(self._client.status != "running")

    async def workers(self) -> dict[str, int]:
        """Return the addresses of the workers, with the number of tasks that each runs at a time."""
        found = (await self._client.scheduler.identity(n_workers=-1))["workers"]
        return {address: worker["nthreads"] for address, worker in found.items()}

    async def versions(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """Return the versions that must match: those of this machine, and those of each worker."""
        found = await self._client.get_versions()
        return _agreed(found["client"]), {name: _agreed(worker) for name, worker in found["workers"].items()}

    async def probe(self, *arguments: object) -> Mapping[str, dict[str, str] | BaseException]:
        """Call ``worker_entry.probe`` on each worker, and return the results or exceptions."""
        with _carried():
            answers: Mapping[str, Any] = await self._client.run(probing.probe, *arguments, on_error="return")
        return answers

    def listen(self, run: str, hear: Callable[[ShardUpdate], None]) -> None:
        """Call ``hear`` with each update from the shards of ``run``."""
        self._client.subscribe_topic(run, lambda event: hear(decode(event[1])))

    async def run(self, order: ShardOrder, key: str, unfit: Collection[str] = ()) -> ShardOutcome:
        """Run a shard to its end on any worker with room; Dask restarts the shard elsewhere if its worker dies.

        The ``unfit`` workers are avoided as long as there are others.
        """
        try:
            fit = [worker for worker in await self.workers() if worker not in unfit] if unfit else None
            with _carried():
                words = probing.begin, order.version, pickle.dumps(order)
                where = {"workers": fit, "allow_other_workers": True} if fit else {}
                task = self._client.submit(*words, key=key, pure=False, retries=0, **where)
            outcome = await task
        except distributed.KilledWorker:
            return ShardOutcome(error="its workers died, one after another", exit_code=75)
        except Exception as error:  # noqa: BLE001 - the loss of the scheduler may end a task with any error
            why = f"the cluster did not complete it ({type(error).__name__}: {error})"
            return ShardOutcome(error=why, exit_code=75)
        if isinstance(outcome, ShardOutcome):
            return outcome
        worker, why = outcome
        return ShardOutcome(error=f"{worker} {why}", exit_code=64, unfit=worker)

    async def beat(self, run: str) -> None:
        """Tell the shards of ``run`` that the program that started the run is alive."""
        await self._tell(beat, run)

    async def interrupt(self, run: str, reason: str, exit_code: int) -> None:
        """End the shards of ``run`` on all workers; see ``worker.interrupt``."""
        await self._tell(interrupt, run, reason, exit_code)

    async def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        """Call ``function`` on every worker, without waiting longer than ``TELL_SECONDS`` for a response."""
        with anyio.move_on_after(TELL_SECONDS), suppress(Exception):
            await self._client.run(function, *arguments, on_error="ignore")


@contextmanager
def _carried() -> Iterator[None]:
    """Send functions of ``worker_entry`` as code, not by name, within the block."""
    cloudpickle.register_pickle_by_value(probing)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(probing)


@asynccontextmanager
async def reach(address: str) -> AsyncIterator[ClusterClient]:
    """Yield the cluster at ``address``; ``local``: one process for each processor here. Raises ``Unavailable``."""
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(await _connect(address, stack))
        except (OSError, ValueError) as error:
            raise Unavailable(f"the cluster at {address} cannot be reached: {error}. Nothing was bought.") from error
        yield ClusterClient(client)


async def _connect(address: str, stack: AsyncExitStack) -> Any:
    dask: Any = distributed  # has no types
    if address != LOCAL:
        return dask.Client(address, asynchronous=True, timeout=REACH_SECONDS)
    cluster = dask.LocalCluster(
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        asynchronous=True,
        silence_logs=logging.CRITICAL,
        preload=[worker_signals.__name__],
    )
    started = await stack.enter_async_context(cluster)
    return dask.Client(started, asynchronous=True)


def _agreed(found: Mapping[str, Any]) -> dict[str, str]:
    packages = {**found.get("packages", {})}
    python = str(packages.get("python", "")).split(".")
    return {name: ".".join(python[:2]) if name == "python" else str(packages.get(name)) for name in _AGREED}
