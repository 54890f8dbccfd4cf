"""File systems whose locks do not hold between machines, as far as one machine can tell.

The lock is ``flock``. It excludes processes on other machines only if the file system passes it to a server:

- NFS does since Linux 2.6.12 (flock(2)), unless mounted with ``nolock`` or ``local_lock=all`` or ``flock`` (nfs(5)).
- Lustre does if mounted with ``flock``. With ``localflock`` the lock stays on one machine; without either there is none
  (mount.lustre(8)).
- CephFS, GPFS, and GFS2 and OCFS2 (without ``localflocks``) do.
- BeeGFS does with ``tuneUseGlobalFileLocks``, in a file that is not readable from here. SMB does since Linux 5.5 if the
  server supports it, and never with ``nobrl`` (mount.cifs(8)).
- Folders that hypervisors share with a guest, and object stores and shells mounted through FUSE, mostly do not. There,
  appending and renaming may not be durable either.
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
"""Options that keep the locks of a file system on one machine, although the file system supports shared locks."""
_ENDS_HERE = "locks do not reach other machines"
_UNSEEN = "it is not known whether locks reach other machines"


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``/proc/self/mountinfo``."""

    point: str
    kind: str
    options: frozenset[str]
    """Options of the mount, and of the file system itself."""


def locking_doubt(folder: Path) -> str:
    """Return the reason why machines may not safely share ``folder``; empty: none is known."""
    mount = _mounted(folder)
    return doubt(mount) if mount is not None else ""


def _mounted(folder: Path) -> Mount | None:
    """Return the mount that contains ``folder``; None: it cannot be found."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        return mount_of(text, str(folder.resolve()))
    except (OSError, RuntimeError):  # not Linux, or a loop of links
        return None


def locks_bar_readers(folder: Path) -> bool:
    """Tell whether others cannot read a locked file in ``folder``: locks of SMB are mandatory."""
    mount = _mounted(folder)
    return mount is not None and mount.kind in _SMB


def mount_of(mountinfo: str, path: str) -> Mount | None:
    """Return the mount that contains ``path``: the longest mount point above it, and of equal ones the last.

    A later mount at the same point hides the earlier ones.
    """
    mounts = filter(None, map(_read, mountinfo.splitlines()))
    above = [mount for mount in mounts if f"{path}/".startswith(f"{mount.point.rstrip('/')}/")]
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def _read(line: str) -> Mount | None:
    """Return the mount in a line as described in proc(5); None: the line has another format."""
    before, _, after = line.partition(" - ")
    fields, about = before.split(" "), after.split(" ")
    if len(fields) < 6 or len(about) < 3:
        return None
    point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
    return Mount(point=point, kind=about[0], options=frozenset(f"{fields[5]},{about[2]}".split(",")))


def doubt(mount: Mount) -> str:
    """Return the reason why machines may not safely share ``mount``; empty for a safe one, and for a local disk."""
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
