"""Pictures with a background derived from the prompt, and the prompt as readable text."""

from __future__ import annotations

import colorsys
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from .text_layout import LEADING, Block, fit, font, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Colour = tuple[int, int, int]

_WHITE = (255, 255, 255)
# Maximum luminance of the background: white letters keep a contrast of at least five to one.
_LIGHT = 0.15

SAVING: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},
    "jpeg": {"quality": 88},
    "webp": {"quality": 85, "method": 0},
    "avif": {"quality": 60, "speed": 10},
}
"""Pillow options for each format, chosen for speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Content of a picture."""

    prompt: str
    width: int
    height: int
    number: int = 0
    """Number of the picture in its request, from 0."""
    label: str = ""
    """Small print in a corner."""
    insets: tuple[bytes, ...] = ()
    """Small pictures, as files, that are shown along the lower edge, from the right."""


@lru_cache(maxsize=32)
def picture(drawing: Drawing, form: str) -> bytes:
    """Return the drawing as a file; ``form`` is a key of ``SAVING``."""
    buffer = io.BytesIO()
    draw(drawing).save(buffer, form, **SAVING[form])
    return buffer.getvalue()


def stamped(png: bytes, request_id: str) -> bytes:
    """Return a PNG with the id of its request in a text chunk."""
    content = b"tEXt" + b"request_id\0" + request_id.encode("latin-1")
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    # The signature and the header chunk, which must come first, are 33 bytes.
    return png[:33] + chunk + png[33:]


def draw(drawing: Drawing) -> Image.Image:
    """Draw the picture of a prompt in exactly the requested size."""
    choices = _choices(drawing)
    image = _clouds(drawing, choices)
    _pattern(image, choices)
    _write(image, drawing)
    _place_insets(image, drawing.insets)
    return image


def _place_insets(image: Image.Image, insets: tuple[bytes, ...]) -> None:
    side = max(8, min(image.size) // 3)
    for number, inset in enumerate(insets, 1):
        with Image.open(io.BytesIO(inset)) as small:
            small.thumbnail((side, side))
            image.paste(small, (image.width - number * side, image.height - small.height))


def _choices(drawing: Drawing) -> Iterator[int]:
    """Yield endless bytes that depend on the prompt and the number of the picture."""
    seed = f"{drawing.number}\0{drawing.prompt}".encode("utf-8", "surrogatepass")
    turn = 0
    while True:
        yield from hashlib.blake2b(seed, salt=turn.to_bytes(8, "big")).digest()
        turn += 1


def _clouds(drawing: Drawing, choices: Iterator[int]) -> Image.Image:
    """Draw soft fields of a few related colours, by enlarging some coarse pixels smoothly."""
    base = next(choices) / 256
    hues = [base, base + 0.06, base + 0.12, base + 0.2 + next(choices) / 2560]
    across, down = (5, 3) if drawing.width > drawing.height else (3, 5) if drawing.height > drawing.width else (4, 4)
    pixels = [_tone(hues[next(choices) % 4], 0.25 + 0.75 * next(choices) / 255) for _ in range(across * down)]
    coarse = Image.frombytes("RGB", (across, down), bytes(part for pixel in pixels for part in pixel))
    return coarse.resize((drawing.width, drawing.height), Image.Resampling.BICUBIC)


def _tone(hue: float, light: float) -> Colour:
    """Return a saturated colour of the hue, with the fraction ``light`` of the maximum luminance ``_LIGHT``."""
    # From teal over blue and purple to coral: dark yellows look brown.
    raw = colorsys.hsv_to_rgb((0.44 + 0.6 * (hue % 1)) % 1, 0.75, 1)
    linear = [part**2.2 for part in raw]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    scale = min(1.0, _LIGHT * light / luminance)
    red, green, blue = (round(255 * (part * scale) ** (1 / 2.2)) for part in linear)
    return red, green, blue


def _pattern(image: Image.Image, choices: Iterator[int]) -> None:
    """Draw a pattern over the whole picture, faint enough for text on it to stay readable."""
    mask = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(mask)
    side = max(image.size)
    pattern = _PATTERNS[next(choices) % len(_PATTERNS)]
    pattern(pen, image.width * next(choices) // 255, image.height * next(choices) // 255, side)
    image.paste(_WHITE, mask=mask)


def _rings(pen: ImageDraw.ImageDraw, x: int, y: int, side: int) -> None:
    for step in range(1, 16):
        pen.circle((x, y), side * step / 12, outline=26, width=max(1, side // 60))


def _discs(pen: ImageDraw.ImageDraw, x: int, y: int, side: int) -> None:
    for step, shade in ((8, 10), (6, 18), (4, 26), (2, 34)):
        pen.circle((x, y), side * step / 11, fill=shade)


def _stripes(pen: ImageDraw.ImageDraw, x: int, y: int, side: int) -> None:
    lean = (x - y) * 2
    for left in range(-3 * side, 3 * side, max(4, side // 7)):
        pen.line((left, -8, left + lean, side + 8), fill=20, width=max(1, side // 20))


def _dots(pen: ImageDraw.ImageDraw, x: int, y: int, side: int) -> None:
    gap = max(6, side // 14)
    for row in range(-1, 16):
        for column in range(-1, 16):
            middle = (column * gap + x % gap + gap / 2 * (row % 2), row * gap + y % gap)
            pen.circle(middle, gap * 0.26, fill=24)


_PATTERNS: tuple[Callable[[ImageDraw.ImageDraw, int, int, int], None], ...] = (
    _rings,
    _discs,
    _stripes,
    _dots,
)


def _write(image: Image.Image, drawing: Drawing) -> None:
    width, height = image.size
    margin = max(3, min(width, height) // 13)
    foot = max(10, min(width, height) // 48) if drawing.label else 0
    largest = max(10, min(width, height) // 9)
    block = fit(plain(drawing.prompt), width - 2 * margin, height - 2 * margin - 3 * foot, largest)
    pen = ImageDraw.Draw(image)
    _lines(pen, block, margin, (height - 2 * foot - block.height) // 2)
    if drawing.label:
        pen.text((margin, height - margin), drawing.label, fill=(226, 226, 226), font=font(foot), anchor="ls")


def _lines(pen: ImageDraw.ImageDraw, block: Block, left: int, top: int) -> None:
    shade = max(1, block.size // 24)
    for number, line in enumerate(block.lines):
        y = top + number * block.size * LEADING
        pen.text((left + shade, y + shade), line, fill=(0, 0, 0), font=font(block.size))
        pen.text((left, y), line, fill=_WHITE, font=font(block.size))
