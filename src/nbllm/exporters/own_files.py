"""The files that other tools already have: found, updated, backed up, put back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbllm.errors import ExportError, UsageError
from nbllm.exporters import exporter, tools
from nbllm.exporters.backup import Backup, Backups, Copy, Restored
from nbllm.exporters.base import STRATEGIES, Exported, Exporter, Places, Strategy
from nbllm.exporters.textfile import TextFile
from nbllm.exporters.update import Update, files_of, update
from nbllm.tables import Table


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What `update` did, and what the user should know beside it."""

    update: Update
    left_out: Mapping[str, str]
    """Provider to the reason why this tool cannot have it."""
    next_steps: tuple[str, ...]
    legacy: str | None
    """Why the tool should not be begun with any more."""
    unknown: tuple[str, ...] = ()
    """Providers that could be used and were not taken, since none of their models is known; not of those named."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What became of one tool's files."""

    tool: str
    paths: tuple[Path, ...]
    """Where its files would be; empty when only `--file` could say."""
    backup: Backup | None
    """None: there is none of these files, or `error` says why they could not be read."""
    error: ExportError | None = None


class OwnFiles:
    """The tools' own files of one user.

    Args:
        exported: Gives providers as tools shall have them, by their ids.
        usable: The ids of those that can be used now, which are taken when none is named.
        backups: `Paths.backups`.
        environ: Variables by which tools find their files.
    """

    def __init__(
        self,
        exported: Callable[[Sequence[str]], Sequence[Exported]],
        usable: Callable[[], Sequence[str]],
        backups: Path,
        environ: Mapping[str, str],
    ) -> None:
        self.backups = Backups(backups)
        self._exported = exported
        self._usable = usable
        self._environ = environ

    def path(self, tool: str, file: Path | None = None) -> Path:
        """The tool's file: the one that is named, else where the tool looks for it.

        Raises:
            UsageError: No such tool, or nobody can know where its file is.
        """
        found = file or exporter(tool).locate(Places.here(self._environ))
        if found is None:
            raise UsageError(
                f"{tool} has no file of its own: its command line names one", hint="name it with --file PATH"
            )
        return Path(os.path.abspath(found.expanduser()))

    # ------------------------------------------------------------ updating

    def update(
        self,
        tool: str,
        ids: Sequence[str] = (),
        *,
        file: Path | None = None,
        strategy: str = "add",
        dry_run: bool = False,
    ) -> UpdateReport:
        """Merge providers into the tool's own file, which is backed up first.

        Args:
            tool: A name of `nbllm.exporters.tools`.
            ids: Providers; none: all that can be used now and have models that are known.
            file: Another file than the tool's usual one.
            strategy: `add`, `update` or `replace`, see `nbllm.exporters.base.Strategy`.
            dry_run: Say what would be done and write nothing.

        Raises:
            UsageError: No such tool or strategy, or no file is known.
            UnknownProviderError: No such provider.
            ExportError: The file cannot be read or written; it is as it was.
        """
        writer, path, how = exporter(tool), self.path(tool, file), _strategy(strategy)
        named = list(dict.fromkeys(ids))
        given = self._exported(named or self._usable())
        unknown: list[str] = []
        if not named:
            given = [p for p in given if p.config.kind != "demo"]
            unknown = [p.config.id for p in given if _reason(writer, p) == _unknown(p)]
            given = [p for p in given if p.config.id not in unknown]
        reasons = {p.config.id: why for p in given if (why := _reason(writer, p)) is not None}
        taken = [p for p in given if p.config.id not in reasons]
        done = update(writer, taken, path=path, backups=self.backups, strategy=how, dry_run=dry_run)
        steps = tuple(writer.next_steps(taken)) if taken else ()
        return UpdateReport(done, reasons, steps, writer.legacy, tuple(unknown))

    # ------------------------------------------------------------ backups

    def backup(self, tool: str | None = None) -> list[BackupReport]:
        """Keep byte copies of the files of one tool, or of every tool.

        Raises:
            UsageError: No such tool.
        """
        return [self._backup(name) for name in ([tool] if tool else tools())]

    def _backup(self, tool: str) -> BackupReport:
        paths = tuple(path for _, path in self._files(tool))
        try:
            return BackupReport(tool, paths, self.backups.keep(tool, [TextFile.read(p) for p in paths]))
        except ExportError as exc:  # one tool must not keep the others from their copies
            return BackupReport(tool, paths, None, exc)

    def _files(self, tool: str, file: Path | None = None) -> tuple[tuple[Exporter, Path], ...]:
        """The files of a tool; empty when only `--file` could say."""
        try:
            return files_of(exporter(tool), self.path(tool, file))
        except UsageError:
            exporter(tool)  # an unknown tool is no reason to be silent
            return ()

    def listed(self, tool: str | None = None) -> Table:
        """The backups, newest first."""
        if tool is not None:
            exporter(tool)
        rows = [
            {"id": b.id, "tool": b.tool, "time": b.time, "file": str(c.path), "bytes": c.size, "mode": f"{c.mode:04o}"}
            for b in self.backups.all(tool)
            for c in b.copies
        ]
        broken = self.backups.broken()
        note = f"not readable: {', '.join(broken)}" if broken else None
        return Table(rows, columns=("id", "tool", "time", "file", "bytes", "mode"), note=note)

    def restore(self, tool: str | None = None, *, id: str | None = None, file: Path | None = None) -> list[Restored]:
        """Put a backup back: the newest, or the one of `id`. What it overwrites is backed up first.

        A backup says where its files stood, and is never believed: they go to where the tool looks for them now, and
        only when that is the same place; to any other place only when `file` names it.

        Args:
            tool: Only backups of this tool.
            id: This backup.
            file: Without `id` the newest backup of this file; with `id` where that one is to go.

        Raises:
            UsageError: No such tool.
            ExportError: There is no such backup, it is damaged, it belongs elsewhere, or a file cannot be written.
        """
        if tool is not None:
            exporter(tool)
        backup = self.backups.find(id) if id else self._newest(tool, file)
        if tool not in (None, backup.tool):
            raise ExportError(f"backup {backup.id} is of {backup.tool}, not of {tool}", hint=_OTHER)
        targets = self._targets(backup, file)
        contents = [backup.read(copy) for copy in backup.copies]  # all are sound before the first is written
        return self.backups.restore(backup, contents, targets)

    def _newest(self, tool: str | None, file: Path | None) -> Backup:
        found = self.backups.all(tool)
        named = None if file is None else Path(os.path.abspath(file.expanduser()))
        for backup in found:
            wanted = {named} if named else {path for _, path in self._known_files(backup.tool)}
            if any(copy.path in wanted for copy in backup.copies):
                return backup
        whose = named or tool or "any tool"
        if found and named is None:
            newest = found[0]
            raise _elsewhere(newest, newest.copies[0], [path for _, path in self._known_files(newest.tool)])
        raise ExportError(f"there is no backup of {whose}", hint=_OTHER)

    def _known_files(self, tool: str) -> tuple[tuple[Exporter, Path], ...]:
        try:
            return self._files(tool)
        except (UsageError, ExportError):  # of a tool whose exporter is not installed any more
            return ()

    def _targets(self, backup: Backup, file: Path | None) -> list[Path]:
        here = [path for _, path in (self._files(backup.tool, file) if file else self._known_files(backup.tool))]
        if file is not None and len(backup.copies) == 1 and backup.copies[0].path.name not in {p.name for p in here}:
            return here[:1]
        targets = []
        for copy in backup.copies:
            same = [p for p in here if (p.name if file else p) == (copy.path.name if file else copy.path)]
            if not same:
                raise _elsewhere(backup, copy, here)
            targets.append(same[0])
        return targets


_OTHER = "`nbllm restore-configs --list` shows those that there are"


def _elsewhere(backup: Backup, copy: Copy, here: Sequence[Path]) -> ExportError:
    now = f"{backup.tool} looks for it in {here[0]}" if here else f"{backup.tool} has no file of its own"
    return ExportError(
        f"backup {backup.id} is of {copy.path}, and {now}; nothing was restored",
        hint=f"say where it is to go: --id {backup.id} --file PATH",
    )


def _reason(writer: Exporter, provider: Exported) -> str | None:
    if reason := writer.refuses(provider):
        return reason
    if provider.models or not getattr(writer, "lists_models", True):
        return None
    return _unknown(provider)


def _unknown(provider: Exported) -> str:
    return f"no model of it is known; `nbllm fetch {provider.config.id}` asks for them"


def _strategy(word: str) -> Strategy:
    for strategy in STRATEGIES:
        if strategy == word:
            return strategy
    raise UsageError(f"there is no strategy {word!r}", hint=f"it is one of {', '.join(STRATEGIES)}")
