"""Clusters that are gone when the test, or the module that shares one, is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.local_cluster import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A scheduler and two workers for all tests of a module: to start them takes longer than most tests."""
    made = Site(tmp_path_factory.mktemp("cluster"))
    try:
        made.schedule()
        made.work()
        made.work()
        yield made
    finally:
        made.close()
