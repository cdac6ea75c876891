"""`nbllm update-configs`, `backup-configs`, `restore-configs`: the files of other tools."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nbllm.cli import complete
from nbllm.cli.tool_configs import split_ids
from nbllm.cli.words import show, warn
from nbllm.errors import UsageError

_Tool = Annotated[
    str,
    typer.Option(
        "--tool", metavar="T", help="aichat, codex, mods, llm, opencode, litellm, ...", autocompletion=complete.tools
    ),
]
_AnyTool = Annotated[
    str | None, typer.Option("--tool", metavar="T", help="Only this tool.", autocompletion=complete.tools)
]
_File = Annotated[Path | None, typer.Option("--file", metavar="PATH", help="Not the tool's usual file, but this one.")]
_COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}


def _configs() -> Any:
    from nbllm.workspace import current  # noqa: PLC0415  (only when a command runs)

    return current().tool_configs.own


def update_configs(
    tool: _Tool,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            "--provider",
            metavar="ID",
            help="All that can be used now, if left out.",
            autocompletion=complete.provider_ids,
        ),
    ] = None,
    file: _File = None,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="S", help="add, update or replace.", autocompletion=complete.strategies)
    ] = "add",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the diff; write nothing.")] = False,
) -> int:
    """Merge providers into a tool's own file, which is backed up first; shows the diff."""
    report = _configs().update(tool, split_ids(provider), file=file, strategy=strategy, dry_run=dry_run)
    done = report.update
    if done.diff:
        _show_diff(done.diff)
    for item in done.files:
        show(_sentence(item, dry_run))
    if done.backup:
        show(f"backup: {done.backup.id}")
    for id, reason in report.left_out.items():
        warn(f"left out: {id}: {reason}")
    if report.unknown:
        warn(f"left out: {', '.join(report.unknown)}: no model is known of them; `nbllm fetch ID` asks")
    if report.legacy:
        warn(f"note: {report.legacy}")
    for step in report.next_steps if done.changed else ():
        warn(f"next: {step}")
    return 1 if provider and report.left_out else 0


def _sentence(item: Any, dry_run: bool) -> str:
    counts = {"added": item.added, "updated": item.updated, "removed": item.removed, "left as they were": item.kept}
    said = ", ".join(f"{len(names)} {word}" for word, names in counts.items() if names) or "nothing to write"
    if not item.changed:
        return f"{item.path}: nothing changes ({said})"
    return f"{item.path}: {'would be changed' if dry_run else 'changed'} ({said})"


def _show_diff(diff: str) -> None:
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in diff.split("\n"):
        colour = _COLOURS.get(line[:1]) if colours else None
        typer.echo(typer.style(line, fg=colour) if colour else line)


def backup_configs(tool: _AnyTool = None) -> int:
    """Keep byte copies of the tools' files."""
    reports = _configs().backup(tool)
    for report in reports:
        paths = ", ".join(map(str, report.paths))
        if report.error:
            warn(f"error: {report.error.message}")
        elif report.backup:
            show(f"{report.tool}: {', '.join(str(c.path) for c in report.backup.copies)} -> {report.backup.id}")
        else:
            show(f"{report.tool}: " + (f"no {paths}" if paths else "no file of its own"))
    return 1 if any(r.error for r in reports) else 0


def restore_configs(
    tool: _AnyTool = None,
    id: Annotated[str | None, typer.Option("--id", metavar="BACKUP", help="This one, not the newest.")] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="PATH", help="Restore this file, or to it.")] = None,
    every: Annotated[bool, typer.Option("--list", help="Show the backups; restore nothing.")] = False,
) -> None:
    """Put a backup back, the newest unless --id; what it overwrites is backed up first."""
    if every:
        if id or file:
            raise UsageError("restore-configs: --list goes with --tool alone", hint="`nbllm restore-configs --list`")
        show(_configs().listed(tool).to_text(None if sys.stdout.isatty() else 1000))
        return
    restored = _configs().restore(tool, id=id, file=file)
    for done in restored:
        show(f"{done.path}: {'restored' if done.changed else 'is as the backup has it'}")
    for before in {done.before.id for done in restored if done.before}:
        show(f"what was there: {before}")
