"""One run at a time per output folder.

The lock is the operating system's and ends with the process that took it. Who holds it is written into a file beside
it, because taking a lock empties the lock's own file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from runner import disk
from runner.errors import Locked, OutputError

FOLDER = ".runner"


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
def run_lock(output: Path, since: str) -> Iterator[None]:
    """Hold the output folder, making it if need be. Raises ``Locked`` naming the holder, or ``OutputError``."""
    folder = output / FOLDER
    lock = FileLock(folder / "lock", timeout=0, thread_local=False)
    if not disk.is_within(folder, output):
        raise OutputError(f"{folder} leaves the output folder by a link; remove the link. Nothing was bought.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        holder = Holder(pid=os.getpid(), host=socket.gethostname(), since=since)
        disk.replace_file(folder / "holder.json", msgspec.json.encode(holder))
    except Timeout:
        raise Locked(
            f"{output} is in use by {read_holder(output) or 'another run'}; try again when it is done"
        ) from None
    except OSError as error:
        lock.release()
        raise OutputError(f"{output}: cannot be written: {error.strerror}. Nothing was bought.") from error
    try:
        yield
    finally:
        with suppress(OSError):
            folder.joinpath("holder.json").unlink(missing_ok=True)
        lock.release()


def read_holder(output: Path) -> Holder | None:
    """Who said last that it holds the folder; None where nobody did or it cannot be read."""
    try:
        return msgspec.json.decode((output / FOLDER / "holder.json").read_bytes(), type=Holder)
    except (OSError, ValueError):
        return None
