"""Selections: ``selection.json``, which the page saves. It has the marks of pictures, by their SHA-256."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from runner.core.errors import UsageError

MAX_BYTES = 64 << 20
VERSION = 1


class MarkedPicture(msgspec.Struct, frozen=True, kw_only=True):
    """One picture with a mark or a note."""

    id: str
    sha256: str
    file: str = ""
    mark: Literal["pick", "reject", ""] = ""
    reason: str = ""
    note: str = ""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Marks of the pictures of a batch."""

    version: int
    pictures: tuple[MarkedPicture, ...] = ()


def read_selection(path: Path) -> Selection:
    """Return the selection in the file ``path``. Raises ``UsageError`` if it cannot be read or is no selection."""
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(body) > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES >> 20} MiB, which is no selection")
    try:
        found = msgspec.json.decode(body, type=Selection)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is no selection as the page of `runner report` saves it: {error}") from error
    if found.version != VERSION:
        raise UsageError(f"{path} is a selection of version {found.version}; this program reads version {VERSION}")
    return found


class Marks:
    """Marks of a selection, to be looked up by picture."""

    def __init__(self, pictures: Iterable[MarkedPicture]) -> None:
        self._of_hash: dict[str, list[MarkedPicture]] = {}
        for picture in pictures:
            self._of_hash.setdefault(picture.sha256, []).append(picture)

    def find(self, sha256: str | None, job_id: str) -> MarkedPicture | None:
        """Return the mark of the picture with these bytes; of several such pictures, that of the job ``job_id``."""
        found = self._of_hash.get(sha256 or "", []) if sha256 else []
        if len(found) == 1:
            return found[0]
        return next((picture for picture in found if picture.id == job_id), None)
