"""Parameters of a test of which the quick suite takes a few, and the slow tests the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest


def sampled(
    names: str | Sequence[str], cases: Iterable[Any], *, quick: int, ids: Callable[[Any], str] | None = None
) -> pytest.MarkDecorator:
    """Parametrize a test by ``cases``: ``quick`` of them, evenly spaced, are quick, and the others are slow."""
    found = [case if _is_param(case) else pytest.param(*_values(names, case)) for case in cases]
    last = len(found) - 1
    chosen = {round(number * last / max(1, quick - 1)) for number in range(quick)}
    sample = [
        case if number in chosen else pytest.param(*case.values, id=case.id, marks=[*case.marks, pytest.mark.slow])
        for number, case in enumerate(found)
    ]
    return pytest.mark.parametrize(names, sample, ids=ids)


def _is_param(case: Any) -> bool:
    return hasattr(case, "values") and hasattr(case, "marks")


def _values(names: str | Sequence[str], case: Any) -> Sequence[Any]:
    return [case] if isinstance(names, str) and "," not in names else case
