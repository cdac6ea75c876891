"""`nbllm models ...`: as the magic. Without a verb it searches: `nbllm models llama --tools`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nbllm.cli import complete
from nbllm.cli.words import show, warn


class _SearchByDefault(TyperGroup):
    """Words that are no verb are looked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] != ["--help"] and args[:1] != [] and args[0] not in self.commands:
            args = ["search", *args]
        elif not args and not ctx.resilient_parsing:  # that is a TAB, which is to offer the verbs as well
            args = ["search"]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        if incomplete.startswith("-"):
            return self.commands["search"].shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            args = ["search", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_SearchByDefault,
    help="Which models there are, what they cost and can do, and which ones are yours.",
    epilog="Other words are searched for: `nbllm models llama --tools`; `nbllm models search --help` lists filters.",
    rich_markup_mode=None,
)

_Provider = Annotated[
    list[str] | None,
    typer.Option("--provider", metavar="P", help="Only of this one; repeatable.", autocompletion=complete.provider_ids),
]
_Vision = Annotated[bool, typer.Option("--vision", help="Takes pictures.")]
_Tools = Annotated[bool, typer.Option("--tools", help="Calls tools.")]
_Reasoning = Annotated[bool, typer.Option("--reasoning", help="Thinks before it answers.")]
_Structured = Annotated[bool, typer.Option("--structured-output", help="Answers that fit a JSON Schema.")]
_MinContext = Annotated[str | None, typer.Option("--min-context", metavar="N", help="Tokens, e.g. 128000 or 128k.")]
_MaxPrice = Annotated[float | None, typer.Option("--max-price", metavar="USD", help="Of a million input tokens.")]
_Free = Annotated[bool, typer.Option("--free", help="Both prices are said to be 0.")]
_Local = Annotated[bool, typer.Option("--local", help="Served on this machine.")]
_Favourites = Annotated[bool, typer.Option("--favourites", help="Only favourites.")]
_Sort = Annotated[
    str | None,
    typer.Option("--sort", metavar="COL", help="-COL: the other way round.", autocompletion=complete.columns),
]
_Group = Annotated[str | None, typer.Option("--group", metavar="G", help="Only of this group.")]
_Query = Annotated[str | None, typer.Option("--query", metavar="QUERY", help="All models that this finds.")]
_Refs = Annotated[list[str] | None, typer.Argument(metavar="[REF...]", autocompletion=complete.model_refs)]
_Ref = Annotated[str, typer.Argument(metavar="REF", autocompletion=complete.model_refs)]
_Remove = Annotated[bool, typer.Option("--remove", help="Take it away again.")]


def _workspace() -> Any:
    from nbllm.workspace import current  # noqa: PLC0415  (only when a command runs)

    return current()


