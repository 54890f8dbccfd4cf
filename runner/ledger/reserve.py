"""Reserved disk space for the results log: room for the requests in flight when the disk or a quota is full."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 4 << 20
"""Two lines of 8 KiB for each of 256 requests in flight."""
SHARE = 20
"""On a small disk the reserve is at most the size of the disk divided by this number."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Reserve:
    """File that occupies space until the space is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = False

    def take(self) -> None:
        """Reserve the space, once. Raises ``OSError`` if there is none."""
        if self._taken:
            return
        size = min(MAX_BYTES, shutil.disk_usage(self._path.parent).total // SHARE)
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            _allocate(handle, size)
        except OSError:
            self.release()
            raise
        finally:
            os.close(handle)
        self._taken = True

    def close(self) -> None:
        """Release the space, if it was reserved by this object."""
        if self._taken:
            self.release()

    def release(self) -> bool:
        """Release the space. Return whether any was reserved."""
        had, self._taken = self._taken, False
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        return had


def _allocate(handle: int, size: int) -> None:
    """Extend the file to ``size`` bytes, with blocks allocated on the disk."""
    try:
        os.posix_fallocate(handle, 0, max(1, size))
    except AttributeError:  # Windows, macOS
        pass
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some network disks
            raise
    else:
        return
    for start in range(0, size, 1 << 16):
        os.write(handle, bytes(min(1 << 16, size - start)))
