"""Providers merged into the files that other tools already have, without harm to what is the user's.

An exporter's `merge` is text in, text out. Around it stand here: reading the bytes, the lock, the check that the
result can be read again and is final, a backup, and an atomic replacement that is called off when somebody else has
changed the file in the meantime. Whatever fails, the file is as it was.

NOTE: between the last look at the file and its replacement lie some microseconds in which a program that knows
nothing of our lock could still write.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nbllm.errors import ExportError
from nbllm.exporters.backup import Backup, Backups
from nbllm.exporters.base import Exported, Exporter, Strategy
from nbllm.exporters.difference import difference
from nbllm.exporters.textfile import TextFile, unusable
from nbllm.files import write_atomic

_ATTEMPTS = 5
"""How often a file that others keep changing is read afresh."""


@dataclass(frozen=True, slots=True)
class FileUpdate:
    """What an update does to one file."""

    file: TextFile = field(repr=False)
    new: bytes = field(repr=False)
    added: tuple[str, ...]
    """Entries, as the tool's users know them; also for the next two."""
    updated: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file, as the user names it."""
        return self.file.path

    @property
    def changed(self) -> bool:
        """Whether a byte changes."""
        return self.new != (self.file.raw or b"")

    @property
    def diff(self) -> str:
        """A unified diff without the keys that stand in the file; "" when nothing changes."""
        return difference(self.file.text, TextFile(self.path, self.new).text, str(self.path))


@dataclass(frozen=True, slots=True)
class Update:
    """What an update did, or with `dry_run` would do."""

    tool: str
    files: tuple[FileUpdate, ...]
    """One; two for aider."""
    backup: Backup | None
    """What was there before; None when no file existed, nothing changed or nothing was to be written."""
    written: bool

    @property
    def changed(self) -> bool:
        """Whether a file changes."""
        return any(f.changed for f in self.files)

    @property
    def diff(self) -> str:
        """The diffs of all files, keys masked."""
        return "\n".join(f.diff for f in self.files if f.changed)


def files_of(exporter: Exporter, path: Path) -> tuple[tuple[Exporter, Path], ...]:
    """The files of a tool and who writes each: `path`, and for aider the second one beside it."""
    beside = getattr(exporter, "companions", ())
    return ((exporter, path), *((other, path.with_name(other.file_name)) for other in beside))


def update(
    exporter: Exporter,
    providers: Sequence[Exported],
    *,
    path: Path,
    backups: Backups,
    strategy: Strategy = "add",
    dry_run: bool = False,
) -> Update:
    """Merge providers into the tool's file at `path`; calling it again changes nothing.

    Args:
        exporter: The tool.
        providers: Those that the exporter refuses are passed over.
        path: The file or a link to it; made, with its folders, when it is not there.
        backups: Where the bytes go that are replaced.
        strategy: What may be changed.
        dry_run: Only say what would be done. Nothing is written, no lock and no folder either.

    Raises:
        ExportError: The file is not UTF-8, cannot be parsed, read or written, is locked, or changes all the time.
            It is as it was; of aider's two files the first may have been written.
    """
    parts = files_of(exporter, path)
    if dry_run:
        return Update(exporter.tool, _plan(parts, providers, strategy), None, written=False)
    with contextlib.ExitStack() as held:
        for real in sorted({os.path.realpath(p) for _, p in parts}):
            held.enter_context(backups.lock(Path(real)))
        for _ in range(_ATTEMPTS):
            plan = _plan(parts, providers, strategy)
            with contextlib.suppress(_ChangedMeanwhile):
                return _carry_out(exporter.tool, plan, backups)
    raise ExportError(f"{path} is being changed by another program; it was left as it is", hint="close that program")


class _ChangedMeanwhile(Exception):
    """Somebody else wrote between our look and our replacement."""


def _plan(
    parts: Sequence[tuple[Exporter, Path]], providers: Sequence[Exported], strategy: Strategy
) -> tuple[FileUpdate, ...]:
    return tuple(_plan_file(exporter, TextFile.read(path), providers, strategy) for exporter, path in parts)


def _plan_file(exporter: Exporter, file: TextFile, providers: Sequence[Exported], strategy: Strategy) -> FileUpdate:
    try:
        merged = exporter.merge(file.text, providers, strategy)
    except ExportError as exc:
        raise ExportError(f"{file.path} was left as it is: {exc.message}", hint=exc.hint) from exc
    new = file.bytes_of(merged.text)
    if new != file.raw:
        _check(exporter, TextFile(file.path, new), providers, strategy)
    return FileUpdate(file, new, merged.added, merged.updated, merged.kept, merged.removed)


def _check(exporter: Exporter, new: TextFile, providers: Sequence[Exported], strategy: Strategy) -> None:
    """What is about to be written must be readable by the tool, and merging again must leave it alone."""
    try:
        again = exporter.merge(new.text, providers, strategy)
    except ExportError as exc:
        raise _spoiled(new.path) from exc
    if new.bytes_of(again.text) != new.raw:
        raise _spoiled(new.path)


def _spoiled(path: Path) -> ExportError:
    return ExportError(
        f"{path} was left as it is: with our entries in it, it could not be read again",
        hint="this is a mistake in nbllm; please report it with the file, keys taken out",
    )


def _carry_out(tool: str, plan: tuple[FileUpdate, ...], backups: Backups) -> Update:
    changing = [f for f in plan if f.changed]
    if not changing:
        return Update(tool, plan, None, written=False)
    backup = backups.keep(tool, [f.file for f in changing])
    replaced = 0
    try:
        for item in changing:
            _replace(item)
            replaced += 1
    except BaseException:
        if not replaced:
            backups.discard(backup)
        raise
    return Update(tool, plan, backup, written=True)


def _replace(item: FileUpdate) -> None:
    real = os.path.realpath(item.path)

    def unchanged() -> None:
        if os.path.realpath(item.path) != real or TextFile.read(item.path).raw != item.file.raw:
            raise _ChangedMeanwhile

    try:
        write_atomic(item.path, item.new, mode=None, before_replace=unchanged)
    except OSError as exc:
        raise unusable(item.path, exc, "write") from exc
