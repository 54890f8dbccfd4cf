"""Disk operations in threads, and the small operations that make them durable.

Each owner has its own executor: the default executor also serves name resolution and other libraries, which a slow
flush must not stall. On a fast disk a small operation runs in the calling thread. A handover to another thread takes
longer, because while the event loop is busy the thread waits for the interpreter at each system call.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic, perf_counter
from typing import ParamSpec, TypeVar
from unicodedata import normalize

P = ParamSpec("P")
T = TypeVar("T")

flush_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""Flush the bytes and length of a file; without its times on systems that have ``fdatasync``."""


THREAD_SECONDS = 0.0003
"""Cost of handing a small operation to a thread. An operation that takes longer belongs in a thread."""
MOST_LOST = 10 * THREAD_SECONDS
"""Seconds that operations in the calling thread may lose, less what they gained, before the disk counts as slow. The
margin allows for waits for the interpreter, which happen now and then while other threads are busy."""
TWICE = 2
"""Least number of slow operations that make up ``MOST_LOST``: each counts at most ``MOST_LOST / TWICE``, so a single
slow operation has no effect."""
CAUTION = 100
"""Operations that then go to threads before the disk is tried again; doubled each time the disk is still slow."""
MOST_CAUTION = 100_000
"""Upper limit of the doubled ``CAUTION``."""


RESERVE_BYTES = 256 * 2**20
"""Bytes of a disk that are left free, so that purchases can still be recorded and other programs keep working."""
RESERVE_SHARE = 20
"""On a small disk the reserve is at most 1 / ``RESERVE_SHARE`` of the whole disk."""


LOOK_SECONDS = 0.1
"""Seconds for which a measurement of the free space is reused; changes within this time are seen a moment later."""


class DiskSpeed:
    """Measured speed of one kind of operation on this disk: fast operations run in the calling thread."""

    def __init__(self) -> None:
        self._careful = 0
        self._lost = 0.0
        self._caution = CAUTION

    def quick(self) -> bool:
        """Tell whether to run the next operation in the calling thread. Each call counts as one operation."""
        if self._careful:
            self._careful -= 1
        return self._careful == 0

    def learn(self, seconds: float) -> None:
        """Record the time of an operation that ran in the calling thread."""
        lost = seconds - THREAD_SECONDS
        if lost <= 0:
            self._caution = CAUTION
            if self._lost:
                self._lost = max(0.0, self._lost + lost)
            return
        self._lost += min(lost, MOST_LOST / TWICE)
        if self._lost >= MOST_LOST:
            self.take_care()

    def take_care(self) -> None:
        """Use threads for the next operations."""
        self._careful, self._lost = self._caution + 1, 0.0
        self._caution = min(MOST_CAUTION, 2 * self._caution)


class Disk(ThreadPoolExecutor):
    """Threads for disk operations, with the measured speed of each kind of operation."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._judgements: defaultdict[str, DiskSpeed] = defaultdict(DiskSpeed)
        self._room = 0
        self._looked = float("-inf")

    def judgement(self, call: Callable[..., object]) -> DiskSpeed:
        """Return the measured speed of operations like ``call``."""
        return self._judgements[call.__name__]

    def fits(self, target: str, length: int) -> bool:
        """Tell whether ``length`` more bytes fit on the disk of ``target``.

        The free space is measured at most every ``LOOK_SECONDS``, less the bytes that ``wrote`` counted since. Raises
        ``OSError``.
        """
        now = monotonic()
        if now >= self._looked + LOOK_SECONDS:
            self._room, self._looked = room(Path(target).parent), now
        return length < self._room

    def wrote(self, length: int) -> None:
        """Count ``length`` bytes as used until the next measurement of the free space."""
        self._room -= length

    async def small(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a small operation: in the calling thread if such operations are fast, otherwise in a thread."""
        judgement = self.judgement(call)
        if not judgement.quick():
            return await in_thread(self, call, *args, **kwargs)
        return timed(judgement, call, *args, **kwargs)


