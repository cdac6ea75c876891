"""`nbllm replay ...`: recordings looked at and tidied up. No network, no key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nbllm.cli.words import show, warn
from nbllm.foreign import one_line

app = typer.Typer(help="Recordings of notebooks.", no_args_is_help=True, rich_markup_mode=None)

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The recording, such as notebook.replay.jsonl.")]


@app.command()
def verify(file: _File) -> int:
    """Whether every line can be used, fits its hash, and holds no key. Status 1 when not."""
    from nbllm.transport import upkeep  # noqa: PLC0415  (the core: only for this command)
    from nbllm.workspace import current  # noqa: PLC0415

    found = upkeep.verify(current().recordings.open(file))
    for problem in found.problems:
        warn(one_line(problem, 400))
    show(f"{found.good} good, {len(found.problems)} with a problem")
    return 1 if found.problems else 0


@app.command()
def prune(
    file: _File,
    last_run: Annotated[bool, typer.Option("--last-run", help="Keep what the last recording run wrote.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
) -> None:
    """Remove answers that a later run recorded anew, and with --last-run all that the last one did not ask."""
    from nbllm.transport import upkeep  # noqa: PLC0415
    from nbllm.workspace import current  # noqa: PLC0415

    gone, kept = upkeep.prune(current().recordings.open(file), last_run=last_run, dry_run=dry_run)
    show(f"{gone} lines {'would go' if dry_run else 'removed'}, {kept} kept")


@app.command()
def stats(file: _File) -> None:
    """What is in a recording."""
    from nbllm.transport import upkeep  # noqa: PLC0415
    from nbllm.workspace import current  # noqa: PLC0415

    for line in upkeep.stats(current().recordings.open(file)):
        show(one_line(line, 400))
