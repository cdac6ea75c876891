"""Who is asking: so that two processes never pay for the same cell, and a dead one holds nobody up.

A run owns a lock file while it lives; the system lets go of it when the process dies, however it dies. So on this
machine it is known at once whether an owner lives. Of an owner on another machine only its lease is known.
"""

from __future__ import annotations

import contextlib
import platform
import time
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nbllm import files

LEASE_S = 120.0
"""A claim holds this long without being renewed."""


class Owner:
    """One run's name for its claims.

    Args:
        folder: Where lock files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = f"{platform.node()[:40]}#{uuid.uuid4().hex}"
        self._lock: Any = None

    def live(self) -> None:
        """From now on others on this machine see that this run lives. Where no file can be made, the lease says so."""
        with contextlib.suppress(OSError, NotImplementedError):
            files.make_private_folder(self._folder)
            lock = FileLock(self._path(self.name), thread_local=False)
            lock.acquire(timeout=0)
            self._lock = lock

    def end(self) -> None:
        """The run is over."""
        lock, self._lock = self._lock, None
        if lock is not None:
            path = self._path(self.name)
            lock.release()
            with contextlib.suppress(OSError):
                path.unlink()

    def holds(self, owner: str, until: float) -> bool:
        """Whether a claim of `owner` still keeps others off."""
        if owner == self.name:
            return False
        host, _, _ = owner.partition("#")
        path = self._path(owner)
        if host != platform.node()[:40] or self._lock is None:
            return until > time.time()
        return path.exists() and _is_locked(path)

    def _path(self, owner: str) -> Path:
        return self._folder / f"run-{owner.rpartition('#')[2]}.lock"


def _is_locked(path: Path) -> bool:
    probe = FileLock(path)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # it cannot be looked at: somebody is careful
        return True
    probe.release()
    return False
