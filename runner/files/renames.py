"""Renames that never replace another file. The docstrings say which are durable."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from runner.core import disk
from runner.files.errors import PathOccupied

TRIES = 5
"""Attempts to rename into a folder that is removed as empty at the same moment."""


def first_free(paths: Iterable[Path]) -> Path:
    """Return the first free path of ``paths``. Raises ``PathOccupied`` if all are taken."""
    for path in paths:
        if not os.path.lexists(path):
            return path
    raise PathOccupied(f"{path} is not the runner's and is in the way; move it, and run again. The picture is paid.")


def drop_copy(copy: Path, kept: Path) -> None:
    """Delete ``copy`` of the file at ``kept``; if both may be the same file, rename it to ``kept`` instead."""
    if disk.is_second_name(copy, kept):
        copy.unlink(missing_ok=True)
    elif copy.parent == kept.parent and not (copy.is_symlink() or kept.is_symlink()):
        copy.rename(kept)  # names that differ in case only; a rename of one file deletes nothing


def rename(source: Path, target: Path) -> None:
    """Rename durably in both folders, without replacing another file."""
    move(source, target)
    disk.flush_folder(target.parent)
    if source.parent != target.parent:
        with suppress(FileNotFoundError):  # another process moved the last file out, and removed the folder
            disk.flush_folder(source.parent)


def move(source: Path, target: Path) -> None:
    """Rename without replacing another file; the caller makes the rename durable."""
    for tries_left in reversed(range(TRIES)):
        try:
            disk.give_name(source, target)
        except (FileNotFoundError, NotADirectoryError):
            if not tries_left or not os.path.lexists(source):
                raise
        else:
            return
        with suppress(FileNotFoundError):  # ``remove_emptied`` of another file may have removed a parent
            make_folder(target.parent)  # another process may have created it; raises if a file is in its place


def remove_emptied(folder: Path, root: Path) -> None:
    """Remove ``folder`` and its parents below ``root``, up to the first that holds anything; no error is raised.

    A file was moved out of ``folder``. After a crash in between an empty folder is left, which harms nothing.
    """
    while folder != root and disk.is_within(folder, root):
        try:
            folder.rmdir()  # removes neither a folder with anything in it nor a link
        except OSError:
            return
        folder = folder.parent


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, and flush each new name."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    disk.flush_folder(folder.parent)
