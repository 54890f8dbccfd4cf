"""Lock of a results log: held by the writer of the log, even if ``.runner/lock`` is removed.

The lock is ``flock`` on the open log, so it ends with the process. On a system without ``fcntl``, and on a file system
without such locks, only the lock file protects the log. The same holds for SMB, whose locks would keep readers out.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from runner.core import disk
from runner.core.errors import Locked
from runner.ledger.filesystem import locks_bar_readers

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # there is no such module, and lock_log asks for it

log = logging.getLogger(__name__)

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class NoLogLock(Exception):
    """The file system refuses to lock the log. Only the lock file excludes other runs."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))


def lock_log(handle: int, path: Path, *, tell: bool = True) -> None:
    """Lock the open log ``handle`` at ``path``; with ``tell``, warn if only the lock file excludes other runs.

    Raises ``Locked`` if another run writes to the log.
    """
    try:
        _lock(handle, path)
    except NoLogLock as error:
        if tell:
            log.warning(
                "%s: the file system refuses to lock it (%s). Only .runner/lock prevents a second run: do not remove "
                "that file during a run, and run on one machine only.",
                path,
                error,
            )


def _lock(handle: int, path: Path) -> None:
    if fcntl is None or locks_bar_readers(path.parent):
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise Locked(
                f"{path} is being written by another run, although the lock file is gone. Try again when that run has "
                "ended. Nothing was bought."
            ) from None
        raise NoLogLock(error) from None


def open_locked(path: Path) -> int:
    """Return a handle on the log at ``path`` with the lock held, and create the log if needed.

    Raises ``Locked`` if another run writes to the log, and ``OSError`` for a link and for anything but a plain file.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        with ExitStack() as opened:
            opened.callback(os.close, handle)
            _require_plain_file(handle)
            lock_log(handle, path)
            with suppress(FileNotFoundError):
                if disk.identity(handle) == disk.identity(path):
                    opened.pop_all()
                    return handle
        # compacted between the two steps: the name belongs to another file now


def _require_plain_file(handle: int) -> None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file")


def unlock_log(handle: int) -> None:
    """Release the lock, even if a forked process still has the handle."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)


def log_is_written(path: Path) -> bool:
    """Tell whether another run writes to the log at ``path``; False if unknown."""
    try:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        _lock(handle, path)
    except NoLogLock:
        return False  # the warning follows when the log is opened
    except Locked:
        return True
    finally:
        os.close(handle)
    return False
