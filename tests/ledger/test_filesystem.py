"""Which file systems several machines may share, read from what Linux says of its mounts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.ledger.filesystem import doubt, locking_doubt, mount_of
from runner.ledger.lockfile import lock_words

MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
101 27 0:52 / /mnt/nfs4 rw,relatime shared:60 - nfs4 nas:/export rw,vers=4.2,sec=sys,local_lock=none
102 27 0:53 / /mnt/nfs3 rw,relatime shared:61 - nfs nas:/export rw,vers=3,hard,nolock,local_lock=all
103 27 0:54 / /mnt/nfs3\040good rw,relatime - nfs nas:/export rw,vers=3,hard,proto=tcp,mountvers=3,local_lock=none
104 27 0:55 / /mnt/nfs3/flock rw - nfs nas:/export rw,vers=3,local_lock=flock
105 27 0:56 / /lustre rw,relatime - lustre 10.1.1.1@o2ib:/scratch rw,checksum,flock,nouser_xattr,lruresize,lazystatfs
106 27 0:57 / /lustre/local rw - lustre mgs@tcp:/scratch rw,localflock
107 27 0:58 / /lustre/none rw - lustre mgs@tcp:/scratch rw,noflock
108 27 0:59 / /ceph rw,relatime - ceph 10.0.0.1:6789:/ rw,name=admin,secret=<hidden>,acl
109 27 0:60 / /gpfs rw,relatime - gpfs gpfs0 rw
110 27 0:61 / /gfs rw - gfs2 /dev/vg/lv rw,localflocks
111 27 0:62 / /smb rw - cifs //nas/share rw,vers=3.1.1,cache=strict
112 27 0:63 / /smb/nobrl rw - cifs //nas/share rw,vers=3.1.1,nobrl
113 27 0:64 / /beegfs rw - beegfs beegfs_nodev rw,cfgFile=/etc/beegfs/beegfs-client.conf
114 27 0:65 / /home/me/bucket rw,nosuid - fuse.s3fs s3fs rw,user_id=1000
115 27 0:66 / /home/me/far rw - fuse.sshfs me@host: rw,user_id=1000
116 27 0:67 / /vagrant rw - vboxsf vagrant rw
117 27 0:68 / /wsl rw - 9p drvfs rw,dirsync
118 27 0:69 / /var/lib/docker rw - overlay overlay rw,lowerdir=/l
119 108 259:2 / /ceph/hidden rw - ext4 /dev/sdb rw
120 119 0:70 / /ceph/hidden rw - fuse.rclone bucket: rw
half a line
"""


@pytest.mark.parametrize(
    "path",
    [
        "/srv/shop/output",
        "/mnt/nfs4/shop/output",
        "/mnt/nfs3 good/output",
        "/lustre/shop",
        "/ceph/shop",
        "/gpfs",
        "/var/lib/docker/x",
        "/mnt/nfs3x/output",
    ],
)
def test_what_is_safe_is_not_warned_of(path: str) -> None:
    """A warning that is always there is read by nobody."""
    mount = mount_of(MOUNTS, path)
    assert mount is not None
    assert doubt(mount) == ""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/mnt/nfs3/output", "/mnt/nfs3 is nfs with local_lock=all: locks do not reach other machines"),
        ("/mnt/nfs3/flock", "/mnt/nfs3/flock is nfs with local_lock=flock: locks do not reach other machines"),
        ("/lustre/local/x", "/lustre/local is lustre without flock: locks do not reach other machines"),
        ("/lustre/none/x", "/lustre/none is lustre without flock"),
        ("/gfs/x", "/gfs is gfs2 with localflocks"),
        ("/smb/x", "/smb is cifs: it is not known whether locks reach other machines"),
        ("/smb/nobrl/x", "/smb/nobrl is cifs with nobrl: locks do not reach other machines"),
        ("/beegfs/x", "/beegfs is beegfs: it is not known whether locks reach other machines"),
        ("/home/me/bucket/x", "/home/me/bucket is fuse.s3fs: most likely locks do not reach other machines"),
        ("/home/me/far", "/home/me/far is fuse.sshfs"),
        ("/vagrant/output", "/vagrant is vboxsf"),
        ("/wsl/c", "/wsl is 9p"),
        ("/ceph/hidden/x", "/ceph/hidden is fuse.rclone"),
    ],
)
def test_what_is_not_safe_is_named(path: str, words: str) -> None:
    """With the mount point, so that whoever mounted it knows what is meant."""
    mount = mount_of(MOUNTS, path)
    assert mount is not None
    assert doubt(mount).startswith(words)


@given(st.text(), st.text())
def test_no_text_of_a_system_ends_a_run(mountinfo: str, path: str) -> None:
    """What cannot be read says nothing."""
    mount = mount_of(mountinfo, path)
    assert mount is None or isinstance(doubt(mount), str)


def test_this_machine_is_looked_at(tmp_path: Path) -> None:
    """A folder that does not exist yet is judged by where it would be."""
    assert locking_doubt(tmp_path / "new") == locking_doubt(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_as_such(number: int) -> None:
    """Nothing would keep two runs apart, so none begins; a marker file would outlive a process that dies."""
    assert "two runs could write at the same time" in lock_words(OSError(number, "no"))
    assert "nothing would" not in lock_words(OSError(errno.ENOSPC, "No space left on device"))
