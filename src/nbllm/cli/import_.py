"""`nbllm import ...`: definitions that other programs keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nbllm.cli.words import show, warn
from nbllm.foreign import one_line

app = typer.Typer(help="Take over what other programs define.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:  # else typer makes the one command the group itself
    """Take over what other programs define."""


@app.command("dump-models")
def dump_models(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The script; it is read, never run.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; write nothing.")] = False,
) -> int:
    """Provider definitions of a `dump_models.py` script, read without running it."""
    from nbllm.catalog.import_script import import_script  # noqa: PLC0415  (the core: only for this command)
    from nbllm.workspace import current  # noqa: PLC0415

    done = import_script(current().registry, path.expanduser(), dry_run=dry_run)
    if done.known:
        show(f"known already, nothing to change: {', '.join(done.known)}")
    for line in (*done.lines, *done.remarks):
        show(one_line(line, 400))
    if not done.lines:
        show("no new provider")
    elif dry_run:
        show("nothing was written")
    for problem in done.problems:
        warn(one_line(problem, 400))
    return 1 if done.problems else 0
