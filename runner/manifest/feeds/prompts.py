"""Text feeds: each line is a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.manifest.feeds.lines import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.manifest.feeds.lines import FeedLines

COLUMN = "prompt"


class Prompts:
    """Lines of a feed as rows with one column, ``prompt``. Blank lines are no rows."""

    loose = True
    header_line = 0

    def __init__(self, lines: FeedLines) -> None:
        self._lines = lines
        self.columns: tuple[str, ...] | None = (COLUMN,)

    def __iter__(self) -> Iterator[Row]:
        lines = self._lines
        for line in lines:
            fault = lines.take_fault()
            if line.strip():
                yield Row(lines.number, {COLUMN: line.rstrip("\r\n")}, fault)
