"""Renames that never replace another file, durable where they say so."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from runner.core import disk
from runner.files.errors import PathOccupied


def first_free(paths: Iterable[Path]) -> Path:
    """Return the first of ``paths`` where nothing stands. Raises ``PathOccupied``."""
    for path in paths:
        if not os.path.lexists(path):
            return path
    raise PathOccupied(f"{path} is not ours and is in the way; move it, and run again. The picture is paid.")


def drop_copy(copy: Path, kept: Path) -> None:
    """Delete ``copy`` of a file that stands at ``kept``; where the two may be one file, only give it the new name."""
    if disk.is_second_name(copy, kept):
        copy.unlink(missing_ok=True)
    elif copy.parent == kept.parent and not (copy.is_symlink() or kept.is_symlink()):
        copy.rename(kept)  # upper and lower case; of one file a rename deletes nothing


def rename(source: Path, target: Path) -> None:
    """Rename without ever replacing another file, durable in both folders."""
    move(source, target)
    disk.flush_folder(target.parent)
    if source.parent != target.parent:
        disk.flush_folder(source.parent)


def move(source: Path | str, target: Path | str) -> None:
    """Rename without ever replacing another file; the caller makes it durable."""
    try:
        disk.give_name(source, target)
    except (FileNotFoundError, NotADirectoryError):
        # Another process may have made the folder by now. If a file stands there, this raises.
        make_folder(Path(target).parent)
        disk.give_name(source, target)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, and flush each new name."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    disk.flush_folder(folder.parent)
