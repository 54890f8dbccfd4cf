"""Results as a feed: the rows of a manifest's own feeds, with the file, hash, request and cost of each picture.

The feed may be that of the next manifest, which upscales the pictures, say. Paths of files start at the folder of the
new feed; a manifest in this folder can use them as they are.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path

from runner.core.errors import UsageError
from runner.core.models import Json, Output, Record
from runner.engine.maintenance.verify import is_in_force, newest_in_place
from runner.ledger import LedgerReader
from runner.manifest import JobStore, spelling
from runner.manifest.jobs.store import StoredJob

ADDED = ("file", "sha256", "request_id", "cost_usd")
"""Columns that are added. If the rows have one of them, all four get a number: ``file_2`` …"""
_ID = "id"
_MEDIA = ("image/", "video/", "audio/")
"""Beginnings of the media types that an input of the next manifest may take."""


class FeedRows:
    """Iterable of the lines of the feed, as CSV in UTF-8: the header, then one row for each picture."""

    def __init__(self, jobs: JobStore, ledger: LedgerReader, root: Path, folder: Path) -> None:
        """Read results from ``ledger``, with files below ``root``. Paths are written relative to ``folder``."""
        self._jobs = jobs
        self._ledger = ledger
        self._root = root
        self._folder = folder
        self._newest = newest_in_place(ledger)
        self.columns, with_ids = _columns(jobs)
        self.has_id = with_ids and _ID not in self.columns
        self.added = free_names(self.columns)
        self.pictures = 0
        self.without = 0
        """Jobs without a picture."""
        self.outdated = 0
        """Jobs whose pictures were made from other inputs than those of the manifest."""

    def __iter__(self) -> Iterator[bytes]:
        yield _line([*self.columns, *([_ID] if self.has_id else []), *self.added])
        for stored in self._jobs.stored():
            yield from self._rows(stored)

    def _rows(self, stored: StoredJob) -> Iterator[bytes]:
        job = stored.job
        found = [record for record in self._ledger.history(job.id) if is_in_force(record, self._newest)]
        outputs = [output for output in found[-1].outputs if _is_media(output)] if found else []
        if not outputs:
            self.without += 1
            return
        record = found[-1]
        same = record.fingerprint == job.fingerprint or spelling(record.model, record.inputs) == spelling(
            job.model, job.inputs
        )
        self.outdated += not same
        cells = stored.cells or {}
        own = [_cell(cells.get(column)) for column in self.columns]
        if _ID in self.columns and stored.cells is None:
            own[self.columns.index(_ID)] = job.id
        for number, output in enumerate(outputs):
            self.pictures += 1
            yield _line([*own, *([job.id] if self.has_id else []), *self._result(record, output, first=number == 0)])

    def _result(self, record: Record, output: Output, *, first: bool) -> Iterator[str]:
        """Yield the cells that are added. The first picture of a purchase has its cost."""
        yield _relative(self._root / (output.path or ""), self._folder)
        yield output.sha256 or ""
        yield record.request_id or ""
        yield f"{Decimal(str(record.cost_usd)):f}" if first and record.cost_usd is not None else ""


def _columns(jobs: JobStore) -> tuple[list[str], bool]:
    """Return all columns of the rows, in order, and whether there is a job without a row."""
    found, with_ids = dict[str, None](), False
    for stored in jobs.stored():
        found |= dict.fromkeys(stored.cells or ())
        with_ids |= stored.cells is None
    return list(found), with_ids


def free_names(taken: Collection[str]) -> tuple[str, ...]:
    """Return the names of the added columns, none of which is in ``taken``."""
    if not any(name in taken for name in ADDED):
        return ADDED
    number = next(n for n in count(2) if not any(f"{name}_{n}" in taken for name in ADDED))
    return tuple(f"{name}_{number}" for name in ADDED)


def require_replaceable(path: Path) -> None:
    """Raise ``UsageError`` if there is a file at ``path`` and it is no earlier export: rows may be nowhere else."""
    if not os.path.lexists(path):
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        header = []
    if not _is_export(header):
        raise UsageError(f"{path} is not an earlier export of results, and is not replaced: give another name")


def _is_export(header: Sequence[str]) -> bool:
    last = tuple(header[-len(ADDED) :])
    return last == ADDED or last == free_names(header[: -len(ADDED)])


def _is_media(output: Output) -> bool:
    return output.path is not None and (output.media_type or "").startswith(_MEDIA)


def _relative(file: Path, folder: Path) -> str:
    try:
        path = Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return file.as_posix()
    return f"./{path}" if ":" in path.partition("/")[0] else path  # without the dot it would look like an address


def _cell(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Echo:
    """File-like object whose ``write`` returns the text."""

    def write(self, text: str) -> str:
        return text


_writer = csv.writer(_Echo())


def _line(cells: Sequence[str]) -> bytes:
    text: str = _writer.writerow(cells)
    return text.encode("utf-8", "surrogatepass")
