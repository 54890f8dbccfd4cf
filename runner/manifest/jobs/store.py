"""Store of checked jobs: JSON lines in a temporary file that has no name and ends with the process.

What was checked is what is sent: a run reads the store and never the manifest again. ``Claims`` tells which ids and
files are taken already.
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
"""What an output's name may end in."""

_encode: Final = msgspec.json.Encoder().encode

_decode: Final = msgspec.json.Decoder(Job).decode


class StoredJob(Job, frozen=True, kw_only=True, omit_defaults=True):
    """A job as it lies in the spool: with the row that it was made from, if any."""

    feed: str = ""
    row: int = 0


class _Named(msgspec.Struct):
    """As much of a job as says which it is."""

    id: str


_decode_with_row: Final = msgspec.json.Decoder(StoredJob).decode


_decode_id: Final = msgspec.json.Decoder(_Named).decode


class JobStore:
    """Jobs in the order of the manifest, read as often as needed, by several readers at once.

    In memory it holds a digest and an offset for each id, never a job.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="runner-")  # noqa: SIM115 - closed by close()
        self._free = finalize(self, _close, self._file)  # not ``__del__``: in a cycle the file might go before it
        self.claims = Claims()
        self._lock = threading.Lock()
        self._end = 0
        self._flushed = 0  # so far ``pread`` can see it
        self._count = 0

    def add(self, job: Job, row: RowMark | None = None) -> int:
        """Append ``job``, made from ``row``. Returns the offset of its line, by which ``at`` finds it again."""
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
        """Hand everything to the system, so that a full disk is noticed now. Raises ``OSError``."""
        with self._lock:
            self._file.flush()

    def at(self, offset: int) -> StoredJob:
        """The job whose line begins at ``offset``."""
        with self._lock:
            self._file.seek(offset)
            line = self._file.readline()
            self._file.seek(self._end)
        return _decode_with_row(line)

    def __iter__(self) -> Iterator[Job]:
        return map(_decode, self._lines())

    def flagged(self, flags: bytearray) -> Iterator[Job | None]:
        """The first jobs, one for each of ``flags``; None for one that has a 0 there, and is not decoded."""
        return (_decode(line) if flag else None for flag, line in zip(flags, self._lines(), strict=False))

    def ids(self) -> Iterator[str]:
        """The id of every job, in the order of the manifest."""
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
        """The job with exactly this id."""
        offset = self.claims.ids.get(key_of(job_id))
        job = self.at(offset) if offset is not None else None
        return job if job is not None and job.id == job_id else None

    def __contains__(self, job_id: object) -> bool:
        """Tell whether a job has exactly this id; ``Mug`` is not ``mug`` here, though they cannot both be jobs."""
        if not isinstance(job_id, str) or (offset := self.claims.ids.get(key_of(job_id))) is None:
            return False
        beginning = b'{"id":%b,' % _encode(job_id)
        with self._lock:
            if self._flushed != self._end:
                self._file.flush()
                self._flushed = self._end
            return os.pread(self._file.fileno(), len(beginning), offset) == beginning

    def close(self) -> None:
        """Free the file; nothing can be read after that. Closing twice is fine."""
        self._free()


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # what a full disk did not take is not wanted any more
        file.close()


def key_of(name: str) -> bytes:
    """The same for all names that are one on such a disk."""
    return digest(folded(name))


class NameOwners:
    """Keys → who was the first to take them, as a number that means something to the caller."""

    def __init__(self) -> None:
        self._numbers = Numbering()
        self._owners = array("Q")

    def take(self, key: bytes, owner: int) -> int:
        """Who has ``key``: ``owner``, if nobody had it before."""
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
    """Keys taken so far, and which job took them.

    A job's file is mostly called like the job; ``files`` holds only those that are not.
    """

    def __init__(self) -> None:
        self.ids = NameOwners()
        self.files = NameOwners()
        self.folders = NameOwners()
        self.stems = NameOwners()
        """``hero`` for a folder ``hero.png``: the file that a job ``hero`` gets has that name."""


def stems(folder: str) -> list[str]:
    """The files of which an output may be called like ``folder``: ``hero`` and ``hero-2`` for ``hero-2.png``."""
    stem, _, ending = folder.rpartition(".")
    if not stem or ending.lower() not in _ENDINGS:
        return []
    first, _, number = stem.rpartition("-")
    return [stem, first] if first and number.isdecimal() else [stem]


def folders(file: str) -> Iterator[str]:
    """``a`` and ``a/b`` for ``a/b/c``."""
    end = file.find("/")
    while end >= 0:
        yield file[:end]
        end = file.find("/", end + 1)
