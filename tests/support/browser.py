"""Chromium on a page, headless.

It is looked for under the name in ``RUNNER_CHROMIUM``, then as ``chromium``, ``chromium-browser`` and
``google-chrome``. Without one these tests are skipped, but where ``CI`` is set they fail.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    wanted = [os.environ["RUNNER_CHROMIUM"]] if "RUNNER_CHROMIUM" in os.environ else NAMES
    found = next(filter(None, map(shutil.which, wanted)), None)
    if found is None:
        reason = f"no browser: none of {', '.join(wanted)} is here; install chromium, or name one in RUNNER_CHROMIUM"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return found


@contextmanager
def running_browser() -> Iterator[Browser]:
    path = find_chromium()
    flags = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=flags)
        yield running
        running.close()


@dataclass
class Visit:
    """A page, and whatever it did that it should not."""

    page: Page
    trouble: list[str] = field(default_factory=list)

    @property
    def shown(self) -> list[str]:
        """The ids on the page, in their order."""
        return self.page.locator(".card:visible .open, .card:visible h3 a").evaluate_all(
            "found => found.map(one => one.closest('.card').querySelector('h3').textContent.trim())"
            ".filter((id, place, all) => all.indexOf(id) === place)"
        )

    @property
    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.closest('.card')?.querySelector('h3').textContent.trim()")

    @property
    def commands(self) -> list[list[str]]:
        """The redo lines, as a shell takes them apart."""
        return [shlex.split(line) for line in self.page.input_value("#redo-line").split("\n")]

    def until(self, condition: str) -> None:
        """Wait for it. As a function, because the page forbids to evaluate a text later on."""
        self.page.wait_for_function(f"() => {condition}")

    def reload(self) -> None:
        """From within the page: the browser itself hears of the page's newest address only a moment later."""
        with self.page.expect_navigation():
            self.page.evaluate("() => location.reload()")

    def rests_on(self, job_id: str) -> None:
        """Wait until a card has the keyboard again: a dialog that closes gives it back a moment later."""
        title = "document.activeElement.closest('.card')?.querySelector('h3').textContent.trim()"
        self.page.wait_for_function(f"id => {title} === id", arg=job_id)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@contextmanager
def open_window(browser: Browser) -> Iterator[Visit]:
    """Open a window of its own. At the end: no error, no dialog, no request but to this disk."""
    with browser.new_context(offline=True, viewport={"width": 1000, "height": 800}) as context:
        visit = Visit(context.new_page())
        visit.page.on("console", lambda said: visit.trouble.append(f"{said.type}: {said.text}"))
        visit.page.on("pageerror", lambda error: visit.trouble.append(str(error)))
        visit.page.on("dialog", lambda dialog: (visit.trouble.append("a dialog"), dialog.dismiss()))
        visit.page.on(
            "request",
            lambda asked: visit.trouble.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None,
        )
        yield visit
        assert visit.trouble == []


def inventory(page: Page) -> dict[str, int]:
    """How many of each element there are."""
    return page.evaluate(
        "[...document.querySelectorAll('*')].reduce((all, one) => "
        "({...all, [one.localName]: (all[one.localName] ?? 0) + 1}), {})"
    )
