"""Lock of a results log: whoever writes the log holds it, whatever became of ``.runner/lock``.

It is ``flock`` on the open log, so it ends with the process. A system without ``fcntl``, and a file system without such
locks, has the lock file alone. So has SMB: its locks would keep readers out of the log.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from runner.core.errors import Locked
from runner.ledger.filesystem import locks_bar_readers

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


def lock_log(handle: int, path: Path) -> None:
    """Lock the open log ``handle`` at ``path``. Raises ``Locked`` where another run writes to it."""
    if fcntl is None or locks_bar_readers(path.parent):
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise Locked(
                f"{path} is written by another run, although its lock file is gone; try again when that run is done. "
                "Nothing was bought."
            ) from None


def unlock_log(handle: int) -> None:
    """Give the lock back, also where a forked process still has the handle."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)


def log_is_written(path: Path) -> bool:
    """Tell whether another run writes to the log at ``path``; False where that cannot be told."""
    try:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        lock_log(handle, path)
    except Locked:
        return True
    finally:
        os.close(handle)
    return False