@app.command()
def search(
    query: Annotated[list[str] | None, typer.Argument(metavar="[QUERY]", help="Words of reference or name.")] = None,
    provider: _Provider = None, vision: _Vision = False, tools: _Tools = False, reasoning: _Reasoning = False,
    structured: _Structured = False, min_context: _MinContext = None, max_price: _MaxPrice = None, free: _Free = False,
    local: _Local = False, favourites: _Favourites = False, group: _Group = None,
    sort: _Sort = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="Rows; 50, with --json all.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the providers first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:  # fmt: skip
    """Models that are known; the best match first."""
    from nbllm.catalog.wanted import LIMIT  # noqa: PLC0415  (the core: only when a command runs)

    shown = limit if limit is not None or as_json else LIMIT
    wanted = _wanted(
        " ".join(query or ()), provider, vision, tools, reasoning, structured, min_context, max_price, free, local,
        favourites, group, sort=sort, limit=shown,
    )  # fmt: skip
    if refresh:
        _refresh(wanted.providers)
    table = _workspace().catalogue().search(wanted)
    if as_json:
        typer.echo(json.dumps(table.as_json(), indent=1))
    else:
        show(table.to_text())


def _wanted(
    query: str, provider: list[str] | None, vision: bool, tools: bool, reasoning: bool, structured: bool,
    min_context: str | None, max_price: float | None, free: bool, local: bool, favourites: bool, group: str | None,
    **shown: Any,
) -> Any:  # fmt: skip
    from nbllm.catalog.wanted import Wanted, read_tokens  # noqa: PLC0415  (the core: only when a command runs)

    return Wanted(
        query=query, providers=tuple(p for item in provider or () for p in item.split(",") if p), vision=vision,
        tools=tools, reasoning=reasoning, json=structured,
        min_context=None if min_context is None else read_tokens(min_context), max_price=max_price, free=free,
        local=local, favourites=favourites, group=group, **shown,
    )  # fmt: skip


def _refresh(providers: Sequence[str]) -> None:
    """Ask providers for their lists; what did not work is told on stderr."""
    from nbllm.catalog.fetch import FetchOptions  # noqa: PLC0415  (the core: only when a command runs)
    from nbllm.catalog.fetch_table import problems  # noqa: PLC0415
    from nbllm.cli.fetch import take  # noqa: PLC0415

    fetching = _workspace().fetch(providers, every=not providers, options=FetchOptions(force=True))
    if take(fetching):
        raise KeyboardInterrupt
    for result in fetching.results:
        if result.outcome == "failed" or (result.outcome == "skipped" and result.provider in providers):
            warn(f"warning: {result.provider} could not be asked: {result.reason}")
    for line in problems(fetching):
        warn(f"warning: {line}")


@app.command()
def favourite(
    refs: _Refs = None, query: _Query = None, provider: _Provider = None, vision: _Vision = False,
    tools: _Tools = False, reasoning: _Reasoning = False, structured: _Structured = False,
    min_context: _MinContext = None, max_price: _MaxPrice = None, free: _Free = False, local: _Local = False,
    favourites: _Favourites = False, group: _Group = None, remove: _Remove = False,
) -> None:  # fmt: skip
    """Make models favourites: those named, and all that a search finds. Without any, show them."""
    wanted = _wanted(
        query or "", provider, vision, tools, reasoning, structured, min_context, max_price, free, local, favourites,
        group,
    )  # fmt: skip
    chosen = wanted if query or wanted.is_bounded else None
    _show(_workspace().marking.favourite(refs or [], chosen, remove=remove))


@app.command("group")
def group_(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, refs: _Refs = None, query: _Query = None,
    provider: _Provider = None, vision: _Vision = False, tools: _Tools = False, reasoning: _Reasoning = False,
    structured: _Structured = False, min_context: _MinContext = None, max_price: _MaxPrice = None, free: _Free = False,
    local: _Local = False, favourites: _Favourites = False, group: _Group = None, remove: _Remove = False,
) -> None:  # fmt: skip
    """Put models into a group: those named, and all that a search finds. Without any, show it; without NAME, all."""
    wanted = _wanted(
        query or "", provider, vision, tools, reasoning, structured, min_context, max_price, free, local, favourites,
        group,
    )  # fmt: skip
    chosen = wanted if query or wanted.is_bounded else None
    _show(_workspace().marking.group(name, refs or [], chosen, remove=remove))


@app.command()
def alias(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None,
    ref: Annotated[str | None, typer.Argument(metavar="[REF]")] = None,
    remove: _Remove = False,
) -> None:
    """Let a name stand for a model. Without any, show them."""
    _show(_workspace().marking.alias(name, ref, remove=remove))


@app.command()
def info(ref: _Ref) -> None:
    """Everything that is known of one model, who says so, and since when."""
    _show(_workspace().marking.info(ref))


@app.command()
def add(
    ref: _Ref,
    context: Annotated[str | None, typer.Option("--context", metavar="N", help="Tokens.")] = None,
    input_price: Annotated[float | None, typer.Option("--input-price", metavar="X", help="USD per million.")] = None,
    output_price: Annotated[float | None, typer.Option("--output-price", metavar="Y", help="USD per million.")] = None,
    remove: _Remove = False,
) -> None:
    """Add a model that no listing has, or say more of one."""
    from nbllm.catalog.wanted import read_tokens  # noqa: PLC0415  (the core: only when a command runs)

    tokens = None if context is None else read_tokens(context)
    facts = {"context": tokens, "input_price": input_price, "output_price": output_price}
    _show(_workspace().marking.add(ref, facts, remove=remove))


@app.command()
def recommend(
    aim: Annotated[
        str | None, typer.Option("--for", metavar="score|price|latency", help="What for.", autocompletion=complete.aims)
    ] = None,
) -> None:
    """Which model to take, from your own calls; says so when it knows too little."""
    _show(_workspace().marking.recommend(aim))


def _show(result: Any) -> None:
    show(result.to_text() if hasattr(result, "to_text") else repr(result))
