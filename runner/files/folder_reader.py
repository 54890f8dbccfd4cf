"""Read-only view of the output folder: the places of the files of a purchase."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from runner.core import disk
from runner.core.disk import hash_file
from runner.core.models import Output, Record
from runner.files.errors import PathOccupied, file_errors
from runner.files.record_paths import REPLACED, archive_folder, archive_path, paths_of


class FolderReader:
    """Read-only view of an output folder. Paths in records are relative to it, with ``/``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = Path(os.path.realpath(root))

    def path(self, relative: str) -> Path:
        """Return the absolute path of a record's path. Raises ``PathOccupied`` if a link leads out of the folder."""
        path = self.root / relative
        if not self.contains(path.parent):
            raise PathOccupied(f"{path} leaves the output folder by a link")
        return path

    def contains(self, folder: Path) -> bool:
        """Tell whether ``folder`` is in the output folder, following links."""
        return Path(os.path.realpath(folder)).is_relative_to(self._real_root)

    def present(self, record: Record) -> bool:
        """Tell whether every file of a done purchase exists, in its place or archived, following links.

        A purchase without files is not present, unless the user has accepted it.
        """
        files = files_of(record)
        here = all(any(_is_file(self.root / path) for path in paths_of(record, output)) for output in files)
        return here and (record.accepted or bool(files))

    def holds(self, record: Record) -> bool:
        """Tell whether every file of a done purchase exists in one of its places with the recorded bytes."""
        with file_errors(self.root):
            return all(
                any(is_ours(self.root / path, output) for path in paths_of(record, output))
                for output in files_of(record)
            )

    def displaced(self, record: Record) -> bool:
        """Tell whether a file of a done purchase was archived for another purchase's file, and is not in its place."""
        if not self._has_archive(record.id) and not (record.renamed_from and self._has_archive(record.renamed_from)):
            return False
        with file_errors(self.root):
            return any(
                not is_ours(self.root / (output.path or "."), output)
                for output in record.outputs
                if any(_is_file(self.root / path) for path in archive_folder(record, output))
            )

    def _has_archive(self, job_id: str) -> bool:
        return os.path.lexists(self.root / REPLACED / job_id)

    def find_checked(self, record: Record, output: Output) -> str | None:
        """Return the path of a purchase's file with the recorded bytes; None: there is none.

        Raises ``PathOccupied`` if a link leads out of the folder, ``OutputError`` for a disk error.
        """
        with file_errors(self.root):
            return next((path for path in paths_of(record, output) if is_ours(self.path(path), output)), None)

    def archive_path(self, record: Record, output: Output) -> str:
        """Return the archive path of a purchase's file: the path that holds its bytes, or else its future path."""
        with file_errors(self.root):
            places = [*filter(None, [output.moved_from]), *archive_folder(record, output)]
            found = (place for place in places if is_ours(self.root / place, output))
            return next(found, archive_path(record, output.path or ""))

    def is_one_of(self, target: Path, paths: Iterable[str | None]) -> bool:
        """Tell whether ``target`` is the file at one of ``paths`` under another spelling. Raises ``OSError``."""
        return any(disk.same_file(target, self.root / path) for path in paths if path)


def files_of(record: Record) -> list[Output]:
    """Return the outputs of a done purchase, except those that are unavailable."""
    return [output for output in record.outputs if output.path is not None or output.error is None]


def is_ours(path: Path, output: Output) -> bool:
    """Tell whether the bytes at ``path`` match the record of ``output``. Raises ``OSError``."""
    if output.sha256 is None or not path.is_file():
        return False
    return path.stat().st_size == output.bytes and hash_file(path) == output.sha256


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
