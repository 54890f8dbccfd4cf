"""Disk work in threads, and the small steps that make it durable.

Each owner brings its own executor: name resolution and foreign libraries share the default one, and a slow flush
must not stall them. A small step of a quick disk is done where it stands: handing it to a thread takes longer, because
the thread waits for the interpreter at each of its system calls while the event loop is busy.
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
"""Flush a file's bytes and length, where the system can leave out its times."""


THREAD_SECONDS = 0.0003
"""What it costs to hand a small step to a thread: one that takes longer would have been worth that."""
MOST_LOST = 10 * THREAD_SECONDS
"""So much may be lost by doing steps where they stand, less what was won by it: then it is the disk's doing. Where
threads are busy with other steps each step waits for the interpreter now and then."""
TWICE = 2
"""At least so many slow steps come to that, for none counts as more than its share of it: one is nobody's doing."""
CAUTION = 100
"""Then so many go to threads before the disk is tried again; twice as many each time that it is still slow."""
MOST_CAUTION = 100_000
"""But never more than this."""


RESERVE_BYTES = 256 * 2**20
"""So much of a disk is left free, that what was bought can still be recorded and nothing else comes to a halt."""
RESERVE_SHARE = 20
"""On a small disk it is no more than this part of the whole."""


LOOK_SECONDS = 0.1
"""So long a look at the disk is good: what changes meanwhile is as if it had changed a moment later."""


class DiskSpeed:
    """Whether one kind of step is quick on this disk, and so better done where it stands."""

    def __init__(self) -> None:
        self._careful = 0
        self._lost = 0.0
        self._caution = CAUTION

    def quick(self) -> bool:
        """Tell whether to do the next one where it stands. Asking counts."""
        if self._careful:
            self._careful -= 1
        return self._careful == 0

    def learn(self, seconds: float) -> None:
        """Count a step that was done where it stood."""
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
        """Use threads for the next ones."""
        self._careful, self._lost = self._caution + 1, 0.0
        self._caution = min(MOST_CAUTION, 2 * self._caution)


class Disk(ThreadPoolExecutor):
    """Threads for disk work, and the judgement when they are worth it."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._judgements: defaultdict[str, DiskSpeed] = defaultdict(DiskSpeed)
        self._room = 0
        self._looked = float("-inf")

    def judgement(self, call: Callable[..., object]) -> DiskSpeed:
        """What is known of steps like ``call``."""
        return self._judgements[call.__name__]

    def fits(self, target: str, length: int) -> bool:
        """True if there is room for so many bytes more at ``target``: by a look of late, less what was ``wrote`` since.

        Raises ``OSError``.
        """
        now = monotonic()
        if now >= self._looked + LOOK_SECONDS:
            self._room, self._looked = room(Path(target).parent), now
        return length < self._room

    def wrote(self, length: int) -> None:
        """Count what the next look will see by itself."""
        self._room -= length

    async def small(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a small step: at once if such steps are quick, else in a thread."""
        judgement = self.judgement(call)
        if not judgement.quick():
            return await in_thread(self, call, *args, **kwargs)
        return timed(judgement, call, *args, **kwargs)


def timed(judgement: DiskSpeed, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call where it stands, and tell ``judgement`` how long that took."""
    start = perf_counter()
    try:
        return call(*args, **kwargs)
    finally:
        judgement.learn(perf_counter() - start)


async def in_thread(executor: Executor | None, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``call`` in ``executor``, None: the loop's own. A cancelled caller leaves; the call goes on to its end."""
    return await asyncio.get_running_loop().run_in_executor(executor, lambda: call(*args, **kwargs))


def flush_file(path: Path | str) -> None:
    """Make the bytes of a file durable, whoever wrote them. Raises ``OSError``."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(folder: Path | str) -> None:
    """Make a rename or a new name in ``folder`` durable, where the system can flush folders at all."""
    if os.name == "nt":
        return
    flush_file(folder)


def identity(file: int | str) -> tuple[int, int]:
    """What tells a file or folder, by handle or name, from another that took its name. Raises ``OSError``."""
    found = os.stat(file)  # noqa: PTH116 - of a handle, or of a name that is text and asked for several times a file
    return found.st_dev, found.st_ino


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file: through links, or on a disk that ignores case. Raises ``OSError``.

    Identities alone do not tell: exFAT under FUSE gives one file another inode number for each spelling of its name.
    """
    if not (os.path.exists(one) and os.path.exists(other)):  # noqa: PTH110 - no exception for what no disk takes
        return False
    if identity(str(one)) == identity(str(other)):
        return True
    found = _as_listed(one)
    return found is not None and found == _as_listed(other)


def is_second_name(one: Path, other: Path) -> bool:
    """Tell whether the file at ``other`` stays if ``one`` is deleted: proven by two entries that their folders list."""
    if identity(str(one)) == identity(str(other)) and os.stat(one).st_nlink == 1:  # noqa: PTH116 - beside identity
        return False
    first, second = _as_listed(one), _as_listed(other)
    return first is not None and second is not None and first != second


def _as_listed(path: Path) -> Path | None:
    """``path`` without links, every name spelled as its folder lists it; None where a folder does not list it."""
    real = Path(os.path.realpath(path))
    found = Path(real.anchor)
    for name in real.parts[1:]:
        listed = name if os.path.ismount(found / name) else _listed_name(found, name)
        if listed is None:
            return None
        found /= listed
    return found


def _listed_name(folder: Path, name: str) -> str | None:
    """The spelling under which ``folder`` lists ``name``; None where it has another name in the list, or none."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - texts
    except PermissionError:
        return None
    if name in names:
        return name
    return next((other for other in names if folded(other) == folded(name)), None)


def folded(name: str) -> str:
    """One form for all names that some file system does not tell apart, by case or by composition."""
    return normalize("NFC", normalize("NFC", name).casefold())


def write_all(handle: int, data: bytes) -> None:
    """``os.write`` until nothing is left; it may take less than it is given."""
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def room(folder: Path) -> int:
    """Bytes that files in ``folder`` may still take: what is free without the reserve. Raises ``OSError``."""
    found = shutil.disk_usage(folder)
    return found.free - min(RESERVE_BYTES, found.total // RESERVE_SHARE)


def replace_file(path: Path, data: bytes | Iterable[bytes], mode: int = 0o644) -> None:
    """Put ``data`` under ``path`` whole or not at all, durably, and through no link; the umask narrows ``mode``."""
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
"""What a file system answers that has no links."""


def give_name(source: Path | str, target: Path | str) -> None:
    """Rename, never over another file, even one that only the server of a shared folder knows of yet.

    To be made durable by the caller. Raises ``FileExistsError`` where something has that name, or another ``OSError``.
    """
    try:
        os.link(source, target, follow_symlinks=False)
        os.unlink(source)  # noqa: PTH108 - every file of every job passes here
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.rename(source, target)  # noqa: PTH104 - names may be text


def is_within(path: Path, root: Path) -> bool:
    """Tell whether ``path`` is ``root`` or below it, links followed."""
    return path.resolve().is_relative_to(root.resolve())


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
