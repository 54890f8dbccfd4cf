"""Disk operations in threads, and the small operations that make them durable.

Each owner has its own executor: the default executor also serves name resolution and other libraries, which a slow
flush must not stall.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar
from unicodedata import normalize

P = ParamSpec("P")
T = TypeVar("T")

flush_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
"""Flush the bytes and length of a file; without its times on systems that have ``fdatasync``."""

RESERVE_BYTES = 256 * 2**20
"""Bytes of a disk that are left free, so that purchases can still be recorded and other programs keep working."""
RESERVE_SHARE = 20
"""On a small disk the reserve is at most 1 / ``RESERVE_SHARE`` of the whole disk."""


async def in_thread(executor: Executor | None, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``call`` in ``executor`` (None: the loop's own). A cancelled caller returns; the call runs to its end."""
    return await asyncio.get_running_loop().run_in_executor(executor, lambda: call(*args, **kwargs))


def flush_file(path: Path) -> None:
    """Make the bytes of a file durable, whichever process wrote them. Raises ``OSError``."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(folder: Path) -> None:
    """Make a rename or a new name in ``folder`` durable; does nothing on Windows, which cannot flush folders."""
    if os.name == "nt":
        return
    flush_file(folder)


def identity(file: int | Path) -> tuple[int, int]:
    """Return the identity of a file or folder, by handle or path: another one under the same path has another identity.

    Raises ``OSError``.
    """
    found = os.stat(file)  # noqa: PTH116 - may be a handle
    return found.st_dev, found.st_ino


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file: through links, or on a disk that ignores case. Raises ``OSError``.

    Identities alone are not enough: exFAT under FUSE reports another inode number for each spelling of a file's name.
    """
    if not (os.path.exists(one) and os.path.exists(other)):  # noqa: PTH110 - does not raise for names that no disk accepts
        return False
    if identity(one) == identity(other):
        return True
    found = _as_listed(one)
    return found is not None and found == _as_listed(other)


def is_second_name(one: Path, other: Path) -> bool:
    """Tell whether the file at ``other`` remains if ``one`` is deleted; the proof is two separate folder entries."""
    if identity(one) == identity(other) and os.stat(one).st_nlink == 1:  # noqa: PTH116 - as in ``identity``
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


def give_name(source: Path, target: Path) -> None:
    """Rename without replacing another file, not even a file that only the server of a shared folder knows yet.

    The caller makes the rename durable. Raises ``FileExistsError`` if the name is taken, or another ``OSError``.
    """
    try:
        os.link(source, target, follow_symlinks=False)
        source.unlink()
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)


def is_within(path: Path, root: Path) -> bool:
    """Tell whether ``path`` is ``root`` or below ``root``, following links."""
    return path.resolve().is_relative_to(root.resolve())


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
