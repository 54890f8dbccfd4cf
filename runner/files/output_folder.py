"""Output folder: files whole under their final names, never over a file that is not ours."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from secrets import token_hex
from threading import Lock

import msgspec

from runner.core import disk
from runner.core.disk import hash_file
from runner.core.errors import OutputError
from runner.core.models import Output, Record, State
from runner.files.errors import FileMoved, PathOccupied, disk_errors, file_errors
from runner.files.record_paths import REPLACED, archive_folder, archive_path, by_bytes, names_beside, paths_of

log = logging.getLogger(__name__)

MOST_FOLDERS = 10_000
"""Remembered; then they are forgotten and walked again."""


class IncomingFile(msgspec.Struct, frozen=True, kw_only=True):
    """A checked file at ``source`` that is to stand at ``output.path``."""

    name: str
    """Its source as text: every file of every job passes here."""
    output: Output
    flushed: bool = True
    """False: its bytes are to be flushed before it gets its name."""

    @property
    def source(self) -> Path:
        return Path(self.name)


class Folder:
    """The output folder. Paths in records are relative to it, with ``/``."""

    def __init__(self, root: Path, private: Path | None = None) -> None:
        """``private`` is a folder in it that this run has for itself."""
        self.root = root
        self.incoming = (private or root / ".runner") / "incoming"
        self._root = str(root)
        self._incoming = str(self.incoming)
        self._arriving = self._incoming + os.sep
        self._names = map(f"{token_hex(8)}-{{}}".format, count())
        self._moving = Lock()
        """Held between the look at what stands at a name and the change of that: other jobs move files, too."""
        self._inside: dict[str, tuple[int, int]] = {}
        """Folders that were seen to be in this one, and which they were."""

    def prepare(self) -> None:
        """Make the folder for temporary files, empty of what a crash left. Needs the lock. Raises ``OutputError``."""
        with disk_errors(self.incoming):
            self._require_incoming()
            self.incoming.mkdir(parents=True, exist_ok=True)
            for left in self.incoming.iterdir():
                if left.is_symlink() or not left.is_dir():
                    left.unlink()

    def _require_incoming(self) -> None:
        if not self._holds(self._incoming):
            raise OutputError(f"{self.incoming} leaves the output folder by a link; remove the link")

    def new_incoming_file(self) -> str:
        """A name that nobody else has, for a file on its way. Raises ``OutputError`` where a link leads out."""
        self._require_incoming()
        return f"{self._arriving}{next(self._names)}"

    def nearly_full(self) -> bool:
        """Tell whether no more files should come: a reserve of the disk stays free. Raises ``OutputError``."""
        with disk_errors(self.root):
            return disk.room(self.root) <= 0

    def path(self, relative: str) -> Path:
        """Where a record's path is on this disk. Raises ``PathOccupied`` where a link leads out of the folder."""
        return Path(self._inside_name(relative))

    def _inside_name(self, relative: str) -> str:
        """The same as text: every file of every job passes here."""
        name = f"{self._root}/{relative}"
        if not self._holds(name.rpartition("/")[0]):
            raise PathOccupied(f"{name} leaves the output folder by a link")
        return name

    def _holds(self, name: str) -> bool:
        """Tell whether a folder is in the output folder, links followed. Walked once, as long as it is the same one."""
        found = _identity(name)
        if found is not None and self._inside.get(name) == found:
            return True
        inside = disk.is_within(Path(name), self.root)
        if inside and found is not None:
            if len(self._inside) >= MOST_FOLDERS:
                self._inside.clear()
            self._inside[name] = found
        return inside

    def present(self, record: Record) -> bool:
        """Tell whether every file of a done purchase can be found, in its place or set aside. Looking follows links."""
        for output in files_of(record):
            there = os.path.isfile(f"{self._root}/{output.path}")  # noqa: PTH113 - text: a million files are looked for
            if not there and not any(_is_file(self.root / path) for path in paths_of(record, output)):
                return False
        return bool(files_of(record))

    def holds(self, record: Record) -> bool:
        """Tell whether every file of a done purchase stands somewhere with its own bytes."""
        with file_errors(self.root):
            return all(
                any(is_ours(self.root / path, output) for path in paths_of(record, output))
                for output in files_of(record)
            )

    def displaced(self, record: Record) -> bool:
        """Tell whether a file of a done purchase was set aside for another purchase's, and is not in its place."""
        if not self._has_archive(record.id) and not (record.renamed_from and self._has_archive(record.renamed_from)):
            return False
        with file_errors(self.root):
            return any(
                not is_ours(self.root / (output.path or "."), output)
                for output in record.outputs
                if any(_is_file(self.root / path) for path in archive_folder(record, output))
            )

    def _has_archive(self, job_id: str) -> bool:
        """Tell whether anything of the job was set aside at all: mostly not, and that is one look."""
        return os.access(f"{self._root}/{REPLACED}/{job_id}", os.F_OK)

    def find_checked(self, record: Record, output: Output) -> str | None:
        """The path at which a purchase's file stands with the bytes recorded, or None.

        Raises ``PathOccupied`` where a link leads out of the folder, ``OutputError`` where the disk refuses.
        """
        with file_errors(self.root):
            return next((path for path in paths_of(record, output) if is_ours(self.path(path), output)), None)

    def archive_path(self, record: Record, output: Output) -> str:
        """Where a purchase's file is set aside: the place that holds its bytes, else the one that it would get."""
        with file_errors(self.root):
            places = [*filter(None, [output.moved_from]), *archive_folder(record, output)]
            found = (place for place in places if is_ours(self.root / place, output))
            return next(found, archive_path(record, output.path or ""))

    def place(self, record: Record, arrivals: Sequence[IncomingFile], history: Sequence[Record]) -> None:
        """Set aside the files of older purchases, then give every arrival its final name, durably.

        Raises ``PathOccupied`` for a foreign file in the way, ``OutputError`` where the disk refuses. May be repeated.
        """
        with file_errors(self.root):
            others = [other for other in history if other.state is State.DONE and other.purchase != record.purchase]
            targets = [self._inside_name(arrival.output.path or "") for arrival in arrivals]
            _flush(arrivals)
            if others or not all(map(self._named_at_once, arrivals, targets)):
                self._place_among(others, arrivals, [Path(target) for target in targets])
            for folder in {target.rpartition("/")[0] for target in targets}:
                disk.flush_folder(folder)  # where they came from nothing is missed: it is emptied before each run

    def _named_at_once(self, arrival: IncomingFile, target: str) -> bool:
        """Name an arrival, if it was just fetched and nothing stands there; no other job's move is waited for."""
        if not self._is_passing(arrival):
            return False
        try:
            _move(arrival.name, target)
        except FileExistsError:
            return False
        return True

    def _place_among(self, others: Sequence[Record], arrivals: Sequence[IncomingFile], targets: Sequence[Path]) -> None:
        """Set aside the files of older purchases, and give each arrival its name that has it not yet."""
        with self._moving:
            for other in reversed(others):
                self._archive_older(other, set(targets), {arrival.source for arrival in arrivals})
            named = {output.path for other in others for output in other.outputs if output.path}
            for arrival, target in zip(arrivals, targets, strict=True):
                self._give_name(arrival, target, named)

    def archive_arrivals(self, record: Record, arrivals: Sequence[IncomingFile]) -> None:
        """Put what came after a newer purchase's files where that would have set it aside, durably. May be repeated.

        Raises ``PathOccupied`` where other files are there already, ``OutputError`` where the disk refuses.
        """
        with file_errors(self.root), self._moving:
            _flush(arrivals)
            for arrival in arrivals:
                places = [self.path(place) for place in archive_folder(record, arrival.output)]
                passing = self._require_source(arrival)
                if not any(is_ours(place, arrival.output) for place in places):
                    (_rename if passing else self._copy)(arrival.source, _first_free(places))
                elif passing:
                    arrival.source.unlink()

    def occupied(self, record: Record, arrivals: Sequence[IncomingFile], history: Sequence[Record]) -> list[str]:
        """Paths where an arrival should go and where something stands that no purchase of the job names.

        Where nothing stands nothing more is looked at: ``place`` judges the way there.
        """
        mine = {output.path for other in history if other.purchase != record.purchase for output in other.outputs}
        taken = []
        with file_errors(self.root):
            for arrival in arrivals:
                path = arrival.output.path or ""
                if path in mine or not os.path.lexists(f"{self.root}/{path}"):
                    continue
                target = self.path(path)
                if arrival.source == target or is_ours(target, arrival.output) or self.is_one_of(target, mine):
                    continue
                taken.append(path)
        return taken

    def is_one_of(self, target: Path, paths: Iterable[str | None]) -> bool:
        """Tell whether ``target`` is the file at one of ``paths`` under another spelling. Raises ``OSError``."""
        return any(disk.same_file(target, self.root / path) for path in paths if path)

    def move_to_archive(self, owner: Record, path: str) -> None:
        """Set another job's file aside, under that job's name, unless that job has moved it away itself by now.

        Raises ``PathOccupied`` if its bytes are not the job's.
        """
        with file_errors(self.root), self._moving:
            output = next(output for output in owner.outputs if output.path == path)
            if not os.path.lexists(self.path(path)):
                return
            if not is_ours(self.path(path), output):
                raise PathOccupied(
                    f"{self.root / path} was changed since job {owner.id} put it there; move it, and run again"
                )
            _rename(self.path(path), _first_free(self.path(place) for place in archive_folder(owner, output)))

    def _archive_older(self, other: Record, targets: set[Path], sources: set[Path]) -> None:
        """Move what another purchase left to ``.replaced/<id>/<purchase>/``; what a person altered stays.

        One of ``sources`` serves both purchases, because the same bytes were bought twice: it stays and is copied.
        """
        for output in other.outputs:
            path = self.root / (output.path or ".")
            if output.path is None or not self._holds(str(path.parent)) or not is_ours(path, output):
                continue
            places = [self.path(place) for place in archive_folder(other, output)]
            if not any(is_ours(place, output) for place in places):
                (self._copy if path in sources else _rename)(path, _first_free(places))
            elif path in targets - sources:  # a crash came between the two steps of a rename, or it was copied back
                _drop_copy(path, next(place for place in places if is_ours(place, output)))

    def _copy(self, source: Path, target: Path) -> None:
        """Give ``source`` a second file under another name, whole and durably. What a crash leaves is emptied later."""
        temporary = Path(self.new_incoming_file())
        with source.open("rb") as whole, temporary.open("xb") as file:
            shutil.copyfileobj(whole, file)
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, target)

    def _give_name(self, arrival: IncomingFile, target: Path, named: Collection[str]) -> None:
        """Rename an arrival. A file in its way at a path that the job's other purchases name was altered by hand."""
        if arrival.source == target:
            return
        passing = self._require_source(arrival)
        if os.path.lexists(target):
            if is_ours(target, arrival.output):
                if passing:
                    arrival.source.unlink(missing_ok=True)
                else:
                    _drop_copy(arrival.source, target)
                return
            known = arrival.output.path in named or self.is_one_of(target, named)
            if not known or not target.is_file():
                raise PathOccupied(
                    f"{target} is not ours and is in the way; move it, and run again. The picture is paid."
                )
            altered = _first_free(names_beside(target))
            _rename(target, altered)
            log.warning("%s was changed by hand; that version is kept as %s", target, altered.name)
        (_move if passing else _rename)(arrival.source, target)

    def _require_source(self, arrival: IncomingFile) -> bool:
        """True if an arrival was just fetched. Raises ``FileMoved`` where it was found in place and that has changed.

        Since it was found, another job may have set it aside and have put its own picture there.
        """
        if self._is_passing(arrival):
            return True
        if not is_ours(arrival.source, arrival.output):
            raise FileMoved(f"{arrival.source} is not there any more: another job has set it aside")
        return False

    def _is_passing(self, arrival: IncomingFile) -> bool:
        """Tell whether an arrival was just fetched, and stands where only its own delivery looks."""
        return arrival.name.startswith(self._arriving)

    def is_waiting(self, arrival: IncomingFile) -> bool:
        """Tell whether an arrival was just fetched and has no name yet."""
        return self._is_passing(arrival) and os.path.lexists(arrival.name)

    def discard(self, arrivals: Iterable[IncomingFile]) -> None:
        """Remove what was fetched and will not be named. What cannot be removed is emptied before the next run."""
        for arrival in arrivals:
            if self._is_passing(arrival):
                with suppress(OSError):
                    arrival.source.unlink(missing_ok=True)

    def keep_altered(self, path: str) -> str:
        """Keep what stands at ``path`` beside it as ``<file>.altered``, over no other file; return where.

        Raises ``PathOccupied`` where a link leads out of the folder, ``FileMoved``, or ``OutputError``.
        """
        with file_errors(self.root):
            source = self.path(path)
            target = _first_free(names_beside(source))
            _rename(source, target)
            return target.relative_to(self.root).as_posix()

    def restore_file(self, owner: Record, output: Output, path: str) -> str:
        """Move the file of ``owner`` that stands at ``path`` to where it can be taken back from; return where.

        Where the owner has it already it is set apart. Raises as ``set_apart`` does.
        """
        with file_errors(self.root):
            copies = (self.path(place) for place in paths_of(owner, output) if place != path)
            if any(is_ours(copy, output) and not disk.same_file(copy, self.path(path)) for copy in copies):
                return self.keep_altered(path)
            target = _first_free(self.path(place) for place in archive_folder(owner, output))
            _rename(self.path(path), target)
            return target.relative_to(self.root).as_posix()

    def reject(self, record: Record, arrivals: Iterable[IncomingFile]) -> tuple[Output, ...]:
        """Keep pictures that were not accepted under ``.rejected/<id>/<purchase>/``, and say where.

        Raises ``PathOccupied`` where a link leads out of the folder, ``OutputError`` where the disk refuses.
        """
        kept = []
        with file_errors(self.root):
            _flush(arrivals)
            for arrival in arrivals:
                path = self._keep_rejected(record, arrival)
                kept.append(msgspec.structs.replace(arrival.output, path=path, moved_from=None))
        return tuple(kept)

    def _keep_rejected(self, record: Record, arrival: IncomingFile) -> str:
        """Where the picture is kept: under its name, or one of its own where other bytes have that."""
        name = (arrival.output.path or "").rpartition("/")[2]
        plain = f".rejected/{record.id}/{record.purchase}/{name}"
        places = {self.path(path): path for path in (plain, by_bytes(plain, arrival.output))}
        kept = next((path for path in places if is_ours(path, arrival.output)), None)
        if kept is None:
            kept = _first_free(places)
            _rename(arrival.source, kept)
        elif kept != arrival.source and arrival.source.exists():
            _drop_copy(arrival.source, kept)
        return places[kept]


