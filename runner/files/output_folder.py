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
from runner.core.errors import OutputError
from runner.core.models import Output, Record, State
from runner.files.errors import FileMoved, PathOccupied, disk_errors, file_errors
from runner.files.folder_reader import FolderReader, is_ours
from runner.files.record_paths import archive_folder, by_bytes, names_beside, paths_of
from runner.files.renames import drop_copy, first_free, move, rename

log = logging.getLogger(__name__)


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


class Folder(FolderReader):
    """Output folder of a run that holds its lock."""

    def __init__(self, root: Path, private: Path | None = None) -> None:
        """``private`` is a folder in it that this run has for itself."""
        super().__init__(root)
        self.incoming = (private or root / ".runner") / "incoming"
        self._incoming = str(self.incoming)
        self._arriving = self._incoming + os.sep
        self._names = map(f"{token_hex(8)}-{{}}".format, count())
        self._moving = Lock()
        """Held between the look at what stands at a name and the change of that: other jobs move files, too."""

    def prepare(self) -> None:
        """Make the folder for temporary files, empty of what a crash left. Needs the lock. Raises ``OutputError``."""
        with disk_errors(self.incoming):
            self._require_incoming()
            self.incoming.mkdir(parents=True, exist_ok=True)
            for left in self.incoming.iterdir():
                if left.is_symlink() or not left.is_dir():
                    left.unlink()

    def _require_incoming(self) -> None:
        if not self.contains(self._incoming):
            raise OutputError(f"{self.incoming} leaves the output folder by a link; remove the link")

    def new_incoming_file(self) -> str:
        """A name that nobody else has, for a file on its way. Raises ``OutputError`` where a link leads out."""
        self._require_incoming()
        return f"{self._arriving}{next(self._names)}"

    def nearly_full(self) -> bool:
        """Tell whether no more files should come: a reserve of the disk stays free. Raises ``OutputError``."""
        with disk_errors(self.root):
            return disk.room(self.root) <= 0

    def place(self, record: Record, arrivals: Sequence[IncomingFile], history: Sequence[Record]) -> None:
        """Set aside the files of older purchases, then give every arrival its final name, durably.

        Raises ``PathOccupied`` for a foreign file in the way, ``OutputError`` where the disk refuses. May be repeated.
        """
        with file_errors(self.root):
            others = [other for other in history if other.state is State.DONE and other.purchase != record.purchase]
            targets = [self.name_inside(arrival.output.path or "") for arrival in arrivals]
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
            move(arrival.name, target)
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
                    (rename if passing else self._copy)(arrival.source, first_free(places))
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
            rename(self.path(path), first_free(self.path(place) for place in archive_folder(owner, output)))

    def _archive_older(self, other: Record, targets: set[Path], sources: set[Path]) -> None:
        """Move what another purchase left to ``.replaced/<id>/<purchase>/``; what a person altered stays.

        One of ``sources`` serves both purchases, because the same bytes were bought twice: it stays and is copied.
        """
        for output in other.outputs:
            path = self.root / (output.path or ".")
            if output.path is None or not self.contains(str(path.parent)) or not is_ours(path, output):
                continue
            places = [self.path(place) for place in archive_folder(other, output)]
            if not any(is_ours(place, output) for place in places):
                (self._copy if path in sources else rename)(path, first_free(places))
            elif path in targets - sources:  # a crash came between the two steps of a rename, or it was copied back
                drop_copy(path, next(place for place in places if is_ours(place, output)))

    def _copy(self, source: Path, target: Path) -> None:
        """Give ``source`` a second file under another name, whole and durably. What a crash leaves is emptied later."""
        temporary = Path(self.new_incoming_file())
        with source.open("rb") as whole, temporary.open("xb") as file:
            shutil.copyfileobj(whole, file)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, target)

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
                    drop_copy(arrival.source, target)
                return
            known = arrival.output.path in named or self.is_one_of(target, named)
            if not known or not target.is_file():
                raise PathOccupied(
                    f"{target} is not ours and is in the way; move it, and run again. The picture is paid."
                )
            altered = first_free(names_beside(target))
            rename(target, altered)
            log.warning("%s was changed by hand; that version is kept as %s", target, altered.name)
        (move if passing else rename)(arrival.source, target)

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
            target = first_free(names_beside(source))
            rename(source, target)
            return target.relative_to(self.root).as_posix()

    def restore_file(self, owner: Record, output: Output, path: str) -> str:
        """Move the file of ``owner`` that stands at ``path`` to where it can be taken back from; return where.

        Where the owner has it already it is set apart. Raises as ``set_apart`` does.
        """
        with file_errors(self.root):
            copies = (self.path(place) for place in paths_of(owner, output) if place != path)
            if any(is_ours(copy, output) and not disk.same_file(copy, self.path(path)) for copy in copies):
                return self.keep_altered(path)
            target = first_free(self.path(place) for place in archive_folder(owner, output))
            rename(self.path(path), target)
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
            kept = first_free(places)
            rename(arrival.source, kept)
        elif kept != arrival.source and arrival.source.exists():
            drop_copy(arrival.source, kept)
        return places[kept]


def _flush(arrivals: Iterable[IncomingFile]) -> None:
    """Put the bytes of small arrivals on the disk: no name may ever lead to less than the whole file."""
    for arrival in arrivals:
        if not arrival.flushed:
            disk.flush_file(arrival.name)
