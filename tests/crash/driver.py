"""A process whose children run manifests and die at a chosen point.

One line of JSON in: ``manifest``, ``base``, ``trap`` (``kind``, ``count``, ``deed``) or null; ``shard``, ``merge`` or
``redo``. One line out: how the child ended. Each run is a process of its own, forked after the imports; what kills it
is a real SIGKILL. Time passes ``FACTOR`` times faster in a child, so that the runner's own waits cost a test little.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import itertools
import json
import os
import resource
import selectors
import shutil
import signal
import stat
import sys
import time
import traceback
from pathlib import Path
from typing import Any

FACTOR = 40.0
EPOCH = 1_800_000_000.0

really_write = os.write

WATCHED = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "shutil.copyfile"}
"""Audit events that change a folder; an ``open`` counts where it is for writing."""


def target_of(handle: int) -> str:
    """What an open handle leads to: a path, or ``socket:[…]``. Raises ``OSError``."""
    return str(Path(f"/proc/self/fd/{handle}").readlink())


class Trap:
    """Counts what a run does below a folder, and springs right before the chosen deed of the chosen kind."""

    def __init__(self) -> None:
        self.arm("/nowhere")

    def arm(self, root: str, kind: str = "", count: int = 0, deed: str = "kill") -> None:
        """Choose the folder, the step and what is to happen there."""
        self.root, self.kind, self.count, self.deed = root, kind, count, deed
        self.sprung = False
        self.broken_sync = False
        self._numbers = itertools.count(1)

    def happens(self, kind: str) -> bool:
        """Note one event; whether it is the one. A trap springs once."""
        if self.sprung or kind != self.kind or next(self._numbers) != self.count:
            return False
        self.sprung = True
        return True

    def spring(self, kind: str) -> None:
        if self.happens(kind):
            DEEDS[self.deed](self)

    def below(self, path: object) -> bool:
        try:
            name = target_of(path) if isinstance(path, int) else os.fsdecode(path)  # type: ignore[call-overload]
        except (OSError, TypeError):
            return False
        return name.startswith(self.root)

    def audit(self, event: str, given: tuple[Any, ...]) -> None:
        writing = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
        if (writing or event in WATCHED) and self.below(given[0]):
            self.spring("disk")

    def write(self, handle: int, data: Any) -> int:
        """``os.write``, in whose middle a process may die too."""
        if not self.below(handle):
            return really_write(handle, data)
        if self.happens("half"):
            really_write(handle, bytes(data)[: len(data) // 2])
            DEEDS[self.deed](self)
        self.spring("disk")
        self.spring("write")
        return really_write(handle, data)

    def sync(self, handle: int) -> None:
        """``os.fsync``, which does nothing here: what was written outlives a killed process without it."""
        self.spring("disk")
        self.spring("sync")
        if self.broken_sync and stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def kill(_: Trap) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_room(_: Trap) -> None:
    """From now on no file may grow: what a full disk does, at once and for every file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def no_handles(_: Trap) -> None:
    """From now on nothing more can be opened."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def fill(trap: Trap) -> None:
    """Fill the file system of the output folder to the last byte."""
    with (Path(trap.root).parent / "ballast").open("ab", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1 << 6, 1):
            try:
                while ballast.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def break_sync(trap: Trap) -> None:
    trap.broken_sync = True


def delete(trap: Trap) -> None:
    shutil.rmtree(trap.root)


DEEDS = {
    "kill": kill,
    "no_room": no_room,
    "no_handles": no_handles,
    "fill": fill,
    "break_sync": break_sync,
    "delete": delete,
}

trap = Trap()
os.write = lambda handle, data, /: trap.write(handle, data)  # before the runner binds any of them
os.fsync = os.fdatasync = lambda handle, /: trap.sync(handle)

import anyio._backends._asyncio  # noqa: E402, F401 - once, not in every child
import filelock  # noqa: E402, F401 - the same

from runner import load  # noqa: E402 - after the wrappers
from runner.__main__ import GARBAGE  # noqa: E402
from runner.core.errors import RunnerError  # noqa: E402
from runner.core.models import Record  # noqa: E402
from runner.core.shards import find_shard  # noqa: E402
from runner.engine import operations  # noqa: E402 - after the wrappers
from runner.engine.catalogue import emulated_schema  # noqa: E402
from runner.engine.redo import RedoMode  # noqa: E402
from runner.files import copies  # noqa: E402, F401 - it loads Pillow: once, not in every child
from runner.ledger import merge_shards  # noqa: E402
from runner.manifest import Offer  # noqa: E402

EDIT = "emulator/edit/image-to-image"
SCHEMA = emulated_schema(EDIT)
"""The one schema that is known here: that of inputs that are files."""


class FastSelector(selectors.DefaultSelector):
    """Waits a fraction of the time, and tells the trap what has arrived and is not read yet."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout / FACTOR if timeout is not None and timeout > 0 else timeout)
        for key, mask in ready:
            if mask & selectors.EVENT_READ and _is_internet(key.fd):
                trap.spring("answer")
        return ready


def _is_internet(handle: int) -> bool:
    try:
        return target_of(handle) in internet
    except OSError:
        return False


internet: set[str] = set()


class FastLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(FastSelector())

    def time(self) -> float:
        return time.monotonic() * FACTOR


class FastClock:
    def now(self) -> float:
        return EPOCH + time.monotonic() * FACTOR

    def monotonic(self) -> float:
        return time.monotonic() * FACTOR


def watch(event: str, given: tuple[Any, ...]) -> None:
    """Tell the trap of every file touched, and remember the sockets that talk to the API."""
    if event == "socket.connect":
        internet.add(target_of(given[0].fileno()))
    else:
        trap.audit(event, given)


def see(_: Record) -> None:
    trap.spring("record")


async def work(order: dict[str, Any]) -> dict[str, Any]:
    """What the command line does with a manifest."""
    environ = {"RUNCOMFY_MODEL_API_BASE": order["base"], "RUNCOMFY_TOKEN": "test-token"}
    if order.get("merge"):
        return {"exit": 0, "said": str(merge_shards(Path(order["output"]), "now"))}
    manifest = load(order["manifest"], offers=lambda models: {EDIT: Offer(schema=SCHEMA)} if EDIT in models else {})
    shard, redo = find_shard(order["shard"], {}) if order.get("shard") else None, bool(order.get("redo"))
    options = operations.RunOptions(shard=shard, redo=RedoMode.ALL if redo else None)
    report = await operations.run(manifest, options, observer=see, clock=FastClock(), environ=environ)
    said = report.stopped.reason if report.stopped else ""
    return {"exit": report.exit_code, "said": said, "report": report.as_json()}


def child(order: dict[str, Any]) -> dict[str, Any]:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    trap.arm(order["output"], **(order["trap"] or {}))
    sys.addaudithook(watch)
    try:
        with asyncio.Runner(loop_factory=FastLoop) as loop:
            ended = loop.run(work(order))
    except RunnerError as error:
        ended = {"exit": error.exit_code, "said": str(error)}
    except BaseException:  # noqa: BLE001 - a bug is what this looks for
        ended = {"exit": 70, "said": traceback.format_exc()}
    return {**ended, "killed": False, "sprung": trap.sprung}


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Fork, run, and tell how it ended."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        really_write(theirs, json.dumps(child(order)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return {"exit": -9, "said": "", "killed": True, "sprung": True}
    return json.loads(text)  # type: ignore[no-any-return]


def main() -> None:
    gc.freeze()  # what is never collected is never copied into a child
    gc.set_threshold(GARBAGE)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
