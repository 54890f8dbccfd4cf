"""Previews of files: thumbnails, and beginnings of texts.

A thumbnail is made once, and kept in ``.runner/thumbnails`` under the hash of the file.
"""

from __future__ import annotations

import os
import re
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from threading import get_ident

from PIL import Image, ImageOps

from runner.core.disk import hash_file, is_within
from runner.core.media_formats import MAX_PIXELS, PICTURES
from runner.core.models import Output
from runner.core.text import CONTROL

EDGE = 320
"""Longer side of a thumbnail in pixels."""
QUALITY = 70
MOST_TEXT = 4000
"""Characters of a text that the page shows."""
CACHE = ".runner/thumbnails"
SHA256 = re.compile(r"[0-9a-f]{64}")


class PictureCondition(StrEnum):
    """Condition of a file compared with its record."""

    RIGHT = "right"
    ALTERED = "altered"
    """The content differs from the record."""
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Condition and preview of the file of an output."""

    stand: PictureCondition
    thumbnail: bytes | None = None
    """WebP; None: a video, or a file that cannot be shown as a picture."""
    cached: str | None = None
    """Path of the stored thumbnail, relative to the output folder; None: no thumbnail is stored."""
    width: int = 0
    height: int = 0
    """Size of the thumbnail in pixels, like ``width``."""
    text: str = ""
    """Beginning of a text file; empty for any other file."""
    cut: bool = False
    """True if the file is longer than ``text``."""
    sha256: str = ""
    """SHA-256 of the file as it is now, in hex; empty if there is no file."""


NOTHING = Look(stand=PictureCondition.MISSING)


class Thumbnails:
    """Previews of the files of one output folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def look(self, outputs: Iterable[Output]) -> Iterator[Look]:
        """Yield the preview of each output in order. Several files are read at a time."""
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="thumbnails") as threads:
            yield from threads.map(self.look_at, outputs)

    def look_at(self, output: Output) -> Look:
        """Return the condition and preview of the file of ``output``.

        A link that leads out of the folder counts as missing.
        """
        try:
            path = self._root / (output.path or "")
            if output.path is None or not path.is_file() or not is_within(path, self._root):
                return NOTHING
            seen = path.stat()
            kept = self._kept(output, seen)
            if kept is not None:
                return kept
            sha256 = hash_file(path)
            right = sha256 == output.sha256
            small = make_thumbnail(path)
            text, cut = read_text(path) if is_text(output.media_type or "") else ("", False)
            stand = PictureCondition.RIGHT if right else PictureCondition.ALTERED
            look = Look(stand=stand, text=text, cut=cut, sha256=sha256)
            return self._keep(small, sha256, seen.st_mtime_ns, look) if small else look
        except (OSError, ValueError):
            return NOTHING

    def _kept(self, output: Output, seen: os.stat_result) -> Look | None:
        """Return the preview from an earlier report; None if there is none or the file has changed since.

        A stored thumbnail has the modification time of its file.
        """
        if not SHA256.fullmatch(output.sha256 or "") or seen.st_size != output.bytes:
            return None
        name = f"{CACHE}/{output.sha256}.webp"
        path = self._root / name
        with suppress(OSError, ValueError):
            if path.stat().st_mtime_ns == seen.st_mtime_ns and is_within(path, self._root):
                look = Look(stand=PictureCondition.RIGHT, cached=name, sha256=output.sha256 or "")
                return _with_thumbnail(look, path.read_bytes())
        return None

    def _keep(self, small: bytes, sha256: str, mtime_ns: int, look: Look) -> Look:
        """Return ``look`` with a thumbnail, and store the thumbnail for the next report.

        If the folder cannot be written, the thumbnail is shown and not stored.
        """
        look = _with_thumbnail(look, small)
        name = f"{CACHE}/{sha256}.webp"
        path = self._root / name
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if is_within(path, self._root):
                _put(path, small, mtime_ns)
                return replace(look, cached=name)
        return look


def _with_thumbnail(look: Look, small: bytes) -> Look:
    """Return ``look`` with the thumbnail ``small``. Raises ``ValueError`` or ``OSError`` if it is not a whole WebP."""
    if len(small) < 12 or int.from_bytes(small[4:8], "little") + 8 != len(small):
        raise ValueError("no whole WebP")
    with Image.open(BytesIO(small), formats=["WEBP"]) as image:
        return replace(look, thumbnail=small, width=image.width, height=image.height)


def _put(path: Path, small: bytes, mtime_ns: int) -> None:
    """Store a thumbnail without flushing to disk. An incomplete file after a crash is detected, and made again."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{get_ident()}.tmp")
    temporary.unlink(missing_ok=True)
    with temporary.open("xb") as file:
        file.write(small)
    os.utime(temporary, ns=(mtime_ns, mtime_ns))
    temporary.replace(path)


def make_thumbnail(path: Path, edge: int = EDGE, quality: int = QUALITY) -> bytes | None:
    """Return a WebP of the picture at ``path`` with sides of at most ``edge`` pixels.

    None: the file is no picture, or the picture is too large.
    """
    try:
        with Image.open(path, formats=[name for name in PICTURES if name in _openable()]) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (edge, edge))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((edge, edge), reducing_gap=2.0)
            small = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
            body = BytesIO()
            small.save(body, "WEBP", quality=quality, method=2)
            return body.getvalue()
    except Exception:  # noqa: BLE001 - decoders raise all kinds of exceptions for invalid data
        return None


def is_text(media_type: str) -> bool:
    """Tell whether files of a type are shown as text. HTML is not: a web page is shown as a file."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind in ("application/json", "application/x-subrip") or (kind.startswith("text/") and kind != "text/html")


def read_text(path: Path) -> tuple[str, bool]:
    """Return the beginning of a text, and whether the text is longer; empty and False if the file is no text.

    Raises ``OSError``.
    """
    with path.open("rb") as file:
        head = file.read(4 * MOST_TEXT + 4)
        longer = bool(file.read(1))
    try:
        text = getincrementaldecoder("utf-8-sig")().decode(head, final=not longer)
    except UnicodeDecodeError:
        return "", False
    if "\0" in text:
        return "", False
    lines = "\n".join(CONTROL.sub(" ", line) for line in text[:MOST_TEXT].splitlines())
    return lines.strip("\n"), longer or len(text) > MOST_TEXT


def _openable() -> Iterable[str]:
    Image.init()
    return Image.OPEN
