"""Files that survive a crash and that only their owner can read.

Writing is: a temporary file beside the target, fsync, `os.replace`. A reader sees the old content or the new one,
never half. Read-modify-write goes through `locked`, which other processes of the same user respect.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_TEMP_PREFIX = ".nbllm-tmp-"
_STALE_AFTER_S = 3600


def make_private_folder(folder: Path) -> Path:
    """Create `folder` and the parents that are missing, each with mode 0700; existing ones are left as they are.

    Raises:
        OSError: It cannot be created.
    """
    if not folder.is_dir():
        if folder.parent != folder:
            make_private_folder(folder.parent)  # `parents=True` would make them with the umask's mode
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        with contextlib.suppress(OSError):  # some network file systems know no modes
            folder.chmod(FOLDER_MODE)
    return folder


def write_atomic(
    path: Path,
    content: str | bytes,
    *,
    mode: int | None = FILE_MODE,
    durable: bool = True,
    before_replace: Callable[[], object] | None = None,
) -> None:
    """Replace `path` by `content`, all or nothing. Follows a symbolic link to the real file.

    Args:
        path: The file, or a link to it; folders that are missing are made, with mode 0700.
        content: Text is written as UTF-8.
        mode: Mode of the file. None: mode, owner and attributes of the file that is replaced, as far as the system
            lets us; a new file gets 0600.
        durable: Wait until the disk has it. False is for what can be had again: after a power cut the file may be
            empty; a process that is killed leaves the old one or the new one all the same.
        before_replace: Called when all is written beside the target; what it raises leaves everything as it was.

    Raises:
        OSError: Nothing was changed.
    """
    target = Path(os.path.realpath(path))
    make_private_folder(target.parent)
    _sweep_once(target.parent)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(prefix=_TEMP_PREFIX, dir=target.parent)  # mkstemp creates with 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if mode is None:
                _take_after(target, temporary)
            elif mode != FILE_MODE:
                os.chmod(temporary, mode)
            if durable:
                os.fsync(file.fileno())
        if before_replace is not None:
            before_replace()
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _take_after(target: Path, temporary: str) -> None:
    """Give `temporary` the owner, attributes (access lists are among them) and mode of `target`, where there is one."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    if hasattr(os, "chown"):
        for owner in ((old.st_uid, -1), (-1, old.st_gid)):  # the group may be given away where the owner may not
            with contextlib.suppress(OSError):
                os.chown(temporary, *owner)
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(target):
                with contextlib.suppress(OSError):
                    os.setxattr(temporary, name, os.getxattr(target, name))
    os.chmod(temporary, stat.S_IMODE(old.st_mode))  # last: a new owner takes bits away


_swept: set[Path] = set()


def _sweep_once(folder: Path) -> None:
    """The first write of a process into a folder clears what killed processes left there."""
    if folder not in _swept:
        _swept.add(folder)
        sweep_temporaries(folder)


def sweep_temporaries(folder: Path) -> int:
    """Remove temporary files of ours that a killed process left more than an hour ago; how many."""
    removed = 0
    for path in list(folder.glob(_TEMP_PREFIX + "*")):
        with contextlib.suppress(OSError):
            if is_stale_temporary(path):
                path.unlink()
                removed += 1
    return removed


def is_stale_temporary(path: Path) -> bool:
    """Whether `path` is a temporary file of ours that no writer has touched for an hour.

    Raises:
        OSError: It is gone, or cannot be looked at.
    """
    return path.name.startswith(_TEMP_PREFIX) and time.time() - path.stat().st_mtime > _STALE_AFTER_S


def is_private(path: Path) -> bool:
    """Whether nobody but the owner can read `path`. False on file systems that ignore modes."""
    return not stat.S_IMODE(path.stat().st_mode) & 0o077


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float = 10.0) -> Iterator[None]:
    """Hold the lock that belongs to `path` (a file `path.lock` beside it), across processes.

    Raises:
        TimeoutError: Another process kept it for longer than `timeout_s`.
        OSError: The lock file cannot be created.
    """
    import filelock  # noqa: PLC0415  (40 ms, and only writers need it)

    make_private_folder(path.parent)
    lock = filelock.FileLock(f"{path}.lock", timeout=timeout_s, mode=FILE_MODE)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise TimeoutError(f"{path} is locked by another process") from None
    try:
        yield
    finally:
        lock.release()
