"""Byte copies of other tools' configs, made before we change them.

Layout, below `Paths.backups` (private: configs hold keys):

    configs/ID/manifest.json    what the copies are of: tool, time, version, and for each file its path, sha256,
                                size and mode
    configs/ID/0, 1, ...        the copies, in the manifest's order
    configs/locks/              one lock for each config that was ever changed

ID is `YYYYMMDDTHHMMSSnnnnnnnnnZ-TOOL-RANDOM`, so names sort by time. A backup is a folder that appears at once (it is
made under a hidden name and renamed), so there are no halves; to remove one is to remove its folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbllm.errors import ExportError
from nbllm.exporters.textfile import TextFile, unusable
from nbllm.files import locked, make_private_folder, write_atomic

_MANIFEST = "manifest.json"
_ID = re.compile(r"\d{8}T\d{15}Z-[a-z0-9-]+-[0-9a-f]{8}")
_VERSION = 1
_PATIENCE_S = 120.0
"""How long a process waits for others that change the same config."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One file of a backup."""

    path: Path
    """Where it stood, as the user names it: a link's own path, not the file behind it."""
    sha256: str
    size: int
    """Bytes."""
    mode: int


@dataclass(frozen=True, slots=True)
class Backup:
    """The files of one tool at one moment."""

    id: str
    tool: str
    time: str
    """ISO time, UTC."""
    version: str
    """Of nbllm."""
    copies: tuple[Copy, ...]
    folder: Path

    def read(self, copy: Copy) -> bytes:
        """The bytes of a copy.

        Raises:
            ExportError: They are not what was backed up, or cannot be read.
        """
        path = self.folder / str(self.copies.index(copy))
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise ExportError(f"backup {self.id} cannot be read: {exc.strerror or exc}", hint=_OTHER) from exc
        if hashlib.sha256(data).hexdigest() != copy.sha256:
            raise ExportError(
                f"backup {self.id} is damaged: the copy of {copy.path} has another checksum; nothing was restored",
                hint=_OTHER,
            )
        return data


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of one file."""

    path: Path
    changed: bool
    """False when it was already as the backup has it."""
    before: Backup | None
    """The backup of what was overwritten, all files of one restoration together; None when nothing was."""


_OTHER = "`nbllm restore-configs --list` shows the others"


class Backups:
    """The backups of one user.

    Args:
        folder: `Paths.backups`; made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "configs"

    def keep(self, tool: str, files: Sequence[TextFile]) -> Backup | None:
        """Copy the bytes of these files; None when none of them exists.

        Raises:
            ExportError: The copy cannot be written.
        """
        there = [(file, file.raw) for file in files if file.raw is not None]
        if not there:
            return None
        now = time.time_ns()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
        id = f"{stamp}{now % 10**9:09d}Z-{tool}-{secrets.token_hex(4)}"
        backup = Backup(
            id=id,
            tool=tool,
            time=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now // 10**9)),
            version=_own_version(),
            copies=tuple(_copy_of(file.path, raw) for file, raw in there),
            folder=self.folder / id,
        )
        try:
            self._write(backup, [raw for _, raw in there])
        except OSError as exc:
            raise ExportError(
                f"cannot keep a backup in {self.folder}: {exc.strerror or exc}; nothing was changed",
                hint="make room there, or set NBLLM_HOME to a folder that can be written",
            ) from exc
        return backup

    def _write(self, backup: Backup, contents: Sequence[bytes]) -> None:
        make_private_folder(self.folder)
        hidden = self.folder / f".{backup.id}"
        try:
            for number, data in enumerate(contents):
                write_atomic(hidden / str(number), data)
            write_atomic(hidden / _MANIFEST, json.dumps(_manifest(backup), indent=1) + "\n")
            os.rename(hidden, backup.folder)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise

    def discard(self, backup: Backup | None) -> None:
        """Take back a backup of a change that was not made."""
        if backup is not None:
            shutil.rmtree(backup.folder, ignore_errors=True)

    def all(self, tool: str | None = None) -> list[Backup]:
        """The backups, newest first; those whose manifest cannot be read are left out (see `broken`)."""
        return [b for b in map(self._load, reversed(self._folders())) if b and tool in (None, b.tool)]

    def broken(self) -> list[str]:
        """The ids of folders whose manifest cannot be read."""
        return [folder.name for folder in self._folders() if self._load(folder) is None]

    def find(self, id: str) -> Backup:
        """The backup of this id.

        Raises:
            ExportError: There is none, or its manifest cannot be read.
        """
        folder = self.folder / id
        if not _ID.fullmatch(id) or not folder.is_dir():  # the pattern keeps `..` and `/` out
            raise ExportError(f"there is no backup {id!r}", hint=_OTHER)
        if (backup := self._load(folder)) is None:
            raise ExportError(f"the manifest of backup {id} cannot be read; nothing was restored", hint=_OTHER)
        return backup

    def _folders(self) -> list[Path]:
        try:
            return sorted(f for f in self.folder.iterdir() if _ID.fullmatch(f.name) and f.is_dir())
        except OSError:
            return []

    @staticmethod
    def _load(folder: Path) -> Backup | None:
        try:
            found = json.loads((folder / _MANIFEST).read_bytes())
            copies = tuple(
                Copy(Path(str(c["path"])), str(c["sha256"]), int(c["size"]), int(str(c["mode"]), 8))
                for c in found["files"]
            )
            if found["id"] != folder.name:
                return None
            return Backup(folder.name, str(found["tool"]), str(found["time"]), str(found["nbllm"]), copies, folder)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def restore(self, backup: Backup, contents: Sequence[bytes], paths: Sequence[Path]) -> list[Restored]:
        """Put the copies of a backup at `paths`, through links, with their modes.

        What stands there is kept first, as one backup. A path that is already so is left alone.

        Args:
            backup: Whose copies.
            contents: What `Backup.read` gave for each.
            paths: Where each goes.

        Raises:
            ExportError: One cannot be written. It is as it was, and so are those behind it.
        """
        with contextlib.ExitStack() as held:
            for real in sorted({os.path.realpath(p) for p in paths}):
                held.enter_context(self.lock(Path(real)))
            items = list(zip(backup.copies, contents, map(TextFile.read, paths), strict=True))
            changed = [f for c, data, f in items if f.raw != data or _mode_of(f.path) != c.mode]
            before = self.keep(backup.tool, changed)
            for copy, data, file in items:
                if file in changed:
                    try:
                        write_atomic(file.path, data, mode=copy.mode)
                    except OSError as exc:
                        raise unusable(file.path, exc, "write") from exc
            return [
                Restored(f.path, f in changed, before if f in changed and f.raw is not None else None)
                for _, _, f in items
            ]

    @contextlib.contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        """Keep other processes of this user off the config at `path`, whichever link it is reached by.

        The lock stands among the backups: beside the config it would litter another program's folder.
        Whoever waits holds a second lock, for which the one who has just finished must queue again: else a process
        with many updates would take the first lock back before anybody else looks.

        Raises:
            ExportError: Another process keeps it, or the lock cannot be made.
        """
        name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
        with contextlib.ExitStack() as held:
            try:
                with locked(self.folder / "locks" / f"{name}.next", timeout_s=_PATIENCE_S):
                    held.enter_context(locked(self.folder / "locks" / name, timeout_s=_PATIENCE_S))
            except TimeoutError as exc:
                said = f"{path} is being changed by another process; it was left as it is"
                raise ExportError(said, hint="try again when it is done") from exc
            except OSError as exc:
                raise unusable(self.folder, exc, "write") from exc
            yield


def _copy_of(path: Path, raw: bytes) -> Copy:
    return Copy(path, hashlib.sha256(raw).hexdigest(), len(raw), _mode_of(path))


def _mode_of(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def _manifest(backup: Backup) -> dict[str, Any]:
    return {
        "manifest": _VERSION,
        "id": backup.id,
        "tool": backup.tool,
        "time": backup.time,
        "nbllm": backup.version,
        "files": [
            {"path": str(c.path), "sha256": c.sha256, "size": c.size, "mode": f"{c.mode:04o}"} for c in backup.copies
        ],
    }


def _own_version() -> str:
    from nbllm import __version__  # noqa: PLC0415  (the package is still being imported when this module is)

    return __version__