def _flush(arrivals: Iterable[IncomingFile]) -> None:
    """Put the bytes of small arrivals on the disk: no name may ever lead to less than the whole file."""
    for arrival in arrivals:
        if not arrival.flushed:
            disk.flush_file(arrival.name)


def _first_free(paths: Iterable[Path]) -> Path:
    """The first of ``paths`` where nothing stands. Raises ``PathOccupied``."""
    for path in paths:
        if not os.path.lexists(path):
            return path
    raise PathOccupied(f"{path} is not ours and is in the way; move it, and run again. The picture is paid.")


def files_of(record: Record) -> list[Output]:
    """The outputs of a done purchase but for those that could not be had."""
    return [output for output in record.outputs if output.path is not None or output.error is None]


def is_ours(path: Path, output: Output) -> bool:
    """Tell whether the bytes at ``path`` are those that the record of ``output`` names. Raises ``OSError``."""
    if output.sha256 is None or not path.is_file():
        return False
    return path.stat().st_size == output.bytes and hash_file(path) == output.sha256


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _drop_copy(copy: Path, kept: Path) -> None:
    """Delete ``copy`` of a file that stands at ``kept``; where the two may be one file, only give it the new name."""
    if disk.is_second_name(copy, kept):
        copy.unlink(missing_ok=True)
    elif copy.parent == kept.parent and not (copy.is_symlink() or kept.is_symlink()):
        copy.rename(kept)  # upper and lower case; of one file a rename deletes nothing


def _rename(source: Path, target: Path) -> None:
    """Rename without ever replacing another file, durably on both sides."""
    _move(source, target)
    disk.flush_folder(target.parent)
    if source.parent != target.parent:
        disk.flush_folder(source.parent)


def _move(source: Path | str, target: Path | str) -> None:
    """The same, to be made durable by the caller."""
    try:
        disk.give_name(source, target)
    except (FileNotFoundError, NotADirectoryError):
        # by now another process may have made it; or this says what stands in its place
        _make_folder(Path(target).parent)
        disk.give_name(source, target)


def _identity(folder: str) -> tuple[int, int] | None:
    """Which folder that is; None where there is none."""
    try:
        return disk.identity(folder)
    except OSError:
        return None


def _make_folder(folder: Path) -> None:
    """``mkdir -p``, each new name flushed."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    disk.flush_folder(folder.parent)
