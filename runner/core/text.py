"""Text helpers: characters not allowed in outside text or file names, and formats for durations and amounts.

A separate module, because ``runner --help`` needs these helpers and nothing else of the models.
"""

from __future__ import annotations

import os
import re
import sys

DRIVES = r"\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that control a terminal or change the reading order of a line, as part of a regular expression class."""
CONTROL = re.compile(f"[\n{DRIVES}]+")
"""The characters of ``DRIVES``, and line ends."""


def in_words(seconds: float) -> str:
    """Return ``seconds`` rounded for display: ``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 89.5:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def usd(amount: float) -> str:
    """Return an amount in USD with four decimals below ten dollars (``$0.0045``), otherwise with two."""
    return f"${amount:,.4f}" if abs(amount) < 9.99995 else f"${amount:,.2f}"


UTF8_LOCALE = (
    "set LC_ALL=C.UTF-8 (or PYTHONUTF8=1) where this command runs, for example in the crontab or the service's unit"
)
"""Advice for environments where file names cannot be written."""


def unwritable_name(name: str) -> str:
    """Return the reason why ``name`` is impossible as a file name here, as a predicate; empty: ``name`` is possible."""
    if name.isascii():
        return ""
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        sign = name[error.start : error.end][:1]
        return f"has {sign!r}, and file names here are in {sys.getfilesystemencoding()}, which has no such character"
    return ""
