"""Whether a folder is on a network file system, where several kernels must not share a SQLite file.

SQLite's write-ahead log needs shared memory between all who use the file, and its locks are only as good as the
file system's (https://www.sqlite.org/wal.html, "All processes using a database must be on the same host computer").
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

_NETWORK = re.compile(r"(nfs\d?|cifs|smb\d?|smbfs|fuse(\..+)?|lustre|gpfs|beegfs|ceph|9p|afs|orangefs|pvfs2|glusterfs)")
_LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.exfat")
"""Local although they run in user space; `fuseblk`, a block device, does not match to begin with."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


def network_type(folder: Path, mountinfo: str | None = None) -> str | None:
    """The type of the network file system that holds `folder`; None when it is local or not known.

    Args:
        folder: Need not exist; its nearest parent counts.
        mountinfo: Text as in `/proc/self/mountinfo`; None reads that file. Without one (macOS, Windows) the answer
            is None.
    """
    text = _read_mountinfo() if mountinfo is None else mountinfo
    found = _type_of(os.path.realpath(folder), text)
    return found if found and _NETWORK.fullmatch(found) and found not in _LOCAL_FUSE else None


def _read_mountinfo() -> str:
    try:
        return MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _type_of(path: str, mountinfo: str) -> str | None:
    """The type of the mount with the longest fitting mount point; of equal ones the last, which lies on top."""
    best, found = -1, None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _ESCAPE.sub(lambda m: chr(int(m[1], 8)), fields[4])
        if len(point) >= best and _holds(point, path):
            best, found = len(point), after.split(" ")[0]
    return found


def _holds(point: str, path: str) -> bool:
    return point == "/" or path == point or path.startswith(point.rstrip("/") + "/")
