"""Layout of a text of any length in a box: font size and line breaks."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from PIL import ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

LEADING = 1.28
"""Line height, in multiples of the font size."""

_REFERENCE = 64
# Longer texts would not be readable, and fitting takes time.
_MOST_LETTERS = 2500
_SMALLEST = 8
# Letter widths do not scale exactly with the font size.
_SLACK = 1.04

_SIMPLER = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "ø": "o",
        "×": "x",
        "“": '"',
        "”": '"',
        "„": '"',
        "‘": "'",
        "’": "'",
        "–": "-",
        "—": "-",
    }
)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Block(NamedTuple):
    """Lines of text and their font size in pixels."""

    size: int
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return round(len(self.lines) * self.size * LEADING)


@lru_cache(maxsize=64)
def font(size: int) -> Font:
    """Return the font included in Pillow."""
    return ImageFont.load_default(size=size)


def plain(text: str) -> str:
    """Return ``text`` in letters of the font where possible: no accents, simple quotes and dashes."""
    simple = unicodedata.normalize("NFKD", text.translate(_SIMPLER))
    return "".join(letter for letter in simple if not unicodedata.combining(letter)).encode("utf-8", "replace").decode()


def fit(text: str, width: int, height: int, largest: int) -> Block:
    """Return ``text`` in the largest size that fits the box in pixels; else in the smallest with an ellipsis."""
    words = text[:_MOST_LETTERS].split()
    for size in _sizes(largest):
        lines = _wrap(words, width * _REFERENCE / size, breaking=size <= max(largest // 2, _SMALLEST))
        block = Block(size, tuple(lines or ()))
        if lines is not None and block.height <= height:
            return block
    room = max(1, int(height / (_SMALLEST * LEADING)))
    lines = _wrap(words, width * _REFERENCE / _SMALLEST, breaking=True) or []
    if lines[room:]:
        lines[room - 1] = lines[room - 1][:-1] + "…"
    return Block(_SMALLEST, tuple(lines[:room]))


def _sizes(largest: int) -> Iterator[int]:
    size = largest
    while size > _SMALLEST:
        yield size
        size = min(size - 1, round(size * 0.92))
    yield _SMALLEST


@lru_cache(maxsize=4096)
def _width(word: str) -> float:
    return font(_REFERENCE).getlength(word) * _SLACK


def _wrap(words: list[str], width: float, *, breaking: bool) -> list[str] | None:
    """Return lines within ``width`` reference pixels; ``None``: a word is wider and may not be broken."""
    lines: list[str] = []
    filled = width
    for word in words:
        if _width(word) > width and not breaking:
            return None
        for part in _parts(word, width):
            length = _width(part)
            if filled + _width(" ") + length <= width:
                lines[-1] += f" {part}"
                filled += _width(" ") + length
            else:
                lines.append(part)
                filled = length
    return lines


def _parts(word: str, width: float) -> Iterator[str]:
    if _width(word) <= width:
        yield word
        return
    part, filled = "", 0.0
    for letter in word:
        if part and filled + _width(letter) > width:
            yield part
            part, filled = "", 0.0
        part += letter
        filled += _width(letter)
    yield part
