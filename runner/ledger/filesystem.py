"""File systems whose locks do not hold between machines, as far as that can be seen.

The lock is ``flock``. It keeps processes on other machines out only where the file system carries it to a server:

- NFS does since Linux 2.6.12 (flock(2)), unless mounted with ``nolock`` or ``local_lock=all`` or ``flock`` (nfs(5)).
- Lustre does where it is mounted with ``flock``; ``localflock`` keeps it on one machine, and without either there is
  none (mount.lustre(8)).
- CephFS, GPFS, and GFS2 and OCFS2 (without ``localflocks``) do.
- BeeGFS does with ``tuneUseGlobalFileLocks`` in a file that cannot be seen from here; SMB since Linux 5.5, if the
  server plays along, and never with ``nobrl`` (mount.cifs(8)).
- What hypervisors share with a guest, and object stores and shells mounted as folders through FUSE, mostly do not;
  there appending and renaming may not be durable either.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

_SMB = frozenset({"cifs", "smb3", "smbfs", "smb2"})
_PERHAPS = _SMB | {"beegfs", "afs", "wekafs", "panfs", "pvfs2", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs"}
_NEVER = frozenset({"vboxsf", "prl_fs", "vmhgfs", "9p", "virtiofs", "davfs", "drvfs"})
_LOCAL_NFS = frozenset({"nolock", "local_lock=all", "local_lock=flock"})
_HARMFUL = {
    "nfs": _LOCAL_NFS,
    "nfs4": _LOCAL_NFS,
    "gfs2": frozenset({"localflocks"}),
    "ocfs2": frozenset({"localflocks"}),
    **{kind: frozenset({"nobrl"}) for kind in _SMB},
}
"""Options that keep the locks of a file system, which has them otherwise, on one machine."""
_ENDS_HERE = "locks end at this machine"
_UNSEEN = "whether locks hold between machines cannot be seen from here"


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``/proc/self/mountinfo``."""

    point: str
    kind: str
    options: frozenset[str]
    """Of the mount, and of the file system itself."""


def locking_doubt(folder: Path) -> str:
    """Why several machines may not safely share ``folder``; empty where nothing speaks against it, or can be seen."""
    mount = _mounted(folder)
    return doubt(mount) if mount is not None else ""


def _mounted(folder: Path) -> Mount | None:
    """The mount that ``folder`` is in; None where that cannot be seen."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        return mount_of(text, str(folder.resolve()))
    except (OSError, RuntimeError):  # another system than Linux; a loop of links
        return None


def locks_bar_readers(folder: Path) -> bool:
    """Tell whether a locked file in ``folder`` cannot be read by others: locks of SMB are mandatory."""
    mount = _mounted(folder)
    return mount is not None and mount.kind in _SMB


def mount_of(mountinfo: str, path: str) -> Mount | None:
    """The mount that ``path`` is in: the longest point above it; of several there the last, which hides the others."""
    mounts = filter(None, map(_read, mountinfo.splitlines()))
    above = [mount for mount in mounts if f"{path}/".startswith(f"{mount.point.rstrip('/')}/")]
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def _read(line: str) -> Mount | None:
    """One line, as proc(5) describes it; None for one that is otherwise."""
    before, _, after = line.partition(" - ")
    fields, about = before.split(" "), after.split(" ")
    if len(fields) < 6 or len(about) < 3:
        return None
    point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
    return Mount(point=point, kind=about[0], options=frozenset(f"{fields[5]},{about[2]}".split(",")))


def doubt(mount: Mount) -> str:
    """Why several machines may not safely share what is mounted there; empty for what is safe, and for a local disk."""
    why = _by_options(mount.kind, mount.options) or _by_kind(mount.kind)
    return f"{mount.point} is {mount.kind}{why}" if why else ""


def _by_options(kind: str, options: frozenset[str]) -> str:
    if kind == "lustre" and "flock" not in options:
        return f" without flock: {_ENDS_HERE}"
    found = sorted(options & _HARMFUL.get(kind, frozenset()))
    return f" with {found[0]}: {_ENDS_HERE}" if found else ""


def _by_kind(kind: str) -> str:
    if kind in _PERHAPS:
        return f": {_UNSEEN}"
    return f": most likely {_ENDS_HERE}" if kind in _NEVER or kind.startswith("fuse") else ""
