"""Renamed manifests: a manifest that is gone bought the same jobs into a folder beside the new manifest's folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from runner.core.errors import ConflictError, RunnerError
from runner.core.models import EMULATOR, OPEN, OWED, Job, Record, State
from runner.core.name_sets import NameSet
from runner.ledger import open_reader
from runner.ledger.records import LEDGER, BadLine, decode
from runner.manifest import spelling

log = logging.getLogger(__name__)

PEEK = 1 << 20
"""Bytes at the end of a log that are searched for its last line."""
_PAID = OWED | OPEN | {State.DONE}


class FormerFolder(msgspec.Struct, frozen=True, kw_only=True):
    """Folder with purchases of a manifest's jobs, made by a manifest that is gone."""

    root: Path
    manifest: Path
    count: int


def refuse_renamed(root: Path, beside: Iterable[Path], jobs: Iterable[Job]) -> None:
    """Raise ``ConflictError`` if a folder in one of ``beside`` holds what a run into ``root`` would buy again.

    The search takes place only as long as ``root`` has no results: then the other folders may be opened and read.
    """
    if any(_holds_lines(root, name) for name in _logs(root)):
        return
    found = max(_former_folders(root, beside, jobs), key=lambda former: former.count, default=None)
    if found is None:
        return
    purchases = "a purchase" if found.count == 1 else f"{found.count:,} purchases"
    raise ConflictError(
        f"{found.root} holds {purchases} of the same jobs as this manifest, made by {found.manifest}, which no longer "
        f"exists. If that manifest was renamed, write `name: {found.root.name}` in the new one (or give --output "
        f"{found.root}) to use them. To buy these jobs again, write `name: {root.name}`. Nothing was bought."
    )


def _former_folders(root: Path, beside: Iterable[Path], jobs: Iterable[Job]) -> Iterator[FormerFolder]:
    for folder in _siblings(root, beside):
        try:
            yield from _former(folder, jobs)
        except RunnerError as error:
            log.warning("%s could not be searched for purchases of these jobs: %s", folder, error)


def _siblings(root: Path, beside: Iterable[Path]) -> list[Path]:
    found = []
    for parent in dict.fromkeys(beside):
        try:
            found += [entry for entry in sorted(parent.iterdir()) if entry.is_dir() and entry != root]
        except OSError:
            continue
    return [folder for folder in found if _may_be_of_a_gone_manifest(folder)]


def _logs(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if LEDGER.fullmatch(name)]  # noqa: PTH208 - only names are needed
    except OSError:
        return []


def _holds_lines(folder: Path, name: str) -> bool:
    try:
        return (folder / name).stat().st_size > 0
    except OSError:
        return False


def _may_be_of_a_gone_manifest(folder: Path) -> bool:
    """Tell whether the first or the last line of a log names a manifest that is gone.

    Only such folders are read completely.
    """
    return any(_is_of_a_gone_manifest(folder, record) for name in _logs(folder) for record in _ends_of(folder / name))


def _ends_of(path: Path) -> Iterator[Record]:
    """Yield the first and the last record of a log, if they can be read."""
    try:
        with path.open("rb") as file:
            first = file.readline(PEEK)
            file.seek(max(0, file.seek(0, os.SEEK_END) - PEEK))
            lines = [first, *file.read().splitlines()[-1:]]
    except OSError:
        return
    for line in lines:
        try:
            yield decode(line)
        except BadLine:
            continue


def _is_of_a_gone_manifest(folder: Path, record: Record) -> bool:
    if record.manifest == "-" or record.api == EMULATOR:
        return False
    return not os.path.lexists(folder / record.manifest)


def _former(folder: Path, jobs: Iterable[Job]) -> Iterator[FormerFolder]:
    """Yield ``folder`` with the number of ``jobs`` that a vanished manifest bought there. Raises ``RunnerError``."""
    bought, manifest = NameSet(), ""
    with open_reader(folder) as ledger:
        for record in ledger.latest():
            if record.state in _PAID and _is_of_a_gone_manifest(folder, record):
                manifest = record.manifest
                bought.add(record.fingerprint)
                bought.add(spelling(record.model, record.inputs))
    if not manifest:
        return
    count = sum(job.fingerprint in bought or spelling(job.model, job.inputs) in bought for job in jobs)
    if count:
        yield FormerFolder(root=folder, manifest=Path(os.path.normpath(folder / manifest)), count=count)
