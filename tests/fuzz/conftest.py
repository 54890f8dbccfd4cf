"""What the fuzzing came to."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from support.fuzzing import counts


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Say how many examples a target tried."""
    yield
    with capfd.disabled():
        sys.stdout.write(f"\n{counts[request.node.name]:>10,} examples  {request.node.name}\n")
