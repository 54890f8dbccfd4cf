"""Chromium on a page, headless.

It is looked for under the name in ``RUNNER_CHROMIUM``, then as ``chromium``, ``chromium-browser`` and
``google-chrome``. Without one these tests are skipped, but where ``CI`` is set they fail.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

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
        """The ids in the grid, in their order; of a long batch, those near the screen."""
        return self.page.locator("#grid .tile").evaluate_all("found => found.map(one => one.title)")

    @property
    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.closest('.tile')?.title")

    @property
    def current(self) -> str:
        """The id of the card that the keys act on."""
        return self.page.evaluate("document.querySelector('.tile.current')?.title")

    @property
    def counts(self) -> tuple[int, int]:
        """How many are picked, and how many rejected."""
        said = (self.page.locator(f"#{name}").text_content() for name in ("picked", "rejected"))
        picked, rejected = (int((text or "").replace(",", "")) for text in said)
        return picked, rejected

    def find(self, words: str) -> None:
        """Search, and leave the field: the first card found is the current one, unless the one before still fits."""
        self.page.fill("#q", words)
        self.page.press("#q", "Escape")

    def save(self) -> dict[str, Any]:
        """Save the selection as a person does, and read the file."""
        with self.page.expect_download() as download:
            self.page.click("#foot [data-act=save]")
        assert download.value.suggested_filename == "selection.json"
        found = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    def open(self, selection: dict[str, Any]) -> str:
        """Open a selection by the button, and return what is said of it."""
        body = json.dumps(selection).encode()
        self.page.locator("#said").evaluate("it => { it.textContent = ''; }")
        self.page.set_input_files("#file", {"name": "theirs.json", "mimeType": "application/json", "buffer": body})
        self.until("document.getElementById('said').textContent !== ''")
        return self.page.locator("#said").text_content() or ""

    @property
    def commands(self) -> list[list[str]]:
        """The command that buys the rejected pictures again, as a shell takes it apart; none if nothing is rejected."""
        self.page.click("#foot [data-act=work]")
        found = [self.page.input_value("#redo-line")] if self.page.locator("#redo").is_visible() else []
        self.page.keyboard.press("Escape")
        return [shlex.split(line) for line in found]

    def until(self, condition: str) -> None:
        """Wait for it. As a function, because the page forbids to evaluate a text later on."""
        self.page.wait_for_function(f"() => {condition}")

    def reload(self) -> None:
        """From within the page: the browser itself hears of the page's newest address only a moment later."""
        with self.page.expect_navigation():
            self.page.evaluate("() => location.reload()")

    def rests_on(self, job_id: str) -> None:
        """Wait until a card has the keyboard again: a dialog that closes gives it back a moment later."""
        title = "document.activeElement.closest('.tile')?.title"
        self.page.wait_for_function(f"id => {title} === id", arg=job_id)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@contextmanager
def open_window(browser: Browser, *, width: int = 1000, height: int = 1300, **context_options: Any) -> Iterator[Visit]:
    """Open a window of its own. At the end: no error, no dialog, no request but to this disk."""
    viewport: ViewportSize = {"width": width, "height": height}
    with browser.new_context(offline=True, viewport=viewport, **context_options) as context:
        visit = Visit(context.new_page())
        visit.page.on("console", lambda said: visit.trouble.append(f"{said.type}: {said.text}"))
        visit.page.on("pageerror", lambda error: visit.trouble.append(str(error)))
        visit.page.on("dialog", lambda dialog: (visit.trouble.append("a dialog"), dialog.dismiss()))
        visit.page.on(
            "request",
            lambda asked: (
                visit.trouble.append(asked.url) if not asked.url.startswith(("file:", "data:", "blob:")) else None
            ),
        )
        yield visit
        assert visit.trouble == []


def inventory(page: Page) -> dict[str, int]:
    """How many of each element there are."""
    return page.evaluate(
        "[...document.querySelectorAll('*')].reduce((all, one) => "
        "({...all, [one.localName]: (all[one.localName] ?? 0) + 1}), {})"
    )
