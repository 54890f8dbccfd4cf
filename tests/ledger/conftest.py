"""Records to write, and where the log stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest

from runner.core.models import Record, State


class MakeRecord(Protocol):
    def __call__(self, job_id: str = ..., state: State = ..., **changes: Any) -> Record: ...


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def record() -> MakeRecord:
    """A record of one purchase; what is owed has a request id."""

    def made(job_id: str = "mug", state: State = State.SUBMITTED, **changes: Any) -> Record:
        fields: dict[str, Any] = {
            "purchase": 1,
            "at": "2026-11-22T01:02:03.456Z",
            "api": "https://api.example/v1",
            "manifest": "../jobs/spring.yaml",
            "model": "a/b",
            "inputs": {"prompt": "a müg", "width": 512},
            "fingerprint": "sha256:0",
            "file": job_id,
            "request_id": f"r-{job_id}",
        }
        return Record(id=job_id, state=state, **{**fields, **changes})

    return made
