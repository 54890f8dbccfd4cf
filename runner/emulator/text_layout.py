"""Layout of a text of any length in a box: its size, and where its lines break."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from PIL import ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

LEADING = 1.28
"""Distance of two lines, in letter sizes."""

_REFERENCE = 64
# More could not be read anyway, and fitting takes time.
_MOST_LETTERS = 2500
_SMALLEST = 8
# Letters do not scale quite evenly with their size.
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
    """Lines of text and the size of their letters in pixels."""

    size: int
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return round(len(self.lines) * self.size * LEADING)


@lru_cache(maxsize=64)
def font(size: int) -> Font:
    """The face that comes with Pillow."""
    return ImageFont.load_default(size=size)


def plain(text: str) -> str:
    """``text`` in letters that the face has, as far as it can: no accents, simple quotes and dashes."""
    simple = unicodedata.normalize("NFKD", text.translate(_SIMPLER))
    return "".join(letter for letter in simple if not unicodedata.combining(letter)).encode("utf-8", "replace").decode()


def fit(text: str, width: int, height: int, largest: int) -> Block:
    """``text`` as large as fits a box of so many pixels; smallest and with an ellipsis if nothing does."""
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
    """Lines within ``width`` reference pixels; ``None`` if a word is wider and may not be broken."""
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
