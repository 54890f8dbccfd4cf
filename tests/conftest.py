"""For all tests: hypothesis judges what the code does, not how fast this machine is."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("plain", deadline=None)
settings.load_profile("plain")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests that ask for no other; some versions of anyio would try trio, too."""
    return "asyncio"
