"""A provider's model listing, in the shape its row describes, or in one that is near enough."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbllm.adapters import load_adapter
from nbllm.adapters.bodies import error_from_payload, error_from_response, error_in_body
from nbllm.errors import ProviderError
from nbllm.providers.spec import ModelInfo, ProviderConfig

if TYPE_CHECKING:
    from nbllm.adapters.base import Endpoint

MODELS_CAP = 10_000
"""More models than this are not read: no provider has them."""

_PATHS = ("data[]", "models[]", "[]")
_NAMES = ("display_name", "displayName")
_CONTEXT = ("context_length", "context_window", "max_context_length", "max_model_len", "inputTokenLimit", "meta.n_ctx")
_MAX_OUTPUT = ("max_output_tokens", "max_completion_tokens", "outputTokenLimit", "top_provider.max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Listed:
    """What a provider answered when it was asked for its models."""

    models: tuple[ModelInfo, ...]
    """In the provider's order, each id once: of rows with the same id the first counts."""
    pages: tuple[Any, ...] = ()
    """The JSON as it came, first page first. Empty when the adapter gives only models."""
    joined: tuple[Any, ...] = ()
    """The pages of the second listing."""
    warnings: tuple[str, ...] = ()
    """Sentences for people: rows that were refused, facts that are missing."""
    etag: str | None = None
    """Of a listing that is one page."""
    last_modified: str | None = None
    date: str | None = None
    """The `Date` header of the first page."""
    not_modified: bool = False
    """Nothing has changed since the `etag` or `last_modified` that was sent: `models` is empty, the known ones hold."""


async def ask_listing(
    endpoint: Endpoint, *, etag: str | None = None, last_modified: str | None = None, timeout_s: float | None = None
) -> Listed:
    """Ask a provider for its models, all pages and the second listing, with the adapter of its kind.

    Args:
        endpoint: The provider, its key, and the way there.
        etag: Of the listing that is known; a server that knows it may answer `not_modified`.
        last_modified: As the server wrote it.
        timeout_s: Seconds for each page. None: as the row has it.

    Raises:
        ProviderError: It could not be had, or is not a listing.
    """
    adapter = load_adapter(endpoint.provider.kind)
    return Listed(tuple(await adapter.list_models(endpoint)))


async def fetch_listing(endpoint: Endpoint, url: str, *, headers: Mapping[str, str] | None = None) -> Any:
    """One page of a listing as JSON.

    Raises:
        ProviderError: It could not be had, or is an error or no JSON.
    """
    provider = endpoint.provider
    page = await endpoint.http.fetch("GET", url, provider=provider, key=endpoint.key, headers=headers)
    if not 200 <= page.status < 300:
        raise error_from_response(
            provider=provider.id, status=page.status, headers=page.headers, body=page.body, model=None
        )
    try:
        payload = json.loads(page.body)
    except (ValueError, RecursionError):
        raise _no_listing(provider) from None
    if error_in_body(payload):
        raise error_from_payload(payload, provider=provider.id, headers=page.headers, model=None, status=page.status)
    return payload


def _no_listing(provider: ProviderConfig) -> ProviderError:
    hint = f"check the base URL with `%llm_providers show {provider.id}`; models can also be added by hand"
    return ProviderError(
        f"{provider.id} answered with something that is no model listing", provider=provider.id, hint=hint
    )


def read_listing(payload: Any, provider: ProviderConfig) -> list[ModelInfo]:
    """The models of one page, in the provider's order, each id once. An empty listing is an empty list.

    Raises:
        ProviderError: There is no list of models in it.
    """
    found: dict[str, ModelInfo] = {}
    rows = _rows(payload, provider)
    for row in rows:
        info = _model(row, provider)
        if info is not None and len(found) < MODELS_CAP:
            found.setdefault(info.id, info)
    if rows and not found:  # a list of something else
        raise _no_listing(provider)
    return list(found.values())


def _rows(payload: Any, provider: ProviderConfig) -> list[Any]:
    # The row's own path first. llama.cpp sends `models[]` in Ollama's dialect beside `data[]`, so the order counts.
    for path in (provider.listing.path, *_PATHS):
        rows = _at(payload, path)
        if rows is not None:
            return rows
    if isinstance(payload, dict) and ("data" in payload or "models" in payload):
        return []  # `data: null` is how some servers say "none"
    raise _no_listing(provider)


def _at(payload: Any, path: str) -> list[Any] | None:
    if path == "{}":
        if not isinstance(payload, dict):
            return None
        return [{"id": k, **v} for k, v in payload.items() if isinstance(v, dict)]
    name = path.removesuffix("[]")
    value = get_path(payload, name) if name else payload
    return value if isinstance(value, list) else None


def get_path(row: Any, path: str) -> Any:
    """The value at `a.b`, or at the first of `a | b` that is there; None when there is none."""
    for alternative in path.split("|"):
        value = row
        for key in alternative.strip().split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def _model(row: Any, provider: ProviderConfig) -> ModelInfo | None:
    if isinstance(row, str):
        row = {"id": row}
    if not isinstance(row, Mapping):
        return None
    shape = provider.listing
    id_ = get_path(row, f"{shape.id} | id | name | model")
    if not isinstance(id_, str) or not id_.strip():
        return None
    return ModelInfo(
        provider=provider.id,
        id=id_.strip(),
        name=_text(row, shape.name, _NAMES),
        context=_count(row, shape.context, _CONTEXT),
        max_output=_count(row, shape.max_output, _MAX_OUTPUT),
    )


def _candidates(path: str | None, usual: tuple[str, ...]) -> Iterator[str]:
    if path is not None:
        yield path
    yield from usual


def _text(row: Any, path: str | None, usual: tuple[str, ...]) -> str | None:
    for candidate in _candidates(path, usual):
        value = get_path(row, candidate)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _count(row: Any, path: str | None, usual: tuple[str, ...]) -> int | None:
    for candidate in _candidates(path, usual):
        value = get_path(row, candidate)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
