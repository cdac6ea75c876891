"""`nbllm stats` and `nbllm clean`: what is there, and what can go."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nbllm.cli.words import show, warn


def stats(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """What is there: providers, model lists, marks, conversations, calls, disk."""
    from nbllm.cli.stats import gather, to_text  # noqa: PLC0415  (the core: only when a command runs)
    from nbllm.workspace import current  # noqa: PLC0415

    found = gather(current())
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        show(to_text(found))


def clean(
    cache: Annotated[bool, typer.Option("--cache", help="Model lists and tests; they can be asked for again.")] = False,
    backups: Annotated[bool, typer.Option("--backups", help="All but the newest five of each kind.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Old lists, and what is left of what is gone.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name each file; delete nothing.")] = False,
) -> int:
    """What can go, with sizes; without an option it is shown and nothing is deleted."""
    from nbllm.cli.clean import OPTIONS, removable, remove, summary  # noqa: PLC0415  (only when a command runs)
    from nbllm.cli.stats import in_bytes  # noqa: PLC0415
    from nbllm.workspace import current  # noqa: PLC0415

    chosen = [option for option, wanted in zip(OPTIONS, (cache, backups, stale), strict=True) if wanted]
    items = removable(current(), chosen or OPTIONS)
    if not items:
        show("nothing can go")
        return 0
    total = in_bytes(sum(item.size_bytes for item in items))
    if dry_run or not chosen:
        show(summary(items).to_text())
        if dry_run:
            for item in items:
                show(f"{item.path}  {in_bytes(item.size_bytes)}")
        show(f"nothing was deleted; {total} can go with {' '.join(f'--{o}' for o in chosen or OPTIONS)}")
        return 0
    done = remove(items)
    failed = [(item, error) for item, error in done if error is not None]
    gone = [item for item, error in done if error is None]
    if gone:
        show(summary(gone).to_text())
    show(f"{in_bytes(sum(item.size_bytes for item in gone))} freed")
    for item, error in failed:
        warn(f"error: {item.path} stays: {error.strerror or error}")
    return 1 if failed else 0
