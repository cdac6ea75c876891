"""`nbllm config ...`: as the magic `%llm_config`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nbllm.cli import complete
from nbllm.cli.words import assignments, show
from nbllm.errors import UsageError
from nbllm.tables import Table, rows_of

_SETTING = ("name", "value", "source", "doc")


def config(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME [VALUE]] | preset [NAME] | history | undo", autocompletion=complete.settings),
    ] = None,
    param: Annotated[list[str] | None, typer.Option("-p", "--param", metavar="KEY=VALUE", help="With preset.")] = None,
) -> None:
    """Settings and presets: what each is, where it came from; NAME VALUE changes one, undo goes back."""
    from nbllm.workspace import current  # noqa: PLC0415  (only when a command runs)

    words = words or []
    verb, rest = (words[0], words[1:]) if words else ("", [])
    if param and verb != "preset":
        raise UsageError("config: -p goes with `preset NAME`", hint="`nbllm config preset NAME -p temperature=0`")
    if verb == "preset":
        show(_preset(current(), rest, assignments(param)).to_text())
    elif verb == "history":
        show(Table(rows_of(current().config.history()), columns=("when", "what")).to_text())
    elif verb == "undo":
        show(f"undone: {current().config.undo().what}")
    else:
        show(_settings(current(), words).to_text())


def _settings(workspace: Any, words: list[str]) -> Table:
    settings = workspace.settings
    if not words:
        return Table(rows_of(settings.all()), columns=_SETTING)
    if len(words) == 1:
        return Table(rows_of([settings.lookup(words[0])]), columns=_SETTING)
    if len(words) > 2:
        raise UsageError("config: takes one name and one value", hint="put a value with spaces in quotes")
    return Table(rows_of([settings.set(words[0], words[1])]), columns=_SETTING)


def _preset(workspace: Any, words: list[str], params: dict[str, Any]) -> Table:
    if len(words) > 1:
        raise UsageError("config preset: takes one name", hint="nbllm config preset NAME -p k=v")
    if params and not words:
        raise UsageError("config preset: the preset needs a name", hint="nbllm config preset NAME -p k=v")
    if words:
        workspace.set_preset(words[0], params)
    rows = [
        {"preset": name, "parameters": ", ".join(f"{k}={v!r}" for k, v in kept.items())}
        for name, kept in workspace.presets().items()
    ]
    return Table(rows, columns=("preset", "parameters"))
