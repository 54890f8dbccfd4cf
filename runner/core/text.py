"""Text: characters that text from elsewhere or a file name may not hold, and durations and amounts in words.

They have a module of their own because ``runner --help`` needs them, and nothing else of the model.
"""

from __future__ import annotations

import os
import re
import sys

DRIVES = r"\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""What makes a terminal do something, or a line read otherwise than it is written; for a class of characters."""
CONTROL = re.compile(f"[\n{DRIVES}]+")
"""That, and what ends a line."""


def in_words(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``: as exact as a person needs it."""
    if seconds < 89.5:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def usd(amount: float) -> str:
    """``$0.0045`` below ten dollars, else cents are enough."""
    return f"${amount:,.4f}" if abs(amount) < 9.99995 else f"${amount:,.2f}"


UTF8_LOCALE = "set LC_ALL=C.UTF-8 (or PYTHONUTF8=1) where this command runs: in crontab, say, or in the service's unit"
"""What helps where file names cannot be written."""


def unwritable_name(name: str) -> str:
    """Why ``name`` cannot be the name of a file here, as a predicate; empty where it can."""
    if name.isascii():
        return ""
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        sign = name[error.start : error.end][:1]
        return f"has {sign!r}, and file names here are in {sys.getfilesystemencoding()}, which has no such character"
    return ""
