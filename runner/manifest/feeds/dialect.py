"""Dialect of a table: the separator of its cells, told from its first lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from runner.manifest.feeds.lines import FeedError
from runner.manifest.problems import Invalid, shown

if TYPE_CHECKING:
    from runner.manifest.feeds.lines import FeedLines

_TOLD: Final = ("\t", ",", ";")
"""Separators that are recognised. Of those that a header has equally often, the first one counts."""
_MARK: Final = re.compile(r'"?sep=([^\w\s"]|\t)"?', re.IGNORECASE)
"""First line with which Excel says what separates the cells."""
_QUOTED: Final = re.compile(r'"[^"]*"')
_HEADER_LINES: Final = 50
"""Most lines of one header; names in quotes may hold line breaks."""


class Dialect(NamedTuple):
    """Separator of the cells, and the number of lines before the header that are no part of the table."""

    separator: str
    skipped: int


def read_dialect(lines: FeedLines, *, given: str | None, usual: str) -> Dialect:
    """Return the dialect of the table in ``lines``. Raises ``FeedError``.

    ``given`` is the separator that the manifest names, if any; ``usual`` is the one of the format.
    """
    texts = iter(lines)
    for line in texts:
        if marked := _MARK.fullmatch(line.rstrip("\r\n")):
            if given is not None and given != marked[1]:
                what = f"the first line says {shown(line.rstrip())}, and `delimiter` says {shown(given)}"
                raise FeedError(
                    lines.number, Invalid(what, "take `delimiter:` out of the entry, or the line out of the feed")
                )
            return Dialect(marked[1], lines.number)
        if not line.strip():
            continue
        if given is not None:
            return Dialect(given, 0)
        header = line
        while header.count('"') % 2 and lines.number < _HEADER_LINES and (more := next(texts, "")):
            header += more
        # An odd number of quotes is no quoting at all, as in a column of inches.
        names = _QUOTED.sub("", header) if header.count('"') % 2 == 0 else line
        return Dialect(_most_frequent(names, usual), 0)
    return Dialect(given or usual, 0)


def _most_frequent(names: str, usual: str) -> str:
    if usual == "\t" and usual in names:
        return usual  # names in a file called .tsv may hold commas
    found = max(_TOLD, key=names.count)
    return found if found in names else usual
