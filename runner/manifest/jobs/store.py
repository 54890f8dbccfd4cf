"""Store of checked jobs: JSON lines in a temporary file without a name, which is deleted when the process ends.

A run sends the jobs as they were checked: it reads the store and never the manifest again. ``Claims`` records which
ids and files are taken.
"""

from __future__ import annotations

import os
import tempfile
import threading
from array import array
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final
from weakref import finalize

import msgspec

from runner.core.media_formats import EXTENSIONS
from runner.core.models import Job
from runner.core.name_sets import Numbering, digest
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

_encode: Final = msgspec.json.Encoder().encode

_decode: Final = msgspec.json.Decoder(Job).decode


class StoredJob(Job, frozen=True, kw_only=True, omit_defaults=True):
    """Job as it is stored, with the row that it was made from, if any."""

    feed: str = ""
    row: int = 0


class _Named(msgspec.Struct):
    """Part of a stored job: its id only."""

    id: str


_decode_with_row: Final = msgspec.json.Decoder(StoredJob).decode


_decode_id: Final = msgspec.json.Decoder(_Named).decode


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
        self._flushed = 0  # end of the data that ``pread`` can read
        self._count = 0

    def add(self, job: Job, row: RowMark | None = None) -> int:
        """Append ``job``, made from ``row``. Return the offset of its line, for ``at``."""
        line = _encode(job) + b"\n"
        if row is not None:
            line = line[:-2] + b',"row":%d,"feed":%b}\n' % (row.line, _encode(row.source))
        with self._lock:
            offset = self._end
            self._file.write(line)
            self._end += len(line)
        self._count += 1
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
        return _decode_with_row(line)

    def __iter__(self) -> Iterator[Job]:
        return map(_decode, self._lines())

    def flagged(self, flags: bytearray) -> Iterator[Job | None]:
        """Yield one item per flag, in manifest order: the job, or None where the flag is 0. Only jobs are decoded."""
        return (_decode(line) if flag else None for flag, line in zip(flags, self._lines(), strict=False))

    def ids(self) -> Iterator[str]:
        """Yield the id of every job, in manifest order."""
        return (_decode_id(line).id for line in self._lines())

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
        job = self.at(offset) if offset is not None else None
        return job if job is not None and job.id == job_id else None

    def __contains__(self, job_id: object) -> bool:
        """Tell whether a job has exactly this id.

        ``Mug`` is not ``mug`` here, though a manifest cannot have both.
        """
        if not isinstance(job_id, str) or (offset := self.claims.ids.get(key_of(job_id))) is None:
            return False
        beginning = b'{"id":%b,' % _encode(job_id)
        with self._lock:
            if self._flushed != self._end:
                self._file.flush()
                self._flushed = self._end
            return os.pread(self._file.fileno(), len(beginning), offset) == beginning

    def close(self) -> None:
        """Delete the file; nothing can be read afterwards. Closing twice is allowed."""
        self._free()


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # data that a full disk refused is no longer needed
        file.close()


def key_of(name: str) -> bytes:
    """Return a key that is equal for all names that are the same on a case-insensitive disk."""
    return digest(folded(name))


class NameOwners:
    """First owner of each key, as a number with a meaning for the caller."""

    def __init__(self) -> None:
        self._numbers = Numbering()
        self._owners = array("Q")

    def take(self, key: bytes, owner: int) -> int:
        """Return the owner of ``key``: ``owner`` itself, if the key was free."""
        number = self._numbers.add(key)
        if number == len(self._owners):
            self._owners.append(owner)
        return self._owners[number]

    def get(self, key: bytes) -> int | None:
        if not self._owners:
            return None
        number = self._numbers.find(key)
        return None if number is None else self._owners[number]


class Claims:
    """Keys taken so far, and the job that took each of them.

    The file of most jobs has the name of the job. ``files`` holds only the files with another name.
    """

    def __init__(self) -> None:
        self.ids = NameOwners()
        self.files = NameOwners()
        self.folders = NameOwners()
        self.stems = NameOwners()
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
