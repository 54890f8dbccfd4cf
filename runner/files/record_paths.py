"""Possible paths of the files of a purchase, by its record. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from runner.core.models import Output, Record

REPLACED = ".replaced"
"""Archive folder for the files of older purchases, with ``<id>/<purchase>`` below it."""
LONGEST_NAME = 255
"""Maximum bytes of a file name on common file systems."""


def paths_of(record: Record, output: Output) -> Iterator[str]:
    """Yield the possible paths of a purchase's file: in place, before an unfinished rename, archived."""
    yield from filter(None, (output.path, output.moved_from))
    yield from archive_folder(record, output)


def archive_folder(record: Record, output: Output) -> list[str]:
    """Return the possible archive paths of a purchase's file: by its name, and by its bytes if the name was taken.

    The files of a renamed job may be archived under the old id.
    """
    if not output.path:
        return []
    names = [(record.id, record.purchase)]
    if record.renamed_from is not None:
        names.append((record.renamed_from, record.renamed_purchase or record.purchase))
    plain = [archive_path(msgspec.structs.replace(record, id=i, purchase=n), output.path) for i, n in names]
    return [place for path in plain for place in (path, by_bytes(path, output))]


def archive_path(record: Record, path: str) -> str:
    """Return the archive path of a purchase's file, used once a newer purchase has taken its place."""
    return f"{REPLACED}/{record.id}/{record.purchase}/{path.rpartition('/')[2]}"


def by_bytes(path: str, output: Output) -> str:
    """Return a path that is specific to the bytes of ``output``: ``mug.png`` becomes ``mug.0f3a9c51.png``."""
    folder, _, name = path.rpartition("/")
    stem, _, extension = name.rpartition(".")
    digits = "".join(filter(str.isalnum, (output.sha256 or "")[:8]))  # the record is untrusted: only letters and digits
    return f"{folder}/{_fitted(stem, f'.{digits}.{extension}')}"


def _fitted(stem: str, ending: str) -> str:
    """Return ``stem`` with ``ending``; ``stem`` is cut if the name would be longer than ``LONGEST_NAME``."""
    room = max(0, LONGEST_NAME - len(_bytes(ending)))
    return _bytes(stem)[:room].decode(errors="ignore") + ending


def _bytes(name: str) -> bytes:
    """Return ``name`` in UTF-8 for any locale, so that a lookup never fails for a name that cannot be written here."""
    return name.encode(errors="surrogateescape")


def names_beside(path: Path) -> Iterator[Path]:
    """Yield ``mug.png.altered``, ``mug.png.altered-2``, ``mug.png.altered-3`` and so on."""
    yield path.with_name(_fitted(path.name, ".altered"))
    yield from (path.with_name(_fitted(path.name, f".altered-{number}")) for number in count(2))
