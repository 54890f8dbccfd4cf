"""What goes to a worker as code, for it may have another runner, or none: what it is asked, and how a shard begins."""

from __future__ import annotations

import os
from typing import Any


def probe(mark: str, manifest: str, api: str | None) -> dict[str, str]:
    """What this worker has: its runner, what it reads at two paths, and whether it knows a token (never which)."""
    try:
        from runner import __version__  # noqa: PLC0415 - there may be none
        from runner.errors import RunnerError  # noqa: PLC0415
        from runner.settings import find_api, find_token  # noqa: PLC0415
    except ImportError as error:
        return {"runner": f"none that can be imported ({error})"}
    answer = {"runner": __version__, "mark": _read(mark), "manifest": _read(manifest)}
    try:
        answer["api"] = find_api(api, os.environ).name
        answer["token"] = "yes" if find_token(os.environ) else "no"
    except RunnerError as error:
        answer.setdefault("api" if "api" not in answer else "token", str(error).partition(":")[0])
    return answer


def begin(version: str, order: bytes) -> Any:
    """Run a shard by runner ``version``; where this worker has another: its address, and what it has."""
    import pickle  # noqa: PLC0415 - what is carried there by itself

    from distributed import get_worker  # noqa: PLC0415

    try:
        from runner import __version__ as found  # noqa: PLC0415
    except ImportError as error:
        found = f"none that can be imported ({error})"
    if found != version:
        return get_worker().address, f"has runner {found}, and the run was started by {version}"
    from runner.cluster.work import run_shard  # noqa: PLC0415

    return run_shard(pickle.loads(order))  # noqa: S301 - whoever can hand over a task runs code anyway


def _read(path: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 - what is carried there by itself
    from pathlib import Path  # noqa: PLC0415

    try:
        return sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
