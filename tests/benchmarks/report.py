"""How long a report of so many pictures takes to write and to open, and how large it is.

    python tests/benchmarks/report.py [PICTURES]

Makes a folder of pictures with the texture of photographs, writes the report three times (thumbnails made, kept, and
beside the page) and opens each in Chromium without a network.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageFilter

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from playwright.sync_api import sync_playwright
from shelf import Shelf

LOADED = """() => {
  const [entry] = performance.getEntriesByType("navigation");
  return [entry.domContentLoadedEventEnd, entry.loadEventEnd];
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
        shelf = Shelf(Path(folder))
        bodies = [photograph(number) for number in range(20)]
        for number in range(count):
            mark = hashlib.sha256(str(number).encode()).digest()
            shelf.done(f"sku-{number // 4}-{number % 4}", file=f"{number // 4}/{number % 4}", body=bodies[number % 20] + mark)
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for title, arguments in {"made": (), "kept": (), "beside": ("--thumbnails", "beside")}.items():
            begin = time.perf_counter()
            path = shelf.report(*arguments)
            written = time.perf_counter() - begin
            page = browser.new_context(offline=True).new_page()
            page.goto(path.as_uri())
            page.wait_for_function("() => performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
            ready, loaded = page.evaluate(LOADED)
            page.fill("#q", "sku-12")
            search = page.evaluate("() => { const t = performance.now(); document.getElementById('q').dispatchEvent(new Event('input')); document.body.offsetHeight; return performance.now() - t; }")
            size = path.stat().st_size / 1e6
            print(f"{title:7} written in {written:5.1f} s, {size:5.1f} MB, ready {ready:.0f} ms, loaded {loaded:.0f} ms, search {search:.0f} ms")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
