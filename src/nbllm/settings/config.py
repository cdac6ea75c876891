"""`config.toml`: the user's settings, providers and presets.

Read with tomllib, changed with tomlkit so that comments and order stay. Every change is made under a lock, written
atomically, and leaves the version before it in `backups/`, from which `undo` takes it back.
"""

from __future__ import annotations

import calendar
import re
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbllm.errors import SettingsError
from nbllm.files import locked, make_private_folder, write_atomic
from nbllm.settings.paths import Paths

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_HISTORY_KEPT = 50
_SECOND_NS = 1_000_000_000
_VERSION = re.compile(r"config-(\d{4})(0[1-9]|1[0-2])([0-3]\d)T([01]\d|2[0-3])([0-5]\d)([0-5]\d)(\d{9})-(.*)\.toml")
"""A version's file: its time in UTC to the nanosecond, and what was changed then."""


@dataclass(frozen=True, slots=True)
class Change:
    """One earlier version of the file."""

    when: str
    """ISO time with the zone."""
    what: str
    backup: Path


def _time_ns(version: Path) -> int:
    found = _VERSION.fullmatch(version.name)
    assert found is not None
    *fields, below_second, _ = map(found.group, range(1, 9))
    return calendar.timegm((*map(int, fields), 0, 0, 0)) * _SECOND_NS + int(below_second)


class ConfigFile:
    """The file, read again only when it changed.

    Args:
        paths: Where it stands.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._seen: tuple[int, int, int] | None = None
        self._content: dict[str, Any] = {}

    @property
    def path(self) -> Path:
        """Where the file is, whether or not it exists."""
        return self._paths.config_file

    def read(self) -> Mapping[str, Any]:
        """The content; empty when there is no file.

        Raises:
            SettingsError: The file cannot be read or is not TOML; `file` and `line` say where.
        """
        stamp = self.stamp()
        if stamp != self._seen:
            self._content = self._parse()
            self._seen = stamp
        return self._content

    def stamp(self) -> tuple[int, int, int] | None:
        """Changes whenever the file does; None without a file."""
        try:
            info = self.path.stat()
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size, info.st_ino

    def _parse(self) -> dict[str, Any]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(
                f"cannot read {self.path}: {exc}",
                hint="check the file's owner and encoding",
                file=str(self.path),
            ) from exc
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            found = re.search(r"at line (\d+)", str(exc))
            # At the end of the document tomllib names no line.
            line = int(found[1]) if found else text.count("\n") + 1
            raise SettingsError(
                f"{self.path}, line {line}: not valid TOML ({exc})",
                hint="correct that line, or move the file away",
                file=str(self.path),
                line=line,
            ) from exc

    def update(self, what: str, change: Callable[[TOMLDocument], None]) -> None:
        """Apply `change` to the document and write it, keeping the version before.

        Args:
            what: What is being changed, for `history`; never a value that could be secret.
            change: Alters the document in place.

        Raises:
            SettingsError: The file is broken or cannot be written. Nothing was changed.
        """
        import tomlkit  # noqa: PLC0415  (30 ms, and only writers need it)

        self._parse()  # a broken file is never written over
        try:
            with locked(self.path):
                before = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
                document = tomlkit.parse(before)
                change(document)
                after = tomlkit.dumps(document)
                if after == before:
                    return
                self._keep(before, what)
                write_atomic(self.path, after)
        except OSError as exc:
            raise SettingsError(
                f"cannot write {self.path}: {exc.strerror or exc}",
                hint="set NBLLM_HOME to a folder that can be written",
                file=str(self.path),
            ) from exc
        self._seen = None

    def _keep(self, before: str, what: str) -> None:
        folder = make_private_folder(self._paths.backups)
        earlier = self.history()
        # The names are the order, also where the clock stands still or goes back.
        now_ns = max(time.time_ns(), _time_ns(earlier[0].backup) + 1 if earlier else 0)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ns // _SECOND_NS)) + f"{now_ns % _SECOND_NS:09d}"
        label = re.sub(r"[^a-zA-Z0-9_.~-]+", "-", what.replace(" ", "~"))[:60].strip("-~")
        write_atomic(folder / f"config-{stamp}-{label}.toml", before)
        for change in earlier[_HISTORY_KEPT - 1 :]:
            change.backup.unlink(missing_ok=True)

    def history(self) -> list[Change]:
        """Earlier versions, newest first."""
        changes = []
        for path in sorted(self._paths.backups.glob("config-*.toml"), reverse=True):
            if found := _VERSION.fullmatch(path.name):
                y, mo, d, h, mi, s, _, what = found.groups()
                changes.append(Change(f"{y}-{mo}-{d}T{h}:{mi}:{s}+00:00", what.replace("~", " "), path))
        return changes

    def undo(self) -> Change:
        """Go back to the version before the last change, and return that change.

        Raises:
            SettingsError: There is no earlier version, or the file cannot be written.
        """
        changes = self.history()
        if not changes:
            raise SettingsError("there is no earlier version of config.toml", file=str(self.path))
        last = changes[0]
        try:
            with locked(self.path):
                write_atomic(self.path, last.backup.read_text(encoding="utf-8"))
                last.backup.unlink()
        except OSError as exc:
            raise SettingsError(f"cannot write {self.path}: {exc.strerror or exc}", file=str(self.path)) from exc
        self._seen = None
        return last
