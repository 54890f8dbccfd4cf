"""How long a report of so many pictures takes to write and to open, how large it is, and how quickly it answers.

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
from playwright.sync_api import Browser, Page, sync_playwright
from support.results_folder import Shelf

FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

SEARCH = """async (words) => {
  const field = document.getElementById("q"), begin = performance.now();
  field.value = words;
  field.dispatchEvent(new Event("input"));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - begin;
}"""

SMALLEST = """() => {
  const size = document.getElementById("scale");
  size.value = size.min;
  size.dispatchEvent(new Event("input"));
  return document.querySelectorAll("*").length;
}"""

SEARCHES = ("s", "sk", "sku", "sku-12", "view:1 -is:marked", "")


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
            usable, search, elements = measure(browser, report)
            click.echo(
                f"{title:7} written in {written:5.1f} s, {report.stat().st_size / 1e6:5.1f} MB, "
                f"usable {usable:.0f} ms, slowest search {search:.0f} ms, at most {elements} elements"
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


def measure(browser: Browser, report: Path) -> tuple[float, float, int]:
    """Milliseconds until the first pictures are drawn, of the slowest search, and most elements of the document."""
    page = browser.new_context(offline=True, viewport={"width": 1440, "height": 900}).new_page()
    begin = time.perf_counter()
    page.goto(report.as_uri())
    page.evaluate(FRAME)
    usable = 1000 * (time.perf_counter() - begin)
    search = max(page.evaluate(SEARCH, words) for words in SEARCHES)
    elements = max(page.evaluate("document.querySelectorAll('*').length"), middle(page))
    page.close()
    return usable, search, elements


def middle(page: Page) -> int:
    """The number of elements in the middle of the page, with the smallest pictures."""
    page.evaluate(SMALLEST)
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    page.evaluate(FRAME)
    found = page.evaluate("document.querySelectorAll('*').length")
    assert isinstance(found, int)
    return found


if __name__ == "__main__":
    main()
