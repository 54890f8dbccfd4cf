"""Store of checked jobs: JSON lines in a temporary file without a name, which is deleted when the process ends.

A run sends the jobs as they were checked: it reads the store and never the manifest again. ``Claims`` records which
ids and files are taken.
"""

from __future__ import annotations

import tempfile
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final
from weakref import finalize

import msgspec

from runner.core.media_formats import EXTENSIONS
from runner.core.models import Job, Json
from runner.core.name_sets import NumberMap, digest
from runner.manifest.names import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.manifest.nodes import RowMark

_BLOCK_BYTES: Final = 1 << 18

_ENDINGS: Final = {
    *EXTENSIONS,
    *("svg", "heic", "pdf", "txt", "json", "srt", "vtt", "zip", "gz", "tar"),
    *("mp3", "wav", "ogg", "flac", "m4a", "mkv", "avi"),
    *("glb", "gltf", "obj", "stl", "ply", "fbx", "usdz"),
}
"""Extensions that the name of an output may have."""


class StoredJob(msgspec.Struct, frozen=True, array_like=True):
    """Job as it is stored, with the row of a feed that it was made from (0: no row) and its keys of the matrix."""

    job: Job
    row: int = 0
    feed: str = ""
    keys: dict[str, Json] = msgspec.field(default_factory=dict)
    """Keys of ``matrix:`` and their values, without those of sizes: ``{"view": "front"}``."""
    cells: dict[str, Json] | None = None
    """Columns of the row, if they are kept."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(StoredJob).decode


class JobStore:
    """Jobs in manifest order. They can be read any number of times, by several readers at once.

    Memory holds a digest and an offset for each id, never a job.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="runner-")  # noqa: SIM115 - closed by close()
        self._free = finalize(self, _close, self._file)  # not ``__del__``: in a cycle it may run after the file is gone
        self.claims = Claims()
        self._lock = threading.Lock()
        self._end = 0
        self._count = 0
        self.publishes = False
        """True if anything is made of the files of any job."""

    def add(
        self,
        job: Job,
        row: RowMark | None = None,
        keys: dict[str, Json] | None = None,
        cells: dict[str, Json] | None = None,
    ) -> int:
        """Append ``job``, made from ``row`` with ``keys`` of the matrix. Return the offset of its line, for ``at``.

        ``cells`` are the columns of the row, if they are kept.
        """
        stored = StoredJob(job, row.line if row else 0, row.source if row else "", keys or {}, cells if row else None)
        line = _encode(stored) + b"\n"
        with self._lock:
            offset = self._end
            self._file.write(line)
            self._end += len(line)
        self._count += 1
        self.publishes = self.publishes or job.publishes
        return offset

    def flush(self) -> None:
        """Write all buffered jobs to the file, so that a full disk is noticed now. Raises ``OSError``."""
        with self._lock:
            self._file.flush()

    def at(self, offset: int) -> StoredJob:
        """Return the job whose line begins at ``offset``."""
        with self._lock:
            self._file.seek(offset)
            line = self._file.readline()
            self._file.seek(self._end)
        return _decode(line)

    def __iter__(self) -> Iterator[Job]:
        return (_decode(line).job for line in self._lines())

    def stored(self) -> Iterator[StoredJob]:
        """Yield each job with its row and its keys, in manifest order."""
        return map(_decode, self._lines())

    def flagged(self, flags: bytearray) -> Iterator[Job | None]:
        """Yield one item per flag, in manifest order: the job, or None where the flag is 0. Only jobs are decoded."""
        return (_decode(line).job if flag else None for flag, line in zip(flags, self._lines(), strict=False))

    def ids(self) -> Iterator[str]:
        """Yield the id of every job, in manifest order."""
        return (job.id for job in self)

    def _lines(self) -> Iterator[bytes]:
        offset, rest = 0, b""
        while block := self._read(offset):
            offset += len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from lines

    def _read(self, offset: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            block = self._file.read(_BLOCK_BYTES)
            self._file.seek(self._end)
        return block

    def __len__(self) -> int:
        return self._count

    def find(self, job_id: str) -> Job | None:
        """Return the job with exactly this id; None: there is none."""
        offset = self.claims.ids.get(key_of(job_id))
        job = self.at(offset).job if offset is not None else None
        return job if job is not None and job.id == job_id else None

    def __contains__(self, job_id: object) -> bool:
        """Tell whether a job has exactly this id.

        ``Mug`` is not ``mug`` here, though a manifest cannot have both.
        """
        return isinstance(job_id, str) and self.find(job_id) is not None

    def close(self) -> None:
        """Delete the file; nothing can be read afterwards. Closing twice is allowed."""
        self._free()


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # data that a full disk refused is no longer needed
        file.close()


def key_of(name: str) -> bytes:
    """Return a key that is equal for all names that are the same on a case-insensitive disk."""
    return digest(folded(name))


class Claims:
    """Names taken so far, by ``key_of``, and the job that took each of them, by its offset in the store.

    The file of most jobs has the name of the job. ``files`` holds only the files with another name.
    """

    def __init__(self) -> None:
        self.ids = NumberMap()
        self.files = NumberMap()
        self.folders = NumberMap()
        self.copies = NumberMap()
        """Paths of copies, with their extensions."""
        self.copy_folders = NumberMap()
        self.copy_stems = NumberMap()
        """Names that the file of a job may get, with its extension, from copies and their folders."""
        self.stems = NumberMap()
        """Stems of folders: ``hero`` for a folder ``hero.png``, the name that the file of a job ``hero`` may have."""


def stems(folder: str) -> list[str]:
    """Return the files of which an output may be named like ``folder``: ``hero-2`` and ``hero`` for ``hero-2.png``."""
    stem, _, ending = folder.rpartition(".")
    if not stem or ending.lower() not in _ENDINGS:
        return []
    first, _, number = stem.rpartition("-")
    return [stem, first] if first and number.isdecimal() else [stem]


def folders(file: str) -> Iterator[str]:
    """Yield the folders of ``file``: ``a`` and ``a/b`` for ``a/b/c``."""
    end = file.find("/")
    while end >= 0:
        yield file[:end]
        end = file.find("/", end + 1)