def timed(judgement: DiskSpeed, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``call`` in the calling thread, and record its time in ``judgement``."""
    start = perf_counter()
    try:
        return call(*args, **kwargs)
    finally:
        judgement.learn(perf_counter() - start)


async def in_thread(executor: Executor | None, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``call`` in ``executor`` (None: the loop's own). A cancelled caller returns; the call runs to its end."""
    return await asyncio.get_running_loop().run_in_executor(executor, lambda: call(*args, **kwargs))


def flush_file(path: Path | str) -> None:
    """Make the bytes of a file durable, whichever process wrote them. Raises ``OSError``."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(folder: Path | str) -> None:
    """Make a rename or a new name in ``folder`` durable; does nothing on Windows, which cannot flush folders."""
    if os.name == "nt":
        return
    flush_file(folder)


def identity(file: int | str) -> tuple[int, int]:
    """Return the identity of a file or folder, by handle or name: another one under the same name has another identity.

    Raises ``OSError``.
    """
    found = os.stat(file)  # noqa: PTH116 - a handle or a string; called several times for each file
    return found.st_dev, found.st_ino


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file: through links, or on a disk that ignores case. Raises ``OSError``.

    Identities alone are not enough: exFAT under FUSE reports another inode number for each spelling of a file's name.
    """
    if not (os.path.exists(one) and os.path.exists(other)):  # noqa: PTH110 - does not raise for names that no disk accepts
        return False
    if identity(str(one)) == identity(str(other)):
        return True
    found = _as_listed(one)
    return found is not None and found == _as_listed(other)


def is_second_name(one: Path, other: Path) -> bool:
    """Tell whether the file at ``other`` remains if ``one`` is deleted; the proof is two separate folder entries."""
    if identity(str(one)) == identity(str(other)) and os.stat(one).st_nlink == 1:  # noqa: PTH116 - as in ``identity``
        return False
    first, second = _as_listed(one), _as_listed(other)
    return first is not None and second is not None and first != second


def _as_listed(path: Path) -> Path | None:
    """Return ``path`` without links, each name spelled as its folder lists it; None: a folder does not list a name."""
    real = Path(os.path.realpath(path))
    found = Path(real.anchor)
    for name in real.parts[1:]:
        listed = name if os.path.ismount(found / name) else _listed_name(found, name)
        if listed is None:
            return None
        found /= listed
    return found


def _listed_name(folder: Path, name: str) -> str | None:
    """Return the spelling under which ``folder`` lists ``name``; None: not listed, or the folder cannot be read."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names as strings
    except PermissionError:
        return None
    if name in names:
        return name
    return next((other for other in names if folded(other) == folded(name)), None)


def folded(name: str) -> str:
    """Return one form for all names that some file system treats as equal, by case or by Unicode composition."""
    return normalize("NFC", normalize("NFC", name).casefold())


def write_all(handle: int, data: bytes) -> None:
    """Write all of ``data``: one call of ``os.write`` may write only a part."""
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def room(folder: Path) -> int:
    """Return the bytes that files in ``folder`` may still take: the free space less the reserve. Raises ``OSError``."""
    found = shutil.disk_usage(folder)
    return found.free - min(RESERVE_BYTES, found.total // RESERVE_SHARE)


def replace_file(path: Path, data: bytes | Iterable[bytes], mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` atomically and durably, following no link; the umask narrows ``mode``."""
    pieces = [data] if isinstance(data, bytes) else data
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)
"""Error numbers of a file system without hard links."""


def give_name(source: Path | str, target: Path | str) -> None:
    """Rename without replacing another file, not even a file that only the server of a shared folder knows yet.

    The caller makes the rename durable. Raises ``FileExistsError`` if the name is taken, or another ``OSError``.
    """
    try:
        os.link(source, target, follow_symlinks=False)
        os.unlink(source)  # noqa: PTH108 - called for every file of every job
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.rename(source, target)  # noqa: PTH104 - names may be strings


def is_within(path: Path, root: Path) -> bool:
    """Tell whether ``path`` is ``root`` or below ``root``, following links."""
    return path.resolve().is_relative_to(root.resolve())


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
