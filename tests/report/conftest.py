"""Fixtures of the tests of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.browser import Visit, open_window, running_browser
from support.results_folder import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A folder of results, made by hand."""
    return Shelf(tmp_path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """A window of its own, and nothing in it that should not be."""
    with open_window(browser) as window:
        yield window
