"""The two pictures of the README, made from a real run against the emulator.

    python tests/pictures.py            writes runner/guide/pictures/display.png and page.png; takes a minute
    python tests/pictures.py FOLDER     writes them to FOLDER

``display.png`` is the terminal in the middle of the run, ``page.png`` the page of its report with some marks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Final

from PIL import Image, ImageChops
from playwright.sync_api import Browser
from rich.console import Console
from rich.text import Text
from support.browser import running_browser
from support.terminal import TOKENS, Screen, Terminal

ROOT: Final = Path(__file__).parents[1]
SHOP: Final = Path(tempfile.gettempdir()) / "shop"
"""The display shows this path."""
RUNNER: Final = [sys.executable, "-m", "runner"]
COLUMNS: Final = 96
MANIFEST: Final = """
name: catalogue
model: blackforestlabs/flux-2-klein/4b/text-to-image
budget: 5.00
jobs:
  - from: products.csv
    matrix: {view: [front, scene, detail]}
    id: "{{ sku }}-{{ view }}"
    prompt: "{{ name }} in {{ colour }}, {{ scene if view == 'scene' else view ~ ' on white' }}"
    file: "{{ sku }}/{{ view }}"
    size: 1024x1024
"""
REFUSED: Final = "job fail text=content_policy message='the prompt was refused' match='teapot in black, detail'"
PICKED: Final = (0, 1, 3, 5)
REJECTED: Final = (2, 4)


class ColourScreen(Screen):
    """Screen that keeps the colours: of each cell, the sequence that set its colour, and its character."""

    def __init__(self, columns: int) -> None:
        super().__init__(columns)
        self.cells: dict[tuple[int, int], str] = {}
        self._colour = ""

    def feed(self, text: str) -> None:
        for found in TOKENS.finditer(text):
            if found[2] == "m":
                self._colour = "" if found[1] in ("", "0") else self._colour + found[0]
            else:
                super().feed(found[0])

    def _print(self, words: str) -> None:
        for char in words:
            super()._print(char)
            self.cells[self.row, self.column - 1] = self._colour

    def coloured(self) -> Iterator[Text]:
        for row, line in enumerate(self.rows):
            cells = (f"\x1b[0m{self.cells.get((row, column), '')}{char}" for column, char in enumerate(line))
            yield Text.from_ansi("".join(cells))


@contextmanager
def emulator() -> Iterator[str]:
    """Serve an emulator with twelve workers and yield its address."""
    options = ["--port", "0", "--workers", "12", "--seconds", "1.5", "--spread", "0.5", "--fault", REFUSED]
    with subprocess.Popen([*RUNNER, "emulator", *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def run(environ: dict[str, str]) -> str:
    """Run the batch to its end, and return the terminal in the middle of it as SVG."""
    command = [*RUNNER, "run", "catalogue.yaml"]
    with Terminal(command, SHOP, environ, COLUMNS) as terminal:
        terminal.screen = screen = ColourScreen(COLUMNS)
        terminal.read_until(lambda: any(int(done) >= 80 for done in re.findall(r"(\d+) of 120", "".join(screen.lines))))
        console = Console(record=True, width=COLUMNS, file=StringIO())
        console.print("[bold]$[/] runner run catalogue.yaml")
        for line in screen.coloured():
            console.print(line, no_wrap=True, highlight=False)
        terminal.read_to_the_end()
    return console.export_svg(title="runner")


def photograph(browser: Browser, address: str, target: Path, *, width: int, height: int, marks: bool = False) -> None:
    """Save the page at ``address`` as a PNG of 128 colours, twice as sharp as its size."""
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=2)
    page.goto(address)
    page.wait_for_load_state("networkidle")
    if marks:
        tiles = page.locator("#grid .tile")
        for number in sorted(PICKED + REJECTED):
            tiles.nth(number).focus()
            page.keyboard.press("p" if number in PICKED else "x")
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.locator("#said:empty").wait_for(state="attached")  # the last key's message is gone
    page.screenshot(path=target)
    page.close()
    picture = Image.open(target).convert("RGB")
    picture = picture.crop(ImageChops.invert(picture).getbbox())  # no white border
    picture.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


def main(folder: Path) -> None:
    """Run the batch once and make both pictures of it."""
    shutil.rmtree(SHOP, ignore_errors=True)
    SHOP.mkdir()
    (SHOP / "catalogue.yaml").write_text(MANIFEST, encoding="utf-8")
    shutil.copy(ROOT / "jobs" / "products.csv", SHOP)
    folder.mkdir(parents=True, exist_ok=True)
    with emulator() as base, running_browser() as browser:
        environ = {**os.environ, "RUNCOMFY_MODEL_API_BASE": base, "RUNCOMFY_TOKEN": "a-token", "PYTHONPATH": str(ROOT)}
        (SHOP / "display.svg").write_text(run(environ), encoding="utf-8")
        photograph(browser, (SHOP / "display.svg").as_uri(), folder / "display.png", width=940, height=400)
        subprocess.run([*RUNNER, "report", "catalogue.yaml"], cwd=SHOP, env=environ, check=True)
        report = SHOP / "output" / "catalogue" / "report.html"
        photograph(browser, report.as_uri(), folder / "page.png", width=1100, height=640, marks=True)
    shutil.rmtree(SHOP)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runner" / "guide" / "pictures")
