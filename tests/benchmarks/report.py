"""How long a report of so many pictures takes to write and to open, and how large it is.

    PYTHONPATH=tests python tests/benchmarks/report.py [PICTURES]

Makes a folder of pictures with the texture of photographs, writes the report three times (thumbnails made, kept, and
beside the page) and opens each in Chromium without a network.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
from PIL import Image, ImageFilter
from playwright.sync_api import Browser, sync_playwright
from support.results_folder import Shelf

LOADED = """() => {
  const [entry] = performance.getEntriesByType("navigation");
  return [entry.domContentLoadedEventEnd, entry.loadEventEnd];
}"""

SEARCH = """() => {
  const begin = performance.now();
  document.getElementById("q").dispatchEvent(new Event("input"));
  document.body.offsetHeight;
  return performance.now() - begin;
}"""


def photograph(number: int) -> bytes:
    """A picture that compresses about as badly as a photograph."""
    noise = Image.effect_noise((768, 768), 60).filter(ImageFilter.GaussianBlur(1 + number % 3))
    body = io.BytesIO()
    Image.merge("RGB", (noise, noise.rotate(90), noise.rotate(180))).save(body, "JPEG", quality=88)
    return body.getvalue()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        shelf = fill(Path(folder), count)
        path = os.environ.get("RUNNER_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for title, arguments in {"made": (), "kept": (), "beside": ("--thumbnails", "beside")}.items():
            begin = time.perf_counter()
            report = shelf.report(*arguments)
            written = time.perf_counter() - begin
            ready, loaded, search = measure(browser, report)
            click.echo(
                f"{title:7} written in {written:5.1f} s, {report.stat().st_size / 1e6:5.1f} MB, "
                f"ready {ready:.0f} ms, loaded {loaded:.0f} ms, search {search:.0f} ms"
            )
        browser.close()


def fill(folder: Path, count: int) -> Shelf:
    """So many pictures, no two alike, four in a folder."""
    shelf = Shelf(folder)
    bodies = [photograph(number) for number in range(20)]
    for number in range(count):
        product, view = divmod(number, 4)
        body = bodies[number % 20] + hashlib.sha256(str(number).encode()).digest()
        shelf.done(f"sku-{product}-{view}", file=f"{product}/{view}", body=body)
    return shelf


def measure(browser: Browser, report: Path) -> tuple[float, float, float]:
    """Milliseconds until the page can be used, until it is loaded, and for one search."""
    page = browser.new_context(offline=True).new_page()
    page.goto(report.as_uri())
    page.wait_for_function("() => performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
    ready, loaded = page.evaluate(LOADED)
    page.fill("#q", "sku-12")
    search = page.evaluate(SEARCH)
    page.close()
    return ready, loaded, search


if __name__ == "__main__":
    main()
