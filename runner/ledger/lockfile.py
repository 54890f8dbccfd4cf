"""Lock file: one run at a time per output folder, or per shard.

The lock is one of the operating system and ends with the process that took it. The holder is written to a second file,
because taking a lock empties the lock file.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from runner.core import disk
from runner.core.errors import Locked, OutputError
from runner.core.shards import Shard
from runner.ledger.layout import path_of
from runner.ledger.log_lock import log_is_written

FOLDER = ".runner"
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class Holder(msgspec.Struct, frozen=True):
    """Process that holds the lock."""

    pid: int
    host: str
    since: str

    @property
    def alive(self) -> bool:
        """Tell whether that process runs and is not this one; a process on another machine counts as running."""
        if self.host != socket.gethostname():
            return True
        if self.pid == os.getpid() or _is_zombie(self.pid):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and was not reaped by its parent; in a container that may stay so."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1] == [b"Z"]
    except OSError:
        return False


class HeldLock(msgspec.Struct, frozen=True):
    """Lock file as it was when it was locked."""

    path: Path
    identity: tuple[int, int]

    @property
    def lost(self) -> bool:
        """Tell whether the file was removed or replaced: it then excludes no other run."""
        try:
            return disk.identity(self.path) != self.identity
        except OSError:
            return True


@contextmanager
def run_lock(output: Path, since: str, shard: Shard | None = None) -> Iterator[HeldLock]:
    """Hold the output folder or one shard, and create the folders if needed.

    Raises ``Locked`` naming the holder, or ``OutputError``.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - readers of a folder do not need the import

    folder = private(output, shard)
    lock = FileLock(folder / "lock", timeout=0, thread_local=False, fallback_to_soft=False)
    if not disk.is_within(folder, output):
        raise OutputError(f"{folder} leaves the output folder by a link; remove the link. Nothing was bought.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        held = HeldLock(folder / "lock", disk.identity(folder / "lock"))
        written = log_is_written(path_of(output, shard))
        if not written:
            holder = Holder(pid=os.getpid(), host=socket.gethostname(), since=since)
            _write(folder / "holder.json", msgspec.json.encode(holder))
    except Timeout:
        raise _in_use(output, shard) from None
    except OSError as error:
        lock.release()
        raise OutputError(f"{output}: {lock_words(error)}. Nothing was bought.") from error
    if written:  # by a run whose lock file was removed
        lock.release()
        raise _in_use(output, shard)
    try:
        yield held
    finally:
        with suppress(OSError):
            folder.joinpath("holder.json").unlink(missing_ok=True)
        lock.release()


def _in_use(output: Path, shard: Shard | None) -> Locked:
    what = output if shard is None else f"shard {shard} of {output}"
    holder = read_holder(output, shard) or "another run"
    return Locked(f"{what} is in use by {holder}; try again when it is done")


def lock_words(error: OSError) -> str:
    """Return the reason why the folder cannot be held."""
    if error.errno in _NO_LOCKS:
        return (
            f"its file system has no locks ({error.strerror}), so two runs could write at the same time. Mount it with "
            "locks (Lustre: `-o flock`), or use another folder"
        )
    return f"cannot be written: {error.strerror}"


def private(output: Path, shard: Shard | None) -> Path:
    """Return the folder for a run's own files: its lock, and files in transfer."""
    return output / FOLDER if shard is None else output / FOLDER / shard.name


def _write(path: Path, data: bytes) -> None:
    """Write a new file, following no link. The file is for people and need not survive a crash."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(data)


def read_holder(output: Path, shard: Shard | None = None) -> Holder | None:
    """Return the last recorded holder of the folder or shard; None: there is none, or it cannot be read."""
    try:
        return msgspec.json.decode((private(output, shard) / "holder.json").read_bytes(), type=Holder)
    except (OSError, ValueError):
        return None
