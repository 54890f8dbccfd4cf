"""Verification of every file of the output folder against the results log. Changes nothing.

The files of the purchase in force of each job are checked, and all files in ``.replaced`` and ``.rejected``. A file
that is missing in the archive is not a problem.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from runner.core.disk import folded, hash_file
from runner.core.errors import OutputError
from runner.core.media_formats import EXTENSIONS
from runner.core.models import Output, Record, State
from runner.core.name_sets import NameSet
from runner.files.folder_reader import FolderReader
from runner.files.record_paths import paths_of
from runner.ledger import LedgerReader
from runner.ledger.readers import only
from runner.manifest.names import normal

T = TypeVar("T")
V = TypeVar("V")

THREADS = 8
AHEAD = 64
"""Most files that wait to be hashed or reported at any time."""


class FindingKind(StrEnum):
    """Problem of a file."""

    MISSING = "missing"
    ALTERED = "altered"
    TRUNCATED = "truncated"
    """Shorter than recorded."""
    SWAPPED = "swapped"
    """The bytes are those recorded for another file."""
    FOREIGN = "foreign"
    """A picture or video that no record names."""


class FileCondition(msgspec.Struct, frozen=True):
    """Length of a file and the SHA-256 of its bytes, in hex."""

    bytes: int
    sha256: str


class Owner(msgspec.Struct, frozen=True):
    """File of a purchase for which some bytes were recorded."""

    id: str
    purchase: int
    path: str


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file with a problem. ``path`` is relative to the output folder, with ``/``."""

    kind: FindingKind
    path: str
    id: str | None = None
    purchase: int | None = None
    expected: FileCondition | None = None
    actual: FileCondition | None = None
    belongs_to: Owner | None = None
    """File whose bytes a swapped file contains."""
    note: str | None = None
    """Reason why a file could not be read."""
    copy: bool = False
    """True if the file is a copy or a sidecar, which costs nothing to make again."""


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the verification of a folder."""

    checked: int
    """Number of files that records name and that were checked."""
    wrong: tuple[Finding, ...]

    @property
    def ok(self) -> int:
        """Return the number of files that are as recorded."""
        return self.checked - sum(finding.kind is not FindingKind.FOREIGN for finding in self.wrong)

    def of(self, kind: FindingKind) -> list[Finding]:
        return [finding for finding in self.wrong if finding.kind is kind]

    def as_json(self) -> dict[str, object]:
        """Return the object that ``--json`` prints. Its field names are stable."""
        lists = {kind.value: [msgspec.to_builtins(finding) for finding in self.of(kind)] for kind in FindingKind}
        return {"checked": self.checked, "ok": self.ok, **lists}


class _Expected(msgspec.Struct, frozen=True):
    """A file to look for, at any of ``paths``."""

    record: Record
    output: Output
    paths: tuple[str, ...]
    needed: bool
    """True if the file is reported as missing when it is gone."""
    copy: bool = False
    """True if the file is a copy or a sidecar."""
    never: str = ""
    """Path, without an extension, of a file that could not be downloaded; empty: the file was downloaded."""


def check(ledger: LedgerReader, folder: FolderReader, selected: Callable[[str], bool] | None = None) -> VerifyReport:
    """Compare every file with its record. Raises ``OutputError`` if the folder cannot be read.

    With ``selected``, only the files of the jobs for whose id it returns True. Files that no record names are then left
    out: they belong to no job.
    """
    named = NameSet()
    checked, wrong = 0, []
    with ThreadPoolExecutor(THREADS, thread_name_prefix="verify") as threads:
        for looked, finding in _in_threads(
            threads, lambda item: _look(folder, item), _expected(ledger, named, selected)
        ):
            checked += looked
            wrong += [finding] if finding is not None else []
    unnamed = [path for path in _pictures(folder.root) if normal(path) not in named] if selected is None else []
    foreign = [Finding(kind=FindingKind.FOREIGN, path=path) for path in _without_known(unnamed, ledger, folder)]
    return VerifyReport(checked=checked, wrong=(*_name_owners(ledger, wrong), *foreign))


def _in_threads(threads: ThreadPoolExecutor, call: Callable[[T], V], items: Iterable[T]) -> Iterator[V]:
    """Map ``call`` over ``items`` in order, at most ``AHEAD`` items ahead."""
    waiting: deque[Future[V]] = deque()
    for item in items:
        waiting.append(threads.submit(call, item))
        if len(waiting) >= AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _expected(ledger: LedgerReader, named: NameSet, selected: Callable[[str], bool] | None) -> Iterator[_Expected]:
    """Yield every file to look for, purchase by purchase, and add all paths that their records name to ``named``.

    The paths are normalized, because disks compose letters differently.
    """
    newest = newest_in_place(ledger)
    for record in only(ledger, selected).latest():
        force = is_in_force(record, newest)
        for copy in record.copies:
            named.add(normal(copy.path))
            if force:
                file = Output(url="", path=copy.path, bytes=copy.bytes, sha256=copy.sha256)
                yield _Expected(record, file, (copy.path,), True, copy=True)
        for number, output in enumerate(record.outputs, 1):
            places = list(paths_of(record, output))
            for place in places:
                named.add(normal(place))
            if output.path is None or output.sha256 is None:
                if force and output.path is None and output.error is not None and not record.accepted:
                    yield _Expected(record, output, (), True, never=record.stem(number))
                continue
            if force:
                yield _Expected(record, output, (output.path,), True)
            elif record.state is State.DONE or output.path.startswith(".rejected/"):
                archived = tuple(place for place in places if place.startswith((".replaced/", ".rejected/")))
                yield _Expected(record, output, archived, False)


def newest_in_place(ledger: LedgerReader) -> dict[str, int]:
    """Return the newest purchase with files in place, or about to be, of each job bought more than once."""
    newest: dict[str, int] = {}
    for record in ledger.latest():
        if record.purchase > newest.get(record.id, 1) and (record.state is State.DONE or _is_being_placed(record)):
            newest[record.id] = record.purchase
    return newest


def is_in_force(record: Record, newest: Mapping[str, int]) -> bool:
    """Tell whether the files of a purchase are the current ones of its job. ``newest``: from ``newest_in_place``."""
    return record.state is State.DONE and record.purchase >= newest.get(record.id, 1)


def _is_being_placed(record: Record) -> bool:
    named = any(output.path is not None for output in record.outputs)
    return record.state is State.GENERATED and named and not record.stuck


def _look(folder: FolderReader, item: _Expected) -> tuple[bool, Finding | None]:
    """Return whether a file exists or should exist, and its problem. A correct file at any of its paths is enough."""
    first: Finding | None = None
    for path in item.paths:
        if not os.path.isfile(folder.root / path):  # noqa: PTH113 - raises no exception for invalid names
            continue
        finding = _compare(folder.root / path, path, item)
        if finding is None:
            return True, None
        first = first or finding
    if item.never:
        note = item.output.error.message if item.output.error is not None else None
        return True, Finding(
            kind=FindingKind.MISSING, path=item.never, id=item.record.id, purchase=item.record.purchase, note=note
        )
    if first is None and item.needed:
        first = _finding(FindingKind.MISSING, item.output.path or "", item)
    return first is not None, first


def _compare(file: Path, path: str, item: _Expected) -> Finding | None:
    try:
        actual = FileCondition(file.stat().st_size, hash_file(file))
    except OSError as error:
        return _finding(FindingKind.ALTERED, path, item, note=f"cannot be read: {error.strerror}")
    if actual == _stand(item.output):
        return None
    shorter = actual.bytes < (item.output.bytes or 0)
    return _finding(FindingKind.TRUNCATED if shorter else FindingKind.ALTERED, path, item, actual=actual)


def _finding(
    kind: FindingKind, path: str, item: _Expected, *, actual: FileCondition | None = None, note: str | None = None
) -> Finding:
    return Finding(
        kind=kind,
        path=path,
        id=item.record.id,
        purchase=item.record.purchase,
        expected=_stand(item.output),
        actual=actual,
        note=note,
        copy=item.copy,
    )


def _stand(output: Output) -> FileCondition:
    return FileCondition(output.bytes or 0, output.sha256 or "")


def _name_owners(ledger: LedgerReader, wrong: list[Finding]) -> list[Finding]:
    """Add the owner to each finding whose bytes are recorded for another file.

    Of several owners, one whose own file is wrong is preferred. A finding is left out if the file rightfully belongs to
    another job: it replaced a file that the manifest no longer wants there.
    """
    strange = {finding.path for finding in wrong}
    owners: dict[str, Owner] = {finding.actual.sha256: _NOBODY for finding in wrong if finding.actual is not None}
    rightful: set[tuple[str, str]] = set()
    newest = newest_in_place(ledger) if owners else {}
    for record in ledger.latest() if owners else ():
        if is_in_force(record, newest):
            rightful |= {(copy.path, copy.sha256) for copy in record.copies if copy.path in strange}
        for output in record.outputs:
            if output.path is None or output.sha256 not in owners:
                continue
            if output.path in strange and is_in_force(record, newest):
                rightful.add((output.path, output.sha256))
            if owners[output.sha256] is _NOBODY or owners[output.sha256].path not in strange:
                owners[output.sha256] = Owner(record.id, record.purchase, output.path)
    return [_with_owner(f, owners) for f in wrong if f.actual is None or (f.path, f.actual.sha256) not in rightful]


_NOBODY = Owner("", 0, "")


def _with_owner(finding: Finding, owners: dict[str, Owner]) -> Finding:
    owner = owners[finding.actual.sha256] if finding.actual is not None else _NOBODY
    if owner is _NOBODY:
        return finding
    return msgspec.structs.replace(finding, kind=FindingKind.SWAPPED, belongs_to=owner)


def _pictures(root: Path) -> Iterator[str]:
    """Yield every picture and video below ``root``, except in the internal folder of ``runner``."""
    for folder, below, names in os.walk(root, onerror=_refuse):
        inside = Path(folder).relative_to(root)
        below[:] = sorted(name for name in below if inside.parts or name != ".runner")
        for name in sorted(names):
            if name.rpartition(".")[2].lower() in EXTENSIONS:
                yield (inside / name).as_posix()


def _without_known(paths: list[str], ledger: LedgerReader, folder: FolderReader) -> list[str]:
    """Return ``paths`` without the files that records name in another spelling: through a link, or in another case."""
    if not paths:
        return paths
    spelled: dict[str, set[str]] = {folded(path.rpartition("/")[2]): set() for path in paths}
    for known in _recorded_paths(ledger):
        alike = spelled.get(folded(known.rpartition("/")[2]))
        if alike is not None:
            alike.add(known)
    return [
        path for path in paths if not folder.is_one_of(folder.root / path, spelled[folded(path.rpartition("/")[2])])
    ]


def _recorded_paths(ledger: LedgerReader) -> Iterator[str]:
    for record in ledger.latest():
        yield from (output.path for output in record.outputs if output.path)
        yield from (copy.path for copy in record.copies)


def _refuse(error: OSError) -> None:
    raise OutputError(
        f"{error.filename} cannot be read: {error.strerror}. Nothing was changed or bought; correct the permissions "
        "of the folder, and repeat."
    ) from error
