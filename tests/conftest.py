"""For all tests: hypothesis judges what the code does, not how fast this machine is."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("plain", deadline=None)
settings.load_profile("plain")
