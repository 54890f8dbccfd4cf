"""Output folder: only complete files have final names, and no foreign file is ever replaced."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock

import msgspec

from runner.core import disk
from runner.core.errors import OutputError
from runner.core.models import Output, Record, State
from runner.files.errors import FileMoved, PathOccupied, disk_errors, file_errors
from runner.files.folder_reader import FolderReader, is_ours
from runner.files.record_paths import archive_folder, by_bytes, names_beside, paths_of
from runner.files.renames import drop_copy, first_free, move, remove_emptied, rename

log = logging.getLogger(__name__)


class IncomingFile(msgspec.Struct, frozen=True, kw_only=True):
    """Checked and flushed file at ``source`` with the final path ``output.path``."""

    source: Path
    output: Output


class Folder(FolderReader):
    """Output folder of a run that holds its lock."""

    def __init__(self, root: Path, private: Path | None = None) -> None:
        """Open the folder ``root``; ``private`` is a subfolder that only this run uses."""
        super().__init__(root)
        self.incoming = (private or root / ".runner") / "incoming"
        self._moving = Lock()
        """Lock from the check of a path to its change, since other jobs move files too."""

    def prepare(self) -> None:
        """Create the folder for temporary files, and delete what a crash left in it.

        The caller holds the lock of the output folder. Raises ``OutputError``.
        """
        with disk_errors(self.incoming):
            self._require_incoming()
            self.incoming.mkdir(parents=True, exist_ok=True)
            for left in self.incoming.iterdir():
                if left.is_symlink() or not left.is_dir():
                    left.unlink()

    def _require_incoming(self) -> None:
        if not self.contains(self.incoming):
            raise OutputError(f"{self.incoming} leaves the output folder by a link; remove the link")

    def new_incoming_file(self) -> Path:
        """Return a unique path for a temporary file. Raises ``OutputError`` if a link leads out of the folder."""
        self._require_incoming()
        return self.incoming / token_hex(12)

    def nearly_full(self) -> bool:
        """Tell whether only the reserve of the disk is left, so that no more files fit. Raises ``OutputError``."""
        with disk_errors(self.root):
            return disk.room(self.root) <= 0

    def require_room(self) -> None:
        """Raise ``OutputError`` if only the reserve of the disk is left."""
        if self.nearly_full():
            raise OutputError(f"{self.root}: the disk is nearly full; make room and run again")

    def place(self, record: Record, arrivals: Sequence[IncomingFile], history: Sequence[Record]) -> None:
        """Archive the files of older purchases, then rename every arrival to its final path, durably.

        Raises ``PathOccupied`` for a foreign file in the way, ``OutputError`` for a disk error. May be repeated.
        """
        with file_errors(self.root):
            others = [other for other in history if other.state is State.DONE and other.purchase != record.purchase]
            targets = [self.path(arrival.output.path or "") for arrival in arrivals]
            if others or not all(map(self._move_to_free_path, arrivals, targets)):
                self._place_among(others, arrivals, targets)
            for folder in {target.parent for target in targets}:
                disk.flush_folder(folder)  # the source folder needs no flush: it is emptied before each run

    def _move_to_free_path(self, arrival: IncomingFile, target: Path) -> bool:
        """Rename an arrival if it was just downloaded and its path is free, without waiting for moves of other jobs."""
        if not self._is_passing(arrival):
            return False
        try:
            move(arrival.source, target)
        except FileExistsError:
            return False
        return True

    def _place_among(self, others: Sequence[Record], arrivals: Sequence[IncomingFile], targets: Sequence[Path]) -> None:
        """Archive the files of older purchases, and rename each arrival that is not in place yet."""
        with self._moving:
            for other in reversed(others):
                self._archive_older(other, set(targets), {arrival.source for arrival in arrivals})
            named = {output.path for other in others for output in other.outputs if output.path}
            for arrival, target in zip(arrivals, targets, strict=True):
                self._give_name(arrival, target, named)

    def archive_arrivals(self, record: Record, arrivals: Sequence[IncomingFile]) -> None:
        """Move arrivals to the archive, durably, because a newer purchase's files are in place. May be repeated.

        Raises ``PathOccupied`` if other files are in the archive paths, ``OutputError`` for a disk error.
        """
        with file_errors(self.root), self._moving:
            for arrival in arrivals:
                places = [self.path(place) for place in archive_folder(record, arrival.output)]
                passing = self._require_source(arrival)
                if not any(is_ours(place, arrival.output) for place in places):
                    (rename if passing else self._copy)(arrival.source, first_free(places))
                elif passing:
                    arrival.source.unlink()

    def occupied(self, record: Record, arrivals: Sequence[IncomingFile], history: Sequence[Record]) -> list[str]:
        """Return the final paths of arrivals that a file occupies which no purchase of the job names.

        Free paths are not checked further: ``place`` checks the folders on the way.
        """
        mine = {output.path for other in history if other.purchase != record.purchase for output in other.outputs}
        taken = []
        with file_errors(self.root):
            for arrival in arrivals:
                path = arrival.output.path or ""
                if path in mine or not os.path.lexists(self.root / path):
                    continue
                target = self.path(path)
                if arrival.source == target or is_ours(target, arrival.output) or self.is_one_of(target, mine):
                    continue
                taken.append(path)
        return taken

    def move_to_archive(self, owner: Record, path: str) -> None:
        """Archive the file of another job under that job's id, unless the job has moved the file by now.

        Raises ``PathOccupied`` if the bytes of the file are not those that the job recorded.
        """
        with file_errors(self.root), self._moving:
            output = next(output for output in owner.outputs if output.path == path)
            if not os.path.lexists(self.path(path)):
                return
            if not is_ours(self.path(path), output):
                raise PathOccupied(
                    f"{self.root / path} was changed since job {owner.id} put it there; move it, and run again"
                )
            self._move_out(self.path(path), first_free(self.path(place) for place in archive_folder(owner, output)))

    def _archive_older(self, other: Record, targets: set[Path], sources: set[Path]) -> None:
        """Move the files of another purchase to ``.replaced/<id>/<purchase>/``; files altered by hand stay.

        A file in ``sources`` serves both purchases, because the same bytes were bought twice: it is copied instead.
        """
        for output in other.outputs:
            path = self.root / (output.path or ".")
            if output.path is None or not self.contains(path.parent) or not is_ours(path, output):
                continue
            places = [self.path(place) for place in archive_folder(other, output)]
            if not any(is_ours(place, output) for place in places):
                (self._copy if path in sources else self._move_out)(path, first_free(places))
            elif path in targets - sources:  # after a crash between the two steps of a rename, or after a copy back
                drop_copy(path, next(place for place in places if is_ours(place, output)))

    def _copy(self, source: Path, target: Path) -> None:
        """Copy ``source`` to ``target``, atomically and durably. ``prepare`` deletes what a crash leaves."""
        temporary = self.new_incoming_file()
        with source.open("rb") as whole, temporary.open("xb") as file:
            shutil.copyfileobj(whole, file)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, target)

    def _give_name(self, arrival: IncomingFile, target: Path, named: Collection[str]) -> None:
        """Rename an arrival. A file in the way at a path that other purchases of the job name was altered by hand."""
        if arrival.source == target:
            return
        passing = self._require_source(arrival)
        if os.path.lexists(target):
            if is_ours(target, arrival.output):
                if passing:
                    arrival.source.unlink(missing_ok=True)
                else:
                    drop_copy(arrival.source, target)
                    remove_emptied(arrival.source.parent, self.root)
                return
            known = arrival.output.path in named or self.is_one_of(target, named)
            if not known or not target.is_file():
                raise PathOccupied(
                    f"{target} is not the runner's and is in the way; move it, and run again. The picture is paid."
                )
            altered = first_free(names_beside(target))
            rename(target, altered)
            log.warning("%s was changed by hand; that version is kept as %s", target, altered.name)
        (move if passing else self._move_out)(arrival.source, target)

    def _move_out(self, source: Path, target: Path) -> None:
        """Rename a file of ours durably, and remove the folders that are empty without it."""
        rename(source, target)
        if source.parent != target.parent:
            remove_emptied(source.parent, self.root)

    def _require_source(self, arrival: IncomingFile) -> bool:
        """Tell whether an arrival was just downloaded. Raises ``FileMoved`` if a file found in place has changed since.

        Another job may have archived the file and put its own file in its place.
        """
        if self._is_passing(arrival):
            return True
        if not is_ours(arrival.source, arrival.output):
            raise FileMoved(f"{arrival.source} is not there any more: another job has archived it")
        return False

    def _is_passing(self, arrival: IncomingFile) -> bool:
        """Tell whether an arrival was just downloaded, so that it is in the folder for temporary files."""
        return arrival.source.parent == self.incoming

    def is_waiting(self, arrival: IncomingFile) -> bool:
        """Tell whether an arrival was just downloaded and still has its temporary name."""
        return self._is_passing(arrival) and os.path.lexists(arrival.source)

    def discard(self, arrivals: Iterable[IncomingFile]) -> None:
        """Delete downloaded arrivals that are not needed. ``prepare`` deletes the rest before the next run."""
        for arrival in arrivals:
            if self._is_passing(arrival):
                with suppress(OSError):
                    arrival.source.unlink(missing_ok=True)

    def keep_altered(self, path: str) -> str:
        """Rename the file at ``path`` to ``<file>.altered``, replacing no other file, and return the new path.

        Raises ``PathOccupied`` if a link leads out of the folder, ``FileMoved``, or ``OutputError``.
        """
        with file_errors(self.root):
            source = self.path(path)
            target = first_free(names_beside(source))
            rename(source, target)
            return target.relative_to(self.root).as_posix()

    def restore_file(self, owner: Record, output: Output, path: str) -> str:
        """Move the file of ``owner`` at ``path`` to the archive of ``owner``, and return the new path.

        If the owner has another copy of the file, the file is kept as ``keep_altered`` does. Raises the same errors as
        ``keep_altered``.
        """
        with file_errors(self.root):
            copies = (self.path(place) for place in paths_of(owner, output) if place != path)
            if any(is_ours(copy, output) and not disk.same_file(copy, self.path(path)) for copy in copies):
                return self.keep_altered(path)
            target = first_free(self.path(place) for place in archive_folder(owner, output))
            self._move_out(self.path(path), target)
            return target.relative_to(self.root).as_posix()

    def reject(self, record: Record, arrivals: Iterable[IncomingFile]) -> tuple[Output, ...]:
        """Move rejected files to ``.rejected/<id>/<purchase>/``, and return the outputs with the new paths.

        Raises ``PathOccupied`` if a link leads out of the folder, ``OutputError`` for a disk error.
        """
        kept = []
        with file_errors(self.root):
            for arrival in arrivals:
                path = self._keep_rejected(record, arrival)
                kept.append(msgspec.structs.replace(arrival.output, path=path, moved_from=None))
        return tuple(kept)

    def _keep_rejected(self, record: Record, arrival: IncomingFile) -> str:
        """Keep a rejected file under its name, or under a name by its bytes if the name is taken; return the path."""
        name = (arrival.output.path or "").rpartition("/")[2]
        plain = f".rejected/{record.id}/{record.purchase}/{name}"
        places = {self.path(path): path for path in (plain, by_bytes(plain, arrival.output))}
        kept = next((path for path in places if is_ours(path, arrival.output)), None)
        if kept is None:
            kept = first_free(places)
            rename(arrival.source, kept)
        elif kept != arrival.source and arrival.source.exists():
            drop_copy(arrival.source, kept)
        return places[kept]
