"""`nbllm generate-configs`: the catalogue in the files of other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nbllm.cli import complete
from nbllm.cli.words import show, warn

_WIDE = 1000


def generate_configs(
    tool: Annotated[
        str,
        typer.Option(
            "--tool", metavar="T", help="aichat, codex, mods, llm, opencode, ...", autocompletion=complete.tools
        ),
    ],
    provider: Annotated[
        list[str] | None,
        typer.Option(
            "--provider", metavar="ID", help="Only these; repeat it, or ID,ID.", autocompletion=complete.provider_ids
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder above T.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
) -> int:
    """Write a file for each provider, T/models_ID.EXT, in the words of another tool. Never a key."""
    from nbllm.workspace import current  # noqa: PLC0415  (only when a command runs)

    done = current().tool_configs.generate(tool, split_ids(provider), out=out.expanduser())
    if as_json:
        typer.echo(json.dumps([dict(row) for row in done], indent=1))
    else:
        show(done.to_text(_WIDE))
    for step in done.steps:
        warn(f"next: {step}")
    return 0 if done.ok else 1


def split_ids(words: list[str] | None) -> list[str]:
    """`--provider a --provider b,c` as a list."""
    return [part.strip() for word in words or () for part in word.split(",") if part.strip()]
