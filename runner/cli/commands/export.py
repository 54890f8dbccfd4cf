"""``runner export``: the receipts of every purchase, as CSV or JSON. The command takes no lock and changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
import msgspec

from runner.cli.arguments import Choice, choice_options, known_folder, manifest_argument, place_options
from runner.cli.console import say
from runner.cli.spreadsheet import BYTE_ORDER_MARK, line
from runner.core.errors import OutputError
from runner.core.models import Output, Record, State
from runner.engine.billing.costs import Basis
from runner.engine.billing.receipts import Receipt, receipts
from runner.engine.maintenance.verify import is_in_force, newest_in_place
from runner.files.folder_reader import FolderReader
from runner.files.record_paths import paths_of
from runner.ledger import LedgerReader, open_reader
from runner.report.selection import Marks, read_selection


class MarkedReceipt(Receipt, frozen=True, kw_only=True):
    """One row with what the selection says of its file."""

    mark: str | None = None
    reason: str | None = None
    note: str | None = None


@click.command("export")
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
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    form: str,
    choice: Choice,
    bom: bool,
    selection: Path | None,
) -> int:
    """Write the receipts of MANIFEST to standard output: one row per file, and one per purchase without a file.

    The first row of a purchase has its amounts. The column spent_usd adds up to the amount that `runner status` shows.
    In CSV, text that a spreadsheet would run as a formula begins with an apostrophe. MANIFEST may also be the output
    folder.

    \b
    Examples:
      runner export output/spring > receipts.csv
      runner export output/spring --format jsonl | head
    """
    marks = Marks(read_selection(selection).pictures) if selection is not None else None
    folder = known_folder(manifest, output, emulator=emulator)
    with open_reader(folder.root) as ledger:
        rows = Rows(choice.view(ledger), folder, marks)
        whole = _write(FORMATS[form](rows), BYTE_ORDER_MARK if bom and form == "csv" else b"")
    if whole and rows.unpriced:
        have = "1 purchase has" if rows.unpriced == 1 else f"{rows.unpriced:,} purchases have"
        text = f"runner: {have} neither a bill nor a known price; the sum counts 0 for it, with basis `unpriced`"
        say(text, err=True)
    return 0


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
        yield line(getattr(row, name) for name in fields)


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
