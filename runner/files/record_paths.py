"""Paths that the files of a purchase may have by its record. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from runner.core.models import Output, Record

REPLACED = ".replaced"
"""Where the files of older purchases are kept, ``<id>/<purchase>`` below it."""
LONGEST_NAME = 255
"""In bytes: what common file systems take."""


def paths_of(record: Record, output: Output) -> list[str]:
    """Where a purchase's file may be: in its place, on the way to it, or set aside for a newer purchase's."""
    return [path for path in (output.path, output.moved_from) if path] + archive_folder(record, output)


def archive_folder(record: Record, output: Output) -> list[str]:
    """Where a purchase's file may be set aside: by its name, and by its bytes too where that name was taken.

    A job that was renamed left them under its old id.
    """
    if not output.path:
        return []
    names = [(record.id, record.purchase)]
    if record.renamed_from is not None:
        names.append((record.renamed_from, record.renamed_purchase or record.purchase))
    plain = [archive_path(msgspec.structs.replace(record, id=i, purchase=n), output.path) for i, n in names]
    return [place for path in plain for place in (path, by_bytes(path, output))]


def archive_path(record: Record, path: str) -> str:
    """Where a purchase's file is kept once a newer purchase took its place."""
    return f"{REPLACED}/{record.id}/{record.purchase}/{path.rpartition('/')[2]}"


def by_bytes(path: str, output: Output) -> str:
    """A name of its own for these bytes: ``mug.png`` becomes ``mug.0f3a9c51.png``."""
    folder, _, name = path.rpartition("/")
    stem, _, extension = name.rpartition(".")
    digits = "".join(filter(str.isalnum, (output.sha256 or "")[:8]))  # a record's text, and no part of a path
    return f"{folder}/{_fitted(stem, f'.{digits}.{extension}')}"


def _fitted(stem: str, ending: str) -> str:
    """``stem`` with ``ending``, cut where the two are longer than a disk takes."""
    room = max(0, LONGEST_NAME - len(_bytes(ending)))
    return _bytes(stem)[:room].decode(errors="ignore") + ending


def _bytes(name: str) -> bytes:
    """UTF-8, whatever the locale: a file that cannot be written here must not end what only looks for it."""
    return name.encode(errors="surrogateescape")


def names_beside(path: Path) -> Iterator[Path]:
    """``mug.png.altered``, ``mug.png.altered-2``, ``mug.png.altered-3`` …"""
    yield path.with_name(_fitted(path.name, ".altered"))
    yield from (path.with_name(_fitted(path.name, f".altered-{number}")) for number in count(2))
