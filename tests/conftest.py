"""For all tests: hypothesis judges what the code does, not how fast this machine is.

Its profile is ``quick``, or what ``HYPOTHESIS_PROFILE`` says: ``full`` tries each property far more often.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings
from support.examples import PROFILE, QUICK

from runner.__main__ import GARBAGE

gc.set_threshold(GARBAGE)  # as often as in ``runner``; importing all tests leaves no garbage to look for

settings.register_profile("quick", deadline=None, max_examples=QUICK)
settings.register_profile("full", deadline=None)
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that waits longest is begun first: in the end nobody is left to wait for it."""
    items.sort(key=lambda item: "security" not in item.path.parts)


def pytest_collection_finish() -> None:
    """No look for garbage goes through all that was imported and collected."""
    gc.freeze()


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests that ask for no other; some versions of anyio would try trio, too."""
    return "asyncio"


@pytest.fixture
def flushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, set[str]]]:
    """Of each flush to the disk, which does happen: the file's number, and what names there are by then."""
    seen: list[tuple[int, set[str]]] = []
    flush = os.fsync

    def seen_flush(handle: int) -> None:
        flush(handle)
        names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
        seen.append((os.fstat(handle).st_ino, names))

    monkeypatch.setattr(os, "fsync", seen_flush)
    return seen
