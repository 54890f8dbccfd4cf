"""Code that is sent to a worker, which may have another version of the runner, or none.

The module level must not import anything from ``runner``: all its imports must exist on every worker.
"""

from __future__ import annotations

import os
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

from distributed import get_worker


def probe(mark: str, manifest: str, api: str | None) -> dict[str, str]:
    """Return the worker's runner version, digests of the files at two paths, its API, and if it has a token.

    The token itself is never returned.
    """
    answer = {"runner": _runner(), "mark": _read(mark), "manifest": _read(manifest)}
    try:
        from runner.api.config import find_api, find_token  # noqa: PLC0415 - a worker may have no runner
        from runner.core.errors import RunnerError  # noqa: PLC0415 - a worker may have no runner
    except ImportError:
        return answer
    try:
        answer["api"] = find_api(api, os.environ).name
        answer["token"] = "yes" if find_token(os.environ) else "no"
    except RunnerError as error:
        answer["token" if "api" in answer else "api"] = str(error).partition(":")[0]
    return answer


def begin(version: str, order: bytes) -> Any:
    """Run a shard with runner ``version``; if the worker has another version, return its address and a description."""
    found = _runner()
    if found != version:
        return get_worker().address, f"has runner {found}, but the run needs {version}"
    from runner.cluster.worker import run_shard  # noqa: PLC0415 - the version is known to match only now

    return run_shard(pickle.loads(order))  # noqa: S301 - a client that can submit a task can run code anyway


def _runner() -> str:
    """Return the runner version of this worker, or the reason why there is none."""
    try:
        from runner import __version__  # noqa: PLC0415 - a worker may have no runner
    except ImportError as error:
        return f"none that can be imported ({error})"
    return __version__


def _read(path: str) -> str:
    try:
        return sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
