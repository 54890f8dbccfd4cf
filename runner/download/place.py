"""Putting files where they belong: whole, under their final names, never over somebody else's."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import disk
from runner.download.media import hash_file
from runner.errors import OutputError, RunnerError
from runner.model import Output, Record, State


class Occupied(RunnerError):
    """A file that is not ours stands where ours should go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A checked file at ``source`` that is to stand at ``output.path``."""

    source: Path
    output: Output


class Folder:
    """The output folder. Paths in records are relative to it, with ``/``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / ".runner" / "incoming"

    def prepare(self) -> None:
        """Make the folder for temporary files, empty of what a crash left. Needs the lock."""
        self.incoming.mkdir(parents=True, exist_ok=True)
        for left in self.incoming.iterdir():
            left.unlink()

    def path(self, relative: str) -> Path:
        """Where a record's path is on this disk. Raises ``Occupied`` where a link leads out of the folder."""
        path = self.root / relative
        if not path.parent.resolve().is_relative_to(self.root.resolve()):
            raise Occupied(f"{path} leaves the output folder by a link")
        return path

    def present(self, record: Record) -> bool:
        """Whether every file of a done purchase can be found, in its place or set aside."""
        return bool(record.outputs) and all(
            any(self.path(path).is_file() for path in _places(record, output)) for output in record.outputs
        )

    def find_checked(self, record: Record, output: Output) -> str | None:
        """The path at which a purchase's file stands with the bytes recorded, or None."""
        return next((path for path in _places(record, output) if is_ours(self.path(path), output)), None)

    def place(self, record: Record, arrivals: Sequence[Arrival], history: Sequence[Record]) -> None:
        """Set aside the files of older purchases, then give every arrival its final name, durably.

        Raises ``Occupied`` for a foreign file in the way, ``OutputError`` where the disk refuses. May be repeated.
        """
        try:
            for older in reversed(history):
                if older.state is State.DONE and older.purchase != record.purchase:
                    self._set_aside(older)
            for arrival in arrivals:
                self._give_name(arrival)
            for folder in {self.path(arrival.output.path or "").parent for arrival in arrivals}:
                disk.flush_folder(folder)
        except OSError as error:
            raise OutputError(
                f"{error.filename or self.root}: cannot be written: {error.strerror}"
            ) from error

    def _set_aside(self, older: Record) -> None:
        """Move what an older purchase left to ``.replaced/<id>/<purchase>/``; what a person altered, beside it."""
        for output in older.outputs:
            if output.path is None or not (path := self.path(output.path)).is_file():
                continue
            if is_ours(path, output):
                _rename(path, self.root / aside_path(older, output.path))

    def _give_name(self, arrival: Arrival) -> None:
        target = self.path(arrival.output.path or "")
        if target.exists() or target.is_symlink():
            if arrival.source == target or is_ours(target, arrival.output):
                if arrival.source != target:
                    arrival.source.unlink(missing_ok=True)
                return
            raise Occupied(
                f"{target} is not ours and is in the way; move it, and run again. The picture is paid."
            )
        _rename(arrival.source, target)

    def reject(self, record: Record, arrivals: Iterable[Arrival]) -> list[str]:
        """Set pictures aside that were not accepted, and return their paths."""
        kept = []
        for arrival in arrivals:
            relative = f".rejected/{record.id}/{record.purchase}/{Path(arrival.output.path or '').name}"
            _rename(arrival.source, self.root / relative, replace=True)
            kept.append(relative)
        return kept


def _places(record: Record, output: Output) -> list[str]:
    """Where a purchase's file may be: in its place, on the way to it, or set aside for a newer purchase's."""
    aside = aside_path(record, output.path) if output.path else None
    return [path for path in (output.path, output.moved_from, aside) if path]


def aside_path(record: Record, path: str) -> str:
    """Where a purchase's file is kept once a newer purchase took its place."""
    return f".replaced/{record.id}/{record.purchase}/{path.rpartition('/')[2]}"


def is_ours(path: Path, output: Output) -> bool:
    """Whether the bytes at ``path`` are those that the record of ``output`` names."""
    if output.sha256 is None or not path.is_file():
        return False
    return path.stat().st_size == output.bytes and hash_file(path) == output.sha256


def _rename(source: Path, target: Path, *, replace: bool = False) -> None:
    """Rename without ever replacing another file, durably on both sides."""
    _make_folder(target.parent)
    if replace:
        target.unlink(missing_ok=True)
    try:
        if not (target.exists() and source.samefile(target)):  # a crash may have left both names
            os.link(source, target)
        source.unlink()
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP) or target.exists():
            raise
        source.rename(target)  # a file system without links
    disk.flush_folder(target.parent)
    if source.parent != target.parent:
        disk.flush_folder(source.parent)


def _make_folder(folder: Path) -> None:
    """``mkdir -p``, each new name flushed."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    disk.flush_folder(folder.parent)
