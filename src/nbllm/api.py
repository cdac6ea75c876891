"""The public functions: the workspace of this process, one call each."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nbllm.catalog.table import ModelTable
from nbllm.catalog.wanted import Wanted
from nbllm.chat.options import ChatOptions
from nbllm.compare.comparison import Comparison
from nbllm.compare.comparisons import Comparisons
from nbllm.compare.design import Prompts
from nbllm.compare.options import CompareOptions, EngineName
from nbllm.compare.progress import Progress
from nbllm.connection.overview import ProviderTable
from nbllm.connection.result import ConnectionCheck
from nbllm.conversations import Conversation
from nbllm.messages import Delta, Reply
from nbllm.workspace import Workspace, current


def workspace() -> Workspace:
    """The one object behind all of this."""
    return current()


def _options(options: Mapping[str, Any]) -> ChatOptions:
    return ChatOptions(**{name: value for name, value in options.items() if value is not None})


def chat(
    prompt: str,
    *,
    model: str | None = None,
    system: str | None = None,
    params: Mapping[str, Any] | None = None,
    attachments: Sequence[Any] = (),
    tools: Sequence[Callable[..., Any]] = (),
    schema: Any = None,
    preset: str | None = None,
    conversation: str = "main",
    new: bool = False,
    history: bool = True,
) -> Reply:
    """Ask, and wait for the answer.

    Args:
        prompt: The question.
        model: A model reference (`provider/model`), an alias, or None for the default model.
        system: Instructions that stand above the conversation.
        params: Parameters in the provider's own words; `temperature` and `max_tokens` work everywhere.
        attachments: Paths, figures, pictures, DataFrames, dicts.
        tools: Functions that the model may call; they run on this thread.
        schema: A pydantic class or JSON Schema dict that the answer must fit; see `Reply.parsed`.
        preset: Parameters kept under a name.
        conversation: What was said there goes along; `main` is new with each kernel.
        new: Start that conversation afresh.
        history: False sends nothing earlier.

    Raises:
        NbllmError: One of `nbllm.errors`.
    """
    return workspace().chat(
        prompt,
        ChatOptions(
            model=model, system=system, params=params or {}, attachments=attachments, tools=tools, schema=schema,
            preset=preset, conversation=conversation, new=new, history=history,
        ),
    )  # fmt: skip


async def achat(prompt: str, **options: Any) -> Reply:
    """`chat`, awaited; the same arguments."""
    return await workspace().achat(prompt, _options(options))


async def astream(prompt: str, **options: Any) -> AsyncIterator[Delta]:
    """The answer as it arrives; the same arguments as `chat`."""
    async for delta in workspace().astream(prompt, _options(options)):
        yield delta


def providers(*, every: bool = False) -> ProviderTable:
    """The providers that can be used now; `every` adds the rest."""
    return workspace().providers(every=every)


def models(
    query: str = "",
    *,
    provider: str | Sequence[str] | None = None,
    vision: bool = False,
    tools: bool = False,
    reasoning: bool = False,
    json: bool = False,
    min_context: int | None = None,
    max_price: float | None = None,
    free: bool = False,
    local: bool = False,
    favourites: bool = False,
    group: str | None = None,
    sort: str | None = None,
    limit: int | None = 50,
) -> ModelTable:
    """Search the models that are known. Asks nobody; `%llm_models --refresh` does.

    Args:
        query: Words of the reference or name, in any order; a mistake or two are forgiven.
        provider: Only of these providers.
        vision: Takes pictures.
        tools: Calls tools.
        reasoning: Thinks before it answers.
        json: Gives answers that fit a JSON Schema.
        min_context: Tokens. What is unknown of a model satisfies no bound.
        max_price: USD per million input tokens.
        free: Both prices are said to be 0.
        local: Served on this machine.
        favourites: Only favourites.
        group: Only of this group.
        sort: A column, with `-` in front the other way round. None: the best match first, and what can be asked now
            before the rest.
        limit: Rows; None: all.

    Raises:
        UnknownProviderError: There is no such provider.
        UsageError: There is no such column or group.
    """
    providers = (provider,) if isinstance(provider, str) else tuple(provider or ())
    table = workspace().catalogue().search(
        Wanted(
            query=query, providers=providers, vision=vision, tools=tools, reasoning=reasoning, json=json,
            min_context=min_context, max_price=max_price, free=free, local=local, favourites=favourites, group=group,
            sort=sort, limit=limit,
        )
    )  # fmt: skip
    table.viewer = _view
    return table


def compare(
    prompts: Prompts,
    models: str | Sequence[str],
    repeats: int = 1,
    data: Any = None,
    scorers: Any = (),
    judge: str | None = None,
    params: Mapping[str, Any] | None = None,
    budget_usd: float | None = None,
    name: str | None = None,
    seed: int = 0,
    engine: EngineName = "local",
    **more: Any,
) -> Comparison:
    """Ask several models the same, and wait for all answers.

    Args:
        prompts: One prompt, a list of them, or a dict of names to prompts; with `data` templates in which `{{column}}`
            is a value of the row.
        models: References (`provider/model`) or aliases.
        repeats: How often each question is asked.
        data: A DataFrame of pandas or polars, an Arrow table, or a list of dicts.
        scorers: Words (`exact:COLUMN`, `contains:COLUMN`, `regex:COLUMN`, `numeric:COLUMN`), functions
            `(reply, case) -> float | bool | dict`, or a dict of names to these.
        judge: A model that says which of two answers is better; each pair is shown in both orders.
        params: Parameters in the provider's own words. A list is an axis of the grid, anything else a constant.
        budget_usd: Stop before more than this is spent. Refuses to start when a price is unknown.
        name: Keep it under this name: what is there is not asked again.
        seed: Of the order, the bootstraps and blind votes.
        engine: `local`, `dask` or `batch`.
        more: The other fields of `CompareOptions`: `rubric`, `system`, `resume`, `retry_errors`, `cluster`, `yes`,
            `allow_unknown_price`, `namespace`.

    Raises:
        BudgetError: The next cell did not fit into the budget; the answers so far are kept under the name.
        NbllmError: One of `nbllm.errors`.
    """
    options = CompareOptions(
        prompts=prompts, models=models, repeats=repeats, data=data, scorers=scorers, judge=judge, params=params or {},
        budget_usd=budget_usd, name=name, seed=seed, engine=engine, **more,
    )  # fmt: skip
    with _progress() as tell:
        return _comparisons().run(options, tell)


async def acompare(prompts: Prompts, models: str | Sequence[str], **options: Any) -> Comparison:
    """`compare`, awaited; the same arguments."""
    given = {name: value for name, value in options.items() if value is not None}
    return await _comparisons().arun(CompareOptions(prompts=prompts, models=models, **given))


def comparison(name: str) -> Comparison:
    """A comparison that was made before, as far as it came. Asks nobody.

    Raises:
        StoreError: There is none of this name.
    """
    return _comparisons().load(name)


@contextmanager
def _progress() -> Iterator[Callable[[Progress], object] | None]:
    """How far a comparison is, on an output of the notebook; nothing where there is none."""
    if "ipykernel" not in sys.modules:
        yield None
        return
    from nbllm.notebook.progress import RunProgress  # noqa: PLC0415  (only where there is a notebook)

    with RunProgress() as progress:
        yield progress.show


def _comparisons() -> Comparisons:
    found = workspace()
    found.compare_viewer = found.compare_viewer or _view_comparison
    return found.comparisons


def _view_comparison(comparison: Comparison, blind: bool, voter: str | None) -> Any:
    from nbllm.notebook.panels import comparison_viewer  # noqa: PLC0415  (only where there is a notebook)

    return comparison_viewer(comparison, blind, voter)


def _view(table: ModelTable) -> Any:
    from nbllm.notebook.panels import view_models  # noqa: PLC0415  (only where there is a notebook)

    return view_models(table)


def check(provider: str, *, model: str | None = None) -> ConnectionCheck:
    """Test the connection to a provider; with `model` by a real one-token chat."""
    return workspace().check(provider, model=model)


def conversation(name: str = "main") -> Conversation:
    """A stored conversation.

    Raises:
        UnknownConversationError: There is none of this name.
    """
    return workspace().conversation(name)
