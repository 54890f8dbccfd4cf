"""Examples of the guide: the YAML blocks of its pages as manifests, and the files that stand beside them."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from support.made_sheets import sheet_xml, workbook

ROOT: Final = Path(__file__).parents[2]
GUIDE: Final = ROOT / "runner" / "guide"
KLEIN: Final = "blackforestlabs/flux-2-klein/4b/text-to-image"
PHOTOS: Final = ("bowl.jpg", "mug.jpg")

_NAMED: Final = re.compile(r"`([\w-]+\.(?:csv|json|jsonl|txt))`")
_COUNT: Final = re.compile(r"# (\d+) jobs?\b")


@dataclass(frozen=True)
class Example:
    """A block of YAML of a page: a whole manifest, its jobs, or settings."""

    page: str
    line: int
    text: str

    @property
    def manifest(self) -> str:
        """Return the manifest that the block stands for; a model and a job are added if it has none."""
        text = self.text
        if text.startswith("- "):
            text = "jobs:\n" + "".join(f"  {line}\n" for line in text.splitlines())
        elif not re.search(r"^jobs:", text, re.MULTILINE):
            text += "jobs:\n  - {id: mug, prompt: A mug}\n"
        return text if re.search(r"^model:", text, re.MULTILINE) else f"model: {KLEIN}\n{text}"

    @property
    def jobs(self) -> int | None:
        """Return the number of jobs that a comment in the block states."""
        found = _COUNT.search(self.text)
        return int(found[1]) if found else None


def examples_of(page: str) -> Iterator[Example]:
    """Yield the YAML blocks of a page."""
    text = (GUIDE / f"{page}.md").read_text(encoding="utf-8")
    for match in re.finditer(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield Example(page, text.count("\n", 0, match.start()) + 1, match[1])


def write_files(page: str, folder: Path) -> None:
    """Write the files of a page's examples: each has the last name in the paragraph before it.

    The photos are two of those in ``jobs/``; the spreadsheet has the rows of ``products.csv``.
    """
    text = (GUIDE / f"{page}.md").read_text(encoding="utf-8")
    for match in re.finditer(r"^```(?:csv|json|text)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        paragraph = text[: match.start()].rstrip().rpartition("\n\n")[2]
        if names := _NAMED.findall(paragraph):
            (folder / names[-1]).write_text(match[1], encoding="utf-8")
    (folder / "photos").mkdir()
    for photo in PHOTOS:
        shutil.copy(ROOT / "jobs" / "photos" / photo, folder / "photos")
    if (products := folder / "products.csv").exists():
        rows = list(csv.reader(StringIO(products.read_text(encoding="utf-8"))))
        (folder / "products.xlsx").write_bytes(workbook({"Notes": sheet_xml([["x"]]), "Products": sheet_xml(rows)}))
