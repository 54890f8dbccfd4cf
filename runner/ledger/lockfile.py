"""Lock file: one run at a time per output folder, or per shard of it.

The lock is the operating system's and ends with the process that took it. Who holds it is written into a file beside
it, because taking a lock empties the lock's own file.
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

FOLDER = ".runner"
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock."""

    pid: int
    host: str
    since: str

    @property
    def alive(self) -> bool:
        """Whether that process is still there, and not the one that asks; one on another machine is believed."""
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
    """Whether a process is dead and only its parent has not noticed: in a container that may stay so."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1] == [b"Z"]
    except OSError:
        return False


@contextmanager
def run_lock(output: Path, since: str, shard: Shard | None = None) -> Iterator[None]:
    """Hold the output folder or one shard, making folders if need be.

    Raises ``Locked`` naming the holder, or ``OutputError``.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - who only reads a folder should not wait for it

    folder = private(output, shard)
    lock = FileLock(folder / "lock", timeout=0, thread_local=False, fallback_to_soft=False)
    if not disk.is_within(folder, output):
        raise OutputError(f"{folder} leaves the output folder by a link; remove the link. Nothing was bought.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        holder = Holder(pid=os.getpid(), host=socket.gethostname(), since=since)
        _write(folder / "holder.json", msgspec.json.encode(holder))
    except Timeout:
        what = output if shard is None else f"shard {shard} of {output}"
        holder_there = read_holder(output, shard) or "another run"
        raise Locked(f"{what} is in use by {holder_there}; try again when it is done") from None
    except OSError as error:
        lock.release()
        raise OutputError(f"{output}: {lock_words(error)}. Nothing was bought.") from error
    try:
        yield
    finally:
        with suppress(OSError):
            folder.joinpath("holder.json").unlink(missing_ok=True)
        lock.release()


def lock_words(error: OSError) -> str:
    """Why the folder cannot be held."""
    if error.errno in _NO_LOCKS:
        return (
            f"its file system has no locks ({error.strerror}), so nothing would keep two runs apart; mount it with "
            "them (Lustre: `-o flock`), or write to another folder"
        )
    return f"cannot be written: {error.strerror}"


def private(output: Path, shard: Shard | None) -> Path:
    """Where a run keeps what is for itself alone: its lock, and files on their way."""
    return output / FOLDER if shard is None else output / FOLDER / shard.name


def _write(path: Path, data: bytes) -> None:
    """Through no link that stands there; it is for people, and need not outlive a crash."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(data)


def read_holder(output: Path, shard: Shard | None = None) -> Holder | None:
    """Who said last that it holds the folder or a shard; None where nobody did or it cannot be read."""
    try:
        return msgspec.json.decode((private(output, shard) / "holder.json").read_bytes(), type=Holder)
    except (OSError, ValueError):
        return None
