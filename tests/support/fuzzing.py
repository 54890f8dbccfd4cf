"""Fuzzing bounded by time: ``python -m pytest -m fuzz -n 0 -s tests/fuzz``, ``FUZZ_SECONDS`` for each target."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

SECONDS = float(os.environ.get("FUZZ_SECONDS", "20"))
"""For each target."""
EXAMPLES = 10_000_000
"""More than any target comes to in its time."""

counts: Counter[str] = Counter()
"""Examples tried, by target."""


class _Enough(BaseException):
    """The time of a target is up."""


class _Watch:
    """Ends a target when its time is up, unless it has failed: then the example is made small first."""

    def __init__(self, target: Callable[..., None]) -> None:
        self._target = target
        self._ends = 0.0
        self._failed = False

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self._ends = self._ends or time.monotonic() + SECONDS
        if time.monotonic() > self._ends and not self._failed:
            raise _Enough
        counts[self._target.__name__] += 1
        try:
            self._target(*args, **kwargs)
        except Exception:
            self._failed = True
            raise


def fuzz(**strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A target of its own: fresh examples each time, until the time is up."""

    def decorate(target: Callable[..., None]) -> Callable[..., None]:
        watch = _Watch(target)

        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        @given(**strategies)
        @wraps(target)
        def bounded(*args: Any, **kwargs: Any) -> None:
            watch(*args, **kwargs)

        @pytest.mark.fuzz
        @wraps(bounded)
        def until_enough(*args: Any, **kwargs: Any) -> None:
            with suppress(_Enough):
                bounded(*args, **kwargs)

        return until_enough

    return decorate
