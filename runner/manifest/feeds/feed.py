"""Feeds of ``from:``: the path of a file, and its rows, read one by one."""

from __future__ import annotations

import os.path
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from runner.manifest.feeds.jsonlines import JsonLines
from runner.manifest.feeds.lines import FeedError, FeedLines, Row
from runner.manifest.feeds.tables import Table
from runner.manifest.names import has_control
from runner.manifest.nodes import Node, Sequence
from runner.manifest.problems import Invalid, nearest, shown
from runner.manifest.yaml.scalars import filled_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

SUFFIXES: Final = (".csv", ".tsv", ".jsonl")
_WORKS: Final = "write the path of a .csv, .tsv or .jsonl file"
_ADVICE: Final = {
    ".json": "write one object a line and call it .jsonl",
    ".ndjson": "call it .jsonl",
    ".xlsx": "save the sheet as CSV UTF-8",
    ".xls": "save the sheet as CSV UTF-8",
    ".ods": "save the sheet as CSV in UTF-8",
    ".gz": "unpack it first",
    ".zip": "unpack it first",
}


class Rows(Protocol):
    """An open feed. Iterating raises ``FeedError`` where nothing more can be read."""

    columns: tuple[str, ...] | None
    """Columns of the header; None: each row has columns of its own."""
    header_line: int
    loose: bool
    """True if cells are texts that may mean a number."""

    def __iter__(self) -> Iterator[Row]: ...


class Feed:
    """Feed file of an entry."""

    def __init__(self, path: Path, source: str) -> None:
        """Keep the path; ``source`` is the name of the feed in messages."""
        self.path = path
        self.source = source

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """Open the feed. Raises ``FeedError`` if the feed cannot be read or has no valid header."""
        with self._open() as file:
            yield _rows(FeedLines(file), self.path.suffix.lower())

    def _open(self) -> IO[bytes]:
        try:
            return self._open_file()
        except OSError as error:
            what = f"this feed cannot be read: {error.strerror}"
            raise FeedError(0, Invalid(what, "it must be a file that you may read")) from None

    def _open_file(self) -> IO[bytes]:
        return self.path.open("rb")


def _rows(lines: FeedLines, suffix: str) -> Rows:
    if suffix == ".jsonl":
        return JsonLines(lines)
    return Table(lines, "\t" if suffix == ".tsv" else ",")


def read_feed(node: Node, *, folder: Path, source: str) -> Feed:
    """Return the feed that ``from`` names; relative paths start at ``folder``. Raises ``Invalid``.

    ``source`` is the name of the manifest in messages. The name of the feed in messages is relative to the same folder.
    """
    if isinstance(node, Sequence):
        raise Invalid("takes one feed, not a list", "write one entry for each feed")
    text = filled_text(node)
    _refuse_others(text)
    path = folder / text
    if not path.is_file():
        raise _missing(path, text)
    return Feed(path, os.path.join(os.path.dirname(source), text))  # noqa: PTH118, PTH120 - as the user wrote it


def _refuse_others(text: str) -> None:
    if has_control(text):
        raise Invalid("has a control character", _WORKS)
    if "://" in text:
        raise Invalid(f"takes a file of this machine, not {shown(text)}", "download the feed first")
    if any(sign in text for sign in "*?"):
        raise Invalid(f"takes one feed, not a pattern: {shown(text)}", "write one entry for each feed")
    suffix = os.path.splitext(text)[1].lower()  # noqa: PTH122 - `.csv` alone has none
    if suffix not in SUFFIXES:
        raise Invalid(f"takes a .csv, .tsv or .jsonl file, not {shown(text)}", _ADVICE.get(suffix, _WORKS))


def _missing(path: Path, text: str) -> Invalid:
    if path.exists():
        return Invalid(f"takes a file, and {shown(text)} is none", _WORKS)
    try:
        there = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return Invalid(f"names {shown(text)}, and there is no folder {path.parent}", "paths start at the manifest")
    advice = nearest(path.name, there) or f"paths start at the manifest; looked in {path.parent}"
    return Invalid(f"names {shown(text)}, and there is no such file", advice)
