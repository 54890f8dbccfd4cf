"""Patterns of notations and names as regular expressions that JSON Schema can carry (ECMA 262).

The patterns of notations are those of their readers. The range, which a reader checks afterwards, stands in front as
a look-ahead.
"""

from __future__ import annotations

from typing import Final

from runner.core.media_formats import EXTENSIONS
from runner.manifest import units
from runner.manifest.feeds.feed import SUFFIXES
from runner.manifest.feeds.options import ENCODINGS, FORMATS
from runner.manifest.feeds.pictures import EXTENSIONS as PICTURES
from runner.manifest.models.inputs import MODEL
from runner.manifest.names import DEVICES, MAX_STEM_BYTES
from runner.manifest.settings import MAX_TIMEOUT_SECONDS

_FRACTION: Final = r"(?:\.\d{1,6})?"
_POSITIVE: Final = "(?=.*[1-9])"


def alternatives(*patterns: str) -> str:
    """Return a pattern for any of ``patterns``."""
    return f"(?:{'|'.join(patterns)})"


def anycase(word: str) -> str:
    """Return a pattern for ``word`` in any case: JSON Schema has no flags."""
    return "".join(
        f"[{c.lower()}{c.upper()}]" if c.isascii() and c.isalpha() else rf"\{c}" if c in ".$" else c for c in word
    )


def between(low: int, high: int) -> str:
    """Return a pattern for the whole numbers from ``low`` to ``high``, without leading zeros."""
    found = []
    while len(str(low)) < len(str(high)):
        last = 10 ** len(str(low)) - 1
        found += _between_digits(str(low), str(last))
        low = last + 1
    return alternatives(*found, *_between_digits(str(low), str(high)))


def _between_digits(low: str, high: str) -> list[str]:
    """Return patterns for the numbers from ``low`` to ``high``, which have the same length."""
    if low[:1] == high[:1]:
        return [low[0] + rest for rest in _between_digits(low[1:], high[1:])] if low else [""]
    others = len(low) - 1
    first, last = int(low[0]), int(high[0])
    below, above = [], []
    if int(low[1:] or 0) > 0:
        below = [low[0] + rest for rest in _between_digits(low[1:], "9" * others)]
        first += 1
    if high[1:] != "9" * others:
        above = [high[0] + rest for rest in _between_digits("0" * others, high[1:])]
        last -= 1
    digit = str(first) if first == last else f"[{first}-{last}]"
    middle = [digit + r"\d" * others] if first <= last else []
    return [*below, *middle, *above]


def _whole_text(pattern: str) -> str:
    """Return a pattern for ``pattern`` with only blanks around it."""
    return rf"^\s*{pattern}\s*$"


