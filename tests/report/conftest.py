"""Fixtures of the tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.results_folder import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A folder of results, made by hand."""
    return Shelf(tmp_path)
