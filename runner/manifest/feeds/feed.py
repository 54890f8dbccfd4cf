"""Feeds of ``from:``: the path of a file or a pattern of pictures, and its rows, read one by one."""

from __future__ import annotations

import os.path
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from runner.manifest.feeds.arrays import JsonArray
from runner.manifest.feeds.dialect import read_dialect
from runner.manifest.feeds.jsonlines import JsonLines
from runner.manifest.feeds.lines import FeedError, FeedLines, Row
from runner.manifest.feeds.options import FORMATS, LINES, FeedOptions
from runner.manifest.feeds.pictures import Pictures, is_pattern, missing_folder, names_pictures
from runner.manifest.feeds.prompts import Prompts
from runner.manifest.feeds.records import QuotedRecords, TabRecords
from runner.manifest.feeds.tables import Table
from runner.manifest.names import has_control
from runner.manifest.nodes import Node, Sequence
from runner.manifest.problems import Invalid, nearest, shown
from runner.manifest.yaml.scalars import filled_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

SUFFIXES: Final = (*LINES, ".json", *FORMATS["sheet"])
_LISTED: Final = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
_WORKS: Final = f"write the path of a {_LISTED} file, or a pattern of pictures like photos/*.jpg"
_AS_SHEET: Final = "save the sheet as .xlsx, or as CSV UTF-8"
_ADVICE: Final = {
    ".ndjson": "call it .jsonl",
    ".xls": _AS_SHEET,
    ".xlsm": _AS_SHEET,
    ".ods": _AS_SHEET,
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
    """Feed file of an entry, or pictures that match a pattern."""

    def __init__(self, folder: Path, path: str, source: str) -> None:
        """Keep the path, which starts at ``folder``; ``source`` is the name of the feed in messages."""
        self.path = folder / path
        self.source = source
        self.options = FeedOptions()
        self.suffix = "" if is_pattern(path) else self.path.suffix.lower()
        """Format of the file; empty: pictures."""
        self._folder = folder
        self._pattern = path

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """Open the feed. Raises ``FeedError`` if the feed cannot be read or has no valid header."""
        if not self.suffix:
            yield Pictures(self._folder, self._pattern, self.source)
        elif self.suffix in FORMATS["sheet"]:
            from runner.manifest.feeds.sheets import SheetRecords  # noqa: PLC0415 - zipfile is slow to import

            yield Table(SheetRecords(self.path, self.options.sheet))
        elif self.suffix in FORMATS["delimiter"]:
            with self._table() as table:
                yield table
        else:
            with self._open() as file:
                yield self._other_rows(file)

    @contextmanager
    def _table(self) -> Iterator[Rows]:
        usual, options = "\t" if self.suffix == ".tsv" else ",", self.options
        with self._open() as file:
            dialect = read_dialect(FeedLines(file, options.encoding), given=options.delimiter, usual=usual)
        with self._open() as file:
            lines = FeedLines(file, options.encoding)
            if dialect.separator == "\t":
                yield Table(TabRecords(lines, dialect.skipped))
            else:
                yield Table(QuotedRecords(lines, dialect.separator, dialect.skipped))

    def _other_rows(self, file: IO[bytes]) -> Rows:
        encoding = self.options.encoding
        if self.suffix == ".jsonl":
            return JsonLines(FeedLines(file, encoding))
        if self.suffix == ".json":
            return JsonArray(file, encoding=encoding, at=self.options.at)
        return Prompts(FeedLines(file, encoding))

    def _open(self) -> IO[bytes]:
        try:
            return self._open_file()
        except OSError as error:
            what = f"this feed cannot be read: {error.strerror}"
            raise FeedError(0, Invalid(what, "it must be a file that you may read")) from None

    def _open_file(self) -> IO[bytes]:
        return self.path.open("rb")


def read_feed(node: Node, *, folder: Path, source: str) -> Feed:
    """Return the feed that ``from`` names; relative paths start at ``folder``. Raises ``Invalid``.

    ``source`` is the name of the manifest in messages. The name of the feed in messages is relative to the same folder.
    """
    if isinstance(node, Sequence):
        raise Invalid("takes one feed, not a list", "write one entry for each feed")
    text = filled_text(node)
    _refuse_others(text)
    if is_pattern(text):
        if (missing := missing_folder(folder, text)) is not None:
            raise Invalid(
                f"names {shown(text)}, and there is no folder {folder / missing}", "paths start at the manifest"
            )
    elif not (folder / text).is_file():
        raise _missing(folder / text, text)
    return Feed(folder, text, os.path.join(os.path.dirname(source), text))  # noqa: PTH118, PTH120 - as the user wrote it


def _refuse_others(text: str) -> None:
    if has_control(text):
        raise Invalid("has a control character", _WORKS)
    if "://" in text:
        raise Invalid(f"takes a file of this machine, not {shown(text)}", "download the feed first")
    suffix = os.path.splitext(text)[1].lower()  # noqa: PTH122 - `.csv` alone has none
    if is_pattern(text):
        if not names_pictures(text):
            advice = "write one entry for each feed; a pattern of pictures ends like photos/*.jpg"
            raise Invalid(f"takes one feed or a pattern of pictures, not {shown(text)}", advice)
    elif suffix not in SUFFIXES:
        raise Invalid(f"takes a {_LISTED} file, not {shown(text)}", _ADVICE.get(suffix, _WORKS))


def _missing(path: Path, text: str) -> Invalid:
    if path.exists():
        return Invalid(f"takes a file, and {shown(text)} is none", _WORKS)
    try:
        there = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return Invalid(f"names {shown(text)}, and there is no folder {path.parent}", "paths start at the manifest")
    advice = nearest(path.name, there) or f"paths start at the manifest; looked in {path.parent}"
    return Invalid(f"names {shown(text)}, and there is no such file", advice)
