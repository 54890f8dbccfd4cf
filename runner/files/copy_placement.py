"""Files of copies: temporary files, and their renames over nothing but earlier copies of ours."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterable
from pathlib import Path

from runner.core import disk
from runner.core.copies import CopyFile
from runner.files.errors import PathOccupied, file_errors
from runner.files.output_folder import Folder
from runner.files.renames import move


def keep(folder: Folder, data: bytes) -> tuple[Path, str]:
    """Write ``data`` to a temporary file, not flushed yet. Return its path and SHA-256. Raises ``OutputError``."""
    temporary = folder.new_incoming_file()
    with file_errors(temporary), temporary.open("xb") as file:
        file.write(data)
    return temporary, hashlib.sha256(data).hexdigest()


def is_in_place(folder: Folder, copy: CopyFile) -> bool:
    """Tell whether the file of a recorded copy is there.

    Only where an earlier copy may be in its place after a crash, the bytes are compared.
    """
    path = folder.root / copy.path
    try:
        if path.stat().st_size != copy.bytes or not path.is_file():
            return False
        return copy.replaces is None or disk.hash_file(path) == copy.sha256
    except OSError:
        return False


def replaced_hash(folder: Folder, temporary: Path, copy: CopyFile, ours: Container[str]) -> str | None:
    """Flush a new copy, and return the SHA-256 of the earlier one at its path.

    None: the path is free, or has the same bytes. ``ours`` has the earlier copies, as hash, space and path. Raises
    ``PathOccupied`` for a file that is not a copy of ours, or was changed since, and ``OutputError``.
    """
    with file_errors(folder.root):
        disk.flush_file(temporary)
        target = folder.path(copy.path)
        if not os.path.lexists(target):
            return None
        if not target.is_file() or target.is_symlink():
            raise PathOccupied(f"{target} is not a copy of runner's and is in the way; move it, and run again (free)")
        found = disk.hash_file(target)
        if found != copy.sha256 and f"{found} {copy.path}" not in ours:
            raise PathOccupied(
                f"{target} is not a copy of runner's, or was changed by hand, and is in the way; move it, and run "
                "again (free)"
            )
        return None if found == copy.sha256 else found


def place(folder: Folder, temporary: Path, copy: CopyFile) -> None:
    """Rename a recorded copy to its final path. ``flush_folders`` makes that durable.

    Raises ``PathOccupied`` or ``OutputError``.
    """
    with file_errors(folder.root):
        target = folder.path(copy.path)
        try:
            move(temporary, target)
        except FileExistsError:
            if not target.is_file() or disk.hash_file(target) not in (copy.sha256, copy.replaces):
                raise
            temporary.replace(target)


def flush_folders(folder: Folder, copies: Iterable[CopyFile]) -> None:
    """Make renames durable. The folder of temporary files needs no flush: it is emptied before each run."""
    with file_errors(folder.root):
        for parent in {folder.root / copy.path.rpartition("/")[0] for copy in copies}:
            if parent.is_dir():
                disk.flush_folder(parent)
