"""Errors of files, and the mapping of operating system errors to errors of the runner."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.core.errors import OutputError, RunnerError
from runner.core.text import UTF8_LOCALE


class PathOccupied(RunnerError):
    """Path of a result that a foreign file occupies."""


class FileMoved(RunnerError):
    """File that disappeared before its move, because another job's delivery archived it."""


@contextmanager
def disk_errors(where: Path | str) -> Iterator[None]:
    """Raise ``OutputError`` in place of ``OSError``, with the file name of the error or else ``where``."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{error.filename or where}: cannot be read or written: {error.strerror}") from error


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Raise ``OutputError`` in place of ``OSError``, with the folder of ``target``, a temporary file."""
    try:
        yield
    except OSError as error:
        what = "moved or deleted while a run used it" if error.errno == errno.ENOENT else error.strerror
        raise OutputError(f"{target.parent}: cannot be written: {what}") from error


@contextmanager
def file_errors(where: Path | str) -> Iterator[None]:
    """Raise ``FileMoved`` or ``PathOccupied`` for errors of one job's file alone; otherwise as ``disk_errors``."""
    with disk_errors(where):
        try:
            yield
        except FileNotFoundError as error:
            raise FileMoved(f"{error.filename or where}: {error.strerror}") from error
        except UnicodeEncodeError as error:
            raise PathOccupied(
                f"{error.object!a}: file names here are in {error.encoding}; {UTF8_LOCALE}, and run again (free)"
            ) from error
        except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
            raise PathOccupied(
                f"{error.filename or where} is in the way: {error.strerror}; move it, and run again"
            ) from error
