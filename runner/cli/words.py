"""How a person reads it: durations, money, and what others wrote, on one line."""

from __future__ import annotations

import re

from runner.core.models import Record
from runner.core.text import CONTROL

MAX_TEXT = 300

_QUERY = re.compile(r"(\bhttps?://[^\s?#'\"]+)[?#][^\s'\"]*")
_LONG = 12
"""A text input shorter than this is no prompt that anyone would recognise."""


def plain(text: str, record: Record | None = None) -> str:
    """``text`` on one line, without control characters, what follows ``?`` in addresses, and ``record``'s prompts."""
    for value in record.inputs.values() if record is not None else ():
        if isinstance(value, str) and len(value) >= _LONG:
            text = text.replace(value, "…")
    text = _QUERY.sub(r"\1?…", CONTROL.sub(" ", text)).strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
