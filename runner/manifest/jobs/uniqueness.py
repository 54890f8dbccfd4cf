"""Uniqueness of ids and files across all jobs of a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.core.text import UTF8_LOCALE, unwritable_name
from runner.manifest.jobs.store import Claims, folders, key_of, stems
from runner.manifest.names import folded
from runner.manifest.nodes import Mark, RowMark

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.core.models import Job, Json
    from runner.manifest.jobs.store import JobStore, StoredJob
    from runner.manifest.problems import Problems


_VARIANTS: Final = (
    "ids are unique: leave out rows of variants with `where:`, or tell them apart with a second column in the `id`"
)


class UniqueNames:
    """Checker of unique ids and files. It adds each job to the store and notes its conflicts with earlier jobs."""

    def __init__(self, store: JobStore, problems: Problems) -> None:
        self._store = store
        self._claims: Claims = store.claims
        self._problems = problems
        self._unwritable = False
        """True if a name was found that the file system's encoding cannot write. Only the first one is reported."""

    def add(self, job: Job, *, generated: str | None, id_mark: Mark, file_mark: Mark,
            copy_marks: Sequence[Mark] = (), row: RowMark | None = None, keys: dict[str, Json] | None = None,
            cells: dict[str, Json] | None = None) -> None:  # fmt: skip
        """Add ``job`` with its ``keys`` of the matrix to the store, and note its conflicts.

        ``cells`` are the columns of its row, if they are kept. ``copy_marks`` are the positions of its copies.

        ``generated`` is the id that was made from the inputs, without a suffix for the size; None: the job has an id of
        its own.
        """
        owner = self._store.add(job, row, keys, cells)
        if not self._unwritable and not (job.id.isascii() and job.file.isascii()):
            self._check_writable(job, file_mark)
        key = key_of(job.id)
        first = self._claims.ids.setdefault(key, owner)
        if first == owner and generated not in (None, job.id):
            # `sizes: [64x64]` and `size: 64x64` of one prompt are the same purchase with two ids.
            first = self._claims.ids.setdefault(key_of(str(generated)), owner)
        if first != owner:
            return self._refuse_id(job, self._store.at(first), generated=generated is not None, mark=id_mark)
        made = self._claims.copy_stems.get(key_of(job.file)) if self._store.publishes else None
        if made is not None:
            where = self._where(self._store.at(made))
            what = f"the file `{job.file}` may have the name of a copy, or its folder, of {where}"
            self._problems.error(file_mark, what, "give each job a file of its own")
        if clash := self._take_file(job, owner, key):
            self._problems.error(file_mark, clash, "give each job a file of its own")
        for recipe, mark in zip(job.copies, copy_marks, strict=False):
            if clash := self._take_copy(recipe.path(1), job, owner):
                self._problems.error(mark, clash, "give each copy a file of its own, such as one in another folder")
        return None

    def _take_copy(self, path: str, job: Job, owner: int) -> str | None:
        """Claim the path of a copy and its folders. Return the conflict, if any."""
        above = [(folder, key_of(folder)) for folder in folders(path)]
        clash = next(self._copy_clashes(path, above, job, owner), None)
        self._claims.copies.setdefault(key_of(path), owner)
        self._claims.copy_stems.setdefault(key_of(path.rpartition(".")[0]), owner)
        for folder, folder_key in above:
            self._claims.copy_folders.setdefault(folder_key, owner)
            for stem in stems(folder):
                self._claims.copy_stems.setdefault(key_of(stem), owner)
        return clash

    def _copy_clashes(self, path: str, above: Sequence[tuple[str, bytes]], job: Job, owner: int) -> Iterator[str]:
        """Yield the conflicts of a copy with other copies, files and folders."""
        stem, key = path.rpartition(".")[0], key_of(path)
        if (found := self._claims.copies.get(key)) is not None:
            yield f"the copy `{path}` is also that of {self._where(self._store.at(found))}"
        if folded(stem) == folded(job.file):
            yield f"the copy `{path}` may have the name of its original, the file `{job.file}`"
        if (other := self._owner_of_file(stem, key_of(stem), job, owner)) is not None:
            yield f"the copy `{path}` may have the name of {self._file_of(other)}"
        found = self._claims.folders.get(key)
        if found is not None or (found := self._claims.copy_folders.get(key)) is not None:
            yield f"the copy `{path}` has the name of a folder of {self._where(self._store.at(found))}"
        for folder, folder_key in above:
            if (found := self._claims.copies.get(folder_key)) is not None:
                yield f"`{folder}`, a folder of the copy `{path}`, is a copy of {self._where(self._store.at(found))}"
            for name in stems(folder):
                if folded(name) == folded(job.file):
                    yield f"`{folder}`, a folder of the copy `{path}`, may be its original"
                if (other := self._owner_of_file(name, key_of(name), job, owner)) is not None:
                    yield f"`{folder}`, a folder of the copy `{path}`, may be an output of {self._where(other)}"

    def _check_writable(self, job: Job, mark: Mark) -> None:
        if reason := unwritable_name(job.file) or unwritable_name(job.id):
            self._unwritable = True
            self._problems.error(mark, f"the file `{job.file}` {reason}", UTF8_LOCALE)

    def _take_file(self, job: Job, owner: int, id_key: bytes) -> str | None:
        """Claim the file and its folders, unless the file has the name of the job. Return the conflict, if any."""
        if job.file == job.id:
            return self._file_clash(job, owner, id_key, ())
        key = key_of(job.file)
        above = [(folder, key_of(folder)) for folder in folders(job.file)]
        clash = self._file_clash(job, owner, key, above)
        if key != id_key:
            self._claims.files.setdefault(key, owner)
            for folder, folder_key in above:
                self._claims.folders.setdefault(folder_key, owner)
                for stem in stems(folder):
                    self._claims.stems.setdefault(key_of(stem), owner)
        return clash

    def _refuse_id(self, job: Job, first: StoredJob, *, generated: bool, mark: Mark) -> None:
        other = first.job
        if not job.model:
            return  # both jobs have no model, which is an error already
        if generated and other.fingerprint == job.fingerprint:
            what = f"the same model and inputs as {self._where(first)}, and no ids to tell them apart"
            self._problems.error(mark, what, "delete one; to buy both, write `repeat: 2` or give them ids")
        elif other.id == job.id:
            what = f"the id `{job.id}` is taken by {self._where(first)}"
            same_feed = isinstance(mark, RowMark) and first.feed == mark.source
            self._problems.error(mark, what, _VARIANTS if same_feed else "ids are unique")
        else:
            what = f"the ids `{job.id}` and `{other.id}`, of {self._where(first)}, differ in case only"
            self._problems.error(mark, what, "they are one on many disks: choose another")

    def _file_clash(self, job: Job, owner: int, key: bytes, above: Sequence[tuple[str, bytes]]) -> str | None:
        """Return the conflict of the job's file with other jobs.

        ``key`` is the key of the file, ``above`` its folders and their keys.
        """
        if (other := self._owner_of_file(job.file, key, job, owner)) is not None:
            return f"the file `{job.file}` is also that of {self._where(other)}"
        inside = self._claims.folders.get(key)
        if inside is not None:
            other = self._store.at(inside)
            return f"the file `{job.file}` is a folder of `{other.job.file}`, {self._file_of(other)}"
        inside = self._claims.stems.get(key)
        if inside is not None and inside != owner:
            other = self._store.at(inside)
            what = f"an output of the file `{job.file}` may have the same name as a folder of `{other.job.file}`"
            return f"{what}, {self._file_of(other)}"
        for folder, folder_key in above:
            for stem in stems(folder):
                if (other := self._owner_of_file(stem, key_of(stem), job, owner)) is not None:
                    return f"`{folder}`, a folder of the file `{job.file}`, may be an output of {self._where(other)}"
            if (other := self._owner_of_file(folder, folder_key, job, owner)) is not None:
                return f"`{folder}`, a folder of the file `{job.file}`, is the file of {self._where(other)}"
        return None

    def _owner_of_file(self, file: str, key: bytes, job: Job, owner: int) -> StoredJob | None:
        """Return the other job that writes to ``file``; None: no other job does."""
        found = self._claims.files.get(key)
        if found is not None:
            return self._store.at(found)
        if file == job.id:
            return None  # the id of this job was claimed just before
        # A job without a file of its own writes to its id.
        found = self._claims.ids.get(key)
        if found is None or found == owner:
            return None
        other = self._store.at(found)
        return other if folded(other.job.file) == folded(file) else None

    def _file_of(self, stored: StoredJob) -> str:
        return f"the file of {self._where(stored)}"

    def _where(self, stored: StoredJob) -> str:
        if stored.feed:
            return f"the row at {self._problems.place(RowMark(stored.row, 1, stored.feed))}"
        return f"the job at {self._problems.place(Mark(stored.job.line, stored.job.column))}"
