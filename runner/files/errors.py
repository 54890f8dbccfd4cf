"""What goes wrong with files, in words: the disk's errors become the runner's where files are put in their places."""

from __future__ import annotations

from pathlib import Path

from runner.core.errors import OutputError, RunnerError


class PathOccupied(RunnerError):
    """A file that is not ours stands where ours should go."""


class FileMoved(RunnerError):
    """A file that was to be moved is not where it was a moment ago: another job's delivery set it aside."""


class DiskErrors:
    """Turns what the disk says into ``OutputError``, naming the file that it is about, else ``where``."""

    def __init__(self, where: Path | str) -> None:
        self.where = where

    def __enter__(self) -> None:
        """Nothing is held."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(f"{error.filename or self.where}: cannot be read or written: {error.strerror}") from error


class WriteErrors(DiskErrors):
    """The same for a file on its way to ``where``: named is its folder, for its own name tells nobody anything."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(f"{Path(self.where).parent}: cannot be written: {error.strerror}") from error


class FileErrors(DiskErrors):
    """The same, but for what concerns one job's file alone: ``FileMoved`` and ``PathOccupied``."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise FileMoved(f"{error.filename or self.where}: {error.strerror}") from error
        if isinstance(error, NotADirectoryError | FileExistsError | IsADirectoryError):
            raise PathOccupied(
                f"{error.filename or self.where} is in the way: {error.strerror}; move it, and run again"
            ) from error
        super().__exit__(kind, error, trace)
