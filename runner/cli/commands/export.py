"""``runner export``: the receipts of every purchase, as CSV or JSON. The command takes no lock and changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import click
import msgspec

from runner.cli.arguments import (
    Choice,
    choice_options,
    known_ids,
    manifest_argument,
    place_options,
    read_manifest,
    readable_folder,
)
from runner.cli.command_help import Command
from runner.cli.console import say
from runner.cli.feed_export import ADDED, FeedRows, require_replaceable
from runner.cli.spreadsheet import BYTE_ORDER_MARK, line
from runner.core.disk import replace_file
from runner.core.errors import OutputError, UsageError
from runner.core.models import Output, Record, State
from runner.engine.billing.costs import Basis
from runner.engine.billing.receipts import Receipt, receipts
from runner.engine.maintenance.verify import is_in_force, newest_in_place
from runner.engine.options import RunOptions
from runner.files.folder_reader import FolderReader
from runner.files.record_paths import paths_of
from runner.ledger import LedgerReader, open_reader
from runner.ledger.folders import results_folder
from runner.ledger.readers import only
from runner.planning.selection import selected_ids
from runner.report.selection import Marks, read_selection


class MarkedReceipt(Receipt, frozen=True, kw_only=True):
    """One row with what the selection says of its file."""

    mark: str | None = None
    reason: str | None = None
    note: str | None = None


@click.command("export", cls=Command, page="money")
@manifest_argument
@place_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "jsonl"]),
    default="csv",
    metavar="FORMAT",
    help="Format: csv (default), json or jsonl.",
)
@choice_options
@click.option("--bom", is_flag=True, help="Begin CSV with the mark that Excel needs for UTF-8.")
@click.option(
    "--selection",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Add the columns mark, reason and note of a selection.",
)
@click.option(
    "--feed",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the rows of MANIFEST's feed and the file of each picture to FILE (.csv), a feed for the next batch.",
)
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    form: str,
    choice: Choice,
    bom: bool,
    selection: Path | None,
    feed: Path | None,
) -> int:
    """Write the receipts of MANIFEST to standard output: one row per file, and one per purchase without a file.

    The first row of a purchase has its amounts. The column spent_usd adds up to the amount that `runner status` shows.
    In CSV, text that a spreadsheet would run as a formula begins with an apostrophe. MANIFEST may also be the output
    folder.

    \b
    Examples:
      runner export output/spring > receipts.csv
      runner export output/spring --format jsonl | head
      runner export jobs/spring.yaml --feed jobs/spring-done.csv
    """
    marks = Marks(read_selection(selection).pictures) if selection is not None else None
    folder = readable_folder(manifest, output, emulator=emulator)
    if feed is not None:
        if form != "csv" or selection is not None:
            raise UsageError("a feed is CSV without marks; leave out --format and --selection")
        return _export_feed(manifest, emulator, folder, choice, feed, BYTE_ORDER_MARK if bom else b"")
    with open_reader(folder.root) as ledger:
        selected = selected_ids(choice.filter(), ledger, known_ids(manifest, emulator=emulator))
        rows = Rows(only(ledger, selected), folder, marks)
        whole = _write(FORMATS[form](rows), BYTE_ORDER_MARK if bom and form == "csv" else b"")
    if whole and rows.unpriced:
        have = "1 purchase has" if rows.unpriced == 1 else f"{rows.unpriced:,} purchases have"
        text = f"runner: {have} neither a bill nor a known price; the sum counts 0 for it, with basis `unpriced`"
        say(text, err=True)
    return 0


def _export_feed(target: str, emulator: bool, folder: FolderReader, choice: Choice, feed: Path, first: bytes) -> int:
    """Write the rows of the manifest with their pictures to ``feed``. Raises ``UsageError`` and ``OutputError``."""
    if results_folder(Path(target)) is not None:
        raise UsageError(f"--feed needs the manifest, whose feed has the rows; {target} is an output folder")
    to_file = str(feed) != "-"
    if to_file and feed.suffix.lower() != ".csv":
        raise UsageError(f"a feed is written as CSV; call it {feed.with_suffix('.csv')}")
    if to_file:
        require_replaceable(feed)
    loaded = read_manifest(target, RunOptions(emulator=emulator, offline=True), keep_rows=True)
    with closing(loaded.jobs), open_reader(folder.root) as ledger:
        selected = selected_ids(choice.filter(), ledger, loaded.jobs.ids())
        beside = (feed if to_file else Path("-")).absolute().parent
        rows = FeedRows(loaded.jobs, only(ledger, selected), folder.root, beside)
        if to_file:
            _replace(feed, chain([first], rows))
        elif not _write(chain([first], rows), b""):
            return 0
    _tell_feed(rows, feed if to_file else None, every=not (choice.only or choice.only_from or choice.failed))
    return 0


def _replace(path: Path, chunks: Iterable[bytes]) -> None:
    try:
        replace_file(path, chunks)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _tell_feed(rows: FeedRows, feed: Path | None, *, every: bool) -> None:
    """Tell what was written, where its paths start, and what is missing, if ``every`` job was to be in it."""
    count = "1 picture" if rows.pictures == 1 else f"{rows.pictures:,} pictures"
    file = rows.added[0]
    where, start = (f"{feed}: ", "its folder") if feed is not None else ("", "the current folder")
    say(f"runner: {where}{count}; the paths in `{file}` start at {start}", err=True)
    if file != ADDED[0]:
        say(
            f"runner: the feed has a column of the same name already, so the new ones are {', '.join(rows.added)}",
            err=True,
        )
    if rows.without and every:
        jobs = "1 job has" if rows.without == 1 else f"{rows.without:,} jobs have"
        say(f"runner: {jobs} no picture, and no row", err=True)
    if rows.outdated:
        jobs = "1 job has a picture" if rows.outdated == 1 else f"{rows.outdated:,} jobs have pictures"
        say(f"runner: {jobs} made from other inputs than the manifest has now; `runner plan` shows them", err=True)


class Rows:
    """Iterable of all rows, in the order in which the purchases first appear in the results log."""

    def __init__(self, ledger: LedgerReader, folder: FolderReader, marks: Marks | None = None) -> None:
        self._ledger = ledger
        self._folder = folder
        self._marks = marks
        self._newest = newest_in_place(ledger)
        self.unpriced = 0

    def __iter__(self) -> Iterator[Receipt]:
        for record in self._ledger.latest():
            for row in self._of(record):
                self.unpriced += row.basis is Basis.UNPRICED
                yield row if self._marks is None else _marked(row, self._marks)

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return (Receipt if self._marks is None else MarkedReceipt).__struct_fields__

    def _of(self, record: Record) -> Iterator[Receipt]:
        done = record.state is State.DONE
        in_force = is_in_force(record, self._newest)
        replaced = done and not in_force
        return receipts(
            record,
            in_force=in_force,
            path_of=lambda output: self._archive_older(record, output) if replaced else output.path,
        )

    def _archive_older(self, record: Record, output: Output) -> str | None:
        """Return the archive path of a file of an older purchase, even if the file was deleted."""
        places = [path for path in paths_of(record, output) if path.startswith(".replaced/")]
        return next((path for path in places if os.path.lexists(self._folder.root / path)), places[0])


def _marked(row: Receipt, marks: Marks) -> MarkedReceipt:
    found = marks.find(row.sha256, row.id)
    values = msgspec.structs.asdict(row)
    if found is not None:
        values |= {"mark": found.mark or None, "reason": found.reason or None, "note": found.note or None}
    return MarkedReceipt(**values)


def _csv(rows: Rows) -> Iterator[bytes]:
    fields = rows.fields
    yield line(fields)
    for row in rows:
        yield line("; ".join(value) if isinstance(value := getattr(row, name), tuple) else value for name in fields)


def _jsonl(rows: Rows) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    for row in rows:
        yield encoder.encode(row) + b"\n"


def _json(rows: Rows) -> Iterator[bytes]:
    before = b"[\n"
    for text in _jsonl(rows):
        yield before + text.rstrip(b"\n")
        before = b",\n"
    yield b"\n]\n" if before != b"[\n" else b"[]\n"


FORMATS: dict[str, Callable[[Rows], Iterator[bytes]]] = {"csv": _csv, "json": _json, "jsonl": _jsonl}


def _write(chunks: Iterable[bytes], first: bytes) -> bool:
    """Write ``first`` and ``chunks`` to standard output; return False if the reader closed the pipe early.

    Raises ``OutputError``.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed; the receipts cannot be written")
    stream = sys.stdout.buffer
    try:
        stream.write(first)
        stream.writelines(chunks)
        stream.flush()
    except BrokenPipeError:  # the reader stopped early, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error
    return True