def _timeout() -> str:
    """Return a pattern for durations with each unit up to a day. A pattern cannot limit their sum."""
    seconds, minutes, hours = (MAX_TIMEOUT_SECONDS // unit for unit in (1, 60, 3600))

    def most(number: int, unit: str) -> str:
        return rf"(?:{between(0, number - 1)}{_FRACTION}|{number}(?:\.0{{1,6}})?){unit}"

    units = f"(?:{between(0, hours)}h)?(?:{between(0, minutes)}m)?(?:{most(seconds, 's')})?"
    return _whole_text(f"{_POSITIVE}{alternatives(most(seconds, ''), units)}")


def size(widths: str, heights: str) -> str:
    """Return a pattern for ``1024x768``, with the given patterns for its numbers."""
    return _whole_text(f"{widths} ?[x×X] ?{heights}")


SIDE: Final = r"[1-9]\d{0,8}"
TIMEOUT: Final = _timeout()
RATE: Final = _whole_text(_POSITIVE + units.RATE.pattern)
MAX_FILE: Final = _whole_text(
    alternatives(
        rf"[1-9]\d{{{len(str(units.LEAST_BARE_BYTES)) - 1},14}}{_FRACTION}",
        rf"[1-9]\d{{0,14}}{_FRACTION} ?B",
        rf"{_POSITIVE}{units.DECIMAL} ?[kKMGT]i?B",
    )
)
BUDGET: Final = _whole_text(units.BUDGET.pattern)
HALT: Final = _whole_text(
    alternatives(
        r"[1-9]\d{0,14}",
        rf"{_POSITIVE}(?:{between(0, 99)}{_FRACTION}|100(?:\.0{{1,6}})?) ?%",
    )
)

FILLED: Final = r"\S"
TEMPLATE: Final = r"\{\{|\{%"
WHOLE_TEMPLATE: Final = r"^\{\{[\s\S]*\}\}$"
NO_TEMPLATE: Final = r"^(?![\s\S]*(?:\{\{|\{%))"
NO_EXPRESSION: Final = r"^(?![\s\S]*\{\{)"
MODEL_ID: Final = f"^{MODEL.pattern}$"

_CONTROL: Final = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
_PART: Final = rf"[^{_CONTROL}/\\]*[^{_CONTROL}/\\. ]"
_DEVICE: Final = alternatives(*map(anycase, sorted(DEVICES)))
_RESULTS: Final = rf"{anycase('results')}(?:\.[0-9]+-{anycase('of')}-[0-9]+)?{anycase('.jsonl')}"
_OWN: Final = alternatives(_RESULTS, *(rf"\.{anycase(n)}" for n in ("runner", "replaced", "rejected")))
_ALTERED: Final = anycase(".altered")
_IMAGE: Final = rf"(?:\.{alternatives(*map(anycase, EXTENSIONS))})?"
_EXT: Final = r"\.\{\{-? *(?:job\.)?ext *-?\}\}"

MAX_STEM: Final = MAX_STEM_BYTES
"""Most characters of a name. Beyond ASCII the limit of the loader is lower, because it counts bytes."""
_ENDING: Final = f"{_IMAGE}(?:{_EXT})?"
OUTPUT: Final = rf"^(?=[\s\S]*\S)(?![\s\S]*://)[^{_CONTROL}]*$"
_PATH: Final = rf"(?:[^{_CONTROL}]*/)?\.*[^{_CONTROL}/.][^{_CONTROL}/]*"
_PICTURES: Final = rf"(?=[\s\S]*[*?])[^{_CONTROL}]*\.{alternatives(*map(anycase, PICTURES))}"


def _files(suffixes: tuple[str, ...]) -> str:
    return rf"(?![\s\S]*[*?]){_PATH}{alternatives(*map(anycase, suffixes))}"


FEED: Final = rf"^(?![\s\S]*://){alternatives(_files(SUFFIXES), _PICTURES)}$"
FEEDS_WITH: Final = {key: f"^{_files(suffixes)}$" for key, suffixes in FORMATS.items()}
"""Feeds that each key is for."""
DELIMITER: Final = r"^(?:[,;|\t]|tab)$"
ENCODING: Final = rf"^{alternatives(*(anycase(name).replace('-', '[-_]') for name in ENCODINGS))}$"
ID: Final = rf"^(?!{_DEVICE} *(?:\.|$))(?!{_OWN})(?![\s\S]*{_ALTERED}$){_PART}$"
_FILE: Final = (
    rf"(?!/|[A-Za-z]:)(?!(?:[\s\S]*[./ ])?{_ENDING}$)"
    rf"(?![\s\S]*{_ALTERED}(?:/|{_ENDING}$))(?!(?:[\s\S]*/)?(?:{_DEVICE} *(?:[./]|$)|{_OWN}))"
    rf"(?:{_PART}/)*{_PART}"
)
_ENDING_ONLY: Final = rf"(?!(?:(?!{TEMPLATE})[\s\S])*{_EXT}$)"
_TEMPLATED: Final = rf"{_ENDING_ONLY}[\s\S]*{alternatives(TEMPLATE)}[\s\S]*"
FILE: Final = f"^{alternatives(_FILE, _TEMPLATED)}$"
FILE_TEMPLATE: Final = f"^{_TEMPLATED}$"

_EDGE: Final = "[A-Za-z0-9_]"
_INSIDE: Final = r"[^\u0000-,./:-@\[-^`{-\u007f]"
_LABEL: Final = rf"(?:{_EDGE}(?:[A-Za-z0-9_-]{{0,61}}{_EDGE})?|{_INSIDE}*[^\u0000-\u007f]{_INSIDE}*)"
"""Label of a host name. For a label beyond ASCII, only the loader sees the ASCII form."""
_RESERVED_ADDRESSES: Final = alternatives(
    r"(?:0|10|127|24\d|25\d)\.",
    rf"100\.{between(64, 127)}\.",
    r"169\.254\.",
    rf"172\.{between(16, 31)}\.",
    r"192\.168\.",
    r"192\.0\.[02]\.",
    r"198\.(?:1[89]|51\.100)\.",
    r"203\.0\.113\.",
)
_ADDRESS: Final = rf"(?!{_RESERVED_ADDRESSES}){between(0, 255)}(?:\.{between(0, 255)}){{3}}"
_LOCAL: Final = alternatives(*map(anycase, units.LOCAL))
_NAME: Final = (
    rf"(?!(?:[\s\S]*\.)?{_LOCAL}\s*$)(?!(?:[\s\S]*\.)?(?:0[xX][0-9a-fA-F]*|\d+)\s*$)"
    rf"(?:\*\.{_LABEL}\.)?{_LABEL}(?:\.{_LABEL})*"
)
HOST: Final = _whole_text(alternatives(_ADDRESS, _NAME))
