"""From the JSON of a listing to models: where the rows are, which of them are models, what is known of each."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from typing import Any

from nbllm.adapters.listing_fields import (
    FLAGS,
    count,
    day,
    first,
    first_there,
    flags,
    get_path,
    last_name,
    modalities,
    pruned,
    status,
    text,
    values,
    yes_or_no,
)
from nbllm.adapters.listing_join import joined_rows
from nbllm.adapters.listing_prices import price_reader
from nbllm.adapters.listing_types import COMMON, FROM_ID, model_type
from nbllm.errors import ProviderError
from nbllm.providers.spec import Listing, ModelInfo, ProviderConfig

MODELS_CAP = 100_000
"""More rows of one provider are not read. The largest listing seen has 6,504. The cap of 50 MB alone would let through
700,000 short rows, which take 19 s to read."""

_ID_LENGTH = 512
_PATHS = ("data[]", "models[]", "[]")
_SAME = 5
"""In so many rows one and the same `created` is no date of the models."""

_NAMES = "display_name | displayName"
_CONTEXT = (
    "context_length | context_window | max_context_length | context_size | max_model_len | limits.context"
    " | metadata.context_length | model_spec.availableContextTokens | meta.n_ctx"
)
_MAX_INPUT = "max_input_tokens | max_prompt_length | inputTokenLimit"
_MAX_OUTPUT = (
    "max_output_tokens | max_completion_tokens | max_output_length | top_provider.max_completion_tokens"
    " | outputTokenLimit | limits.completion | metadata.max_tokens | model_spec.maxCompletionTokens"
)
_INPUTS = "input_modalities | architecture.input_modalities | modalities.input | architecture.modality"
_OUTPUTS = "output_modalities | architecture.output_modalities | modalities.output | architecture.modality"
_FEATURES = "supported_parameters | supported_features | features"
_CREATED = "created | created_at"
"""Names that are read in every listing, after the one that the provider's row gives. No price is among them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the pages of a listing hold."""

    models: tuple[ModelInfo, ...]
    """In the provider's order, each id once: of rows with the same id the first counts."""
    ids: tuple[str, ...]
    """The id of every row that is a model, in the same order, with those that come again."""
    row_count: int
    """All rows, also those that are no models or were refused."""
    warnings: tuple[str, ...] = ()


def read_listing(payload: Any, provider: ProviderConfig) -> list[ModelInfo]:
    """The models of one page, in the provider's order, each id once. An empty listing is an empty list.

    Raises:
        ProviderError: There is no list of models in it.
    """
    return list(read_pages([payload], provider).models)


def read_pages(
    pages: Sequence[Any], provider: ProviderConfig, *, joined: Sequence[Any] = (), day: str | None = None
) -> Reading:
    """The models of all pages of a listing.

    Args:
        pages: JSON as it came.
        provider: Its row, whose `listing` says what stands where.
        joined: Pages of the second listing.
        day: The ISO date on which it came, for the sources; also a `created` of that day is taken for the moment of
            the request. None: not known.

    Raises:
        ProviderError: There is no list of models in it.
    """
    shape = provider.listing
    rows = [row for page in pages for row in rows_of(page, provider)]
    warnings = []
    kept = rows[:MODELS_CAP]
    if len(rows) > len(kept):
        warnings.append(f"only the first {MODELS_CAP:,} of {len(rows):,} rows were read")
    named, refused = _with_ids(kept, shape)
    if refused and not named:  # a list of something else
        raise no_listing(provider, "its rows have no ids")
    warnings += _said(refused)
    facts = _merged(named, joined, shape)
    reader = _Reader(provider, facts, day)
    found: dict[str, ModelInfo] = {}
    for id_, row in facts:
        if id_ not in found:
            found[id_] = reader.model(id_, row)
    return Reading(tuple(found.values()), tuple(id_ for id_, _ in facts), len(rows), tuple(warnings))


def no_listing(provider: ProviderConfig, why: str) -> ProviderError:
    """The error for an answer that came and is no listing."""
    hint = f"check the base URL with `%llm_providers show {provider.id}`; models can also be added by hand"
    message = f"{provider.id} answered with something that is no model listing: {why}"
    return ProviderError(message, provider=provider.id, hint=hint, retryable=False)


# ---------------------------------------------------------------- rows


def rows_of(payload: Any, provider: ProviderConfig) -> list[Any]:
    """The rows of one page.

    Raises:
        ProviderError: There are none, and it does not say so either.
    """
    # The row's own path first. llama.cpp sends `models[]` in Ollama's dialect beside `data[]`, so the order counts.
    for path in (provider.listing.path, *_PATHS):
        rows = rows_at(payload, path)
        if rows is not None:
            return rows
    if isinstance(payload, dict) and ("data" in payload or "models" in payload):
        if all(payload.get(name) is None for name in ("data", "models")):
            return []  # `data: null` is how some servers say "none"
        raise no_listing(provider, "what should be its rows is no list")
    if provider.listing.path == "{}" and isinstance(payload, dict):
        raise no_listing(provider, "not every value of the object is a model")
    raise no_listing(provider, f"a JSON {_kind(payload)} without rows")


def rows_at(payload: Any, path: str) -> list[Any] | None:
    """What stands at a path such as `data[]`, `[]` or `{}`; None when it is no list of rows."""
    if path == "{}":
        # An error body has the same outer shape: its values are texts and numbers.
        if not isinstance(payload, dict) or not all(isinstance(v, dict) for v in payload.values()):
            return None
        return [{**v, "id": k} for k, v in payload.items()]
    name = path.removesuffix("[]")
    value = get_path(payload, name) if name else payload
    return value if isinstance(value, list) else None


def _kind(payload: Any) -> str:
    names = {dict: "object", list: "array", str: "text", bool: "value", type(None): "null"}
    return names.get(type(payload), "number")


def _with_ids(rows: list[Any], shape: Listing) -> tuple[list[tuple[str, dict[str, Any]]], Counter[str]]:
    path = "id" if shape.path == "{}" else f"{shape.id} | id | name | model"
    named: list[tuple[str, dict[str, Any]]] = []
    refused: Counter[str] = Counter()
    skip = frozenset(shape.skip)
    for row in rows:
        row = {"id": row} if isinstance(row, str) else row
        problem, id_ = _id_of(row, path, shape.strip)
        if problem:
            refused[problem] += 1
        elif id_ not in skip:
            named.append((id_, row))
    return named, refused


def _id_of(row: Any, path: str, strip: str | None) -> tuple[str, str]:
    """What is wrong with a row's id, else the id."""
    if not isinstance(row, dict):
        return "is no object", ""
    value = first_there(row, path)
    if value == ():
        return "has no id", ""
    if not isinstance(value, str):
        return "has an id that is no text", ""
    id_ = value.strip()
    id_ = id_.removeprefix(strip).strip() if strip else id_
    if not id_:
        return "has an empty id", ""
    if len(id_) > _ID_LENGTH:
        return f"has an id of more than {_ID_LENGTH} characters", ""
    # They would break lists of one id a line, and lone surrogates cannot be written at all.
    if not id_.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in id_):
        return "has an id with control characters", ""
    return "", id_


def _said(refused: Counter[str]) -> list[str]:
    return [
        f"1 row was refused: it {why}" if n == 1 else f"{n:,} rows were refused: each {why}"
        for why, n in refused.most_common()
    ]


def _merged(
    named: list[tuple[str, dict[str, Any]]], joined: Sequence[Any], shape: Listing
) -> list[tuple[str, dict[str, Any]]]:
    if not joined or shape.join_on is None:
        return named
    others = [row for page in joined for row in rows_at(page, shape.join_path) or () if isinstance(row, dict)]
    return list(zip((id_ for id_, _ in named), joined_rows([r for _, r in named], others, shape.join_on), strict=True))


# ---------------------------------------------------------------- one model


class _Reader:
    """Reads rows of one listing."""

    def __init__(self, provider: ProviderConfig, rows: Sequence[tuple[str, Mapping[str, Any]]], day: str | None):
        shape = provider.listing
        self._provider = provider.id
        self._shape = shape
        self._day = day
        self._prices = price_reader(shape)
        keys = frozenset(key for _, row in rows for key in row)
        self._name = pruned(_or(shape.name, _NAMES), keys)
        self._context = pruned(_or(shape.context, _CONTEXT), keys)
        self._max_input = pruned(_or(shape.max_input, _MAX_INPUT), keys)
        self._max_output = pruned(_or(shape.max_output, _MAX_OUTPUT), keys)
        self._inputs = pruned(_or(shape.input_modalities, _INPUTS), keys)
        self._outputs = pruned(_or(shape.output_modalities, _OUTPUTS), keys)
        self._created = pruned(_or(shape.created, _CREATED), keys)
        self._features = pruned(_or(shape.features, _FEATURES), keys)
        self._can_paths = tuple((flag, path) for flag in FLAGS if (path := pruned(getattr(shape, flag), keys)))
        self._status_path = pruned(shape.status, keys)
        self._types = tuple(name for name in COMMON if name in keys)
        self._flags = frozenset(f for _, row in rows for f, said in flags(row, self._features).items() if said)
        self._no_dates = _repeated(rows, self._created)
        self._routes = f"{shape.routes.removesuffix('[]')}[]" if shape.routes else None

    def model(self, id_: str, row: dict[str, Any]) -> ModelInfo:
        """What is known of one model."""
        if self._routes is not None:
            row = _with_open_routes(row, self._routes)
        shape = self._shape
        inputs = self._modalities(row, self._inputs, output=False)
        outputs = self._modalities(row, self._outputs, output=True)
        type_, from_id = model_type(row, id_, shape.type, inputs, outputs, common=self._types)
        can = self._can(row)
        facts: dict[str, Any] = {
            "type": type_,
            "context": first(row, self._context, count),
            "max_input": first(row, self._max_input, count),
            "max_output": first(row, self._max_output, count),
            "input_modalities": inputs,
            "output_modalities": outputs,
            "tools": can.get("tools"),
            "reasoning": can.get("reasoning"),
            "structured_output": can.get("structured_output"),
            "created": self._day_of(row),
            "status": self._status(row),
            **self._prices(row),
        }
        known = tuple(name for name, value in facts.items() if value is not None)
        return ModelInfo(
            provider=self._provider,
            id=id_,
            name=first(row, self._name, text),
            sources=_sources(known, self._day, from_id),
            **facts,
        )

    def _can(self, row: Mapping[str, Any]) -> dict[str, bool]:
        found = flags(row, self._features, self._flags) if self._features else {}
        for flag, path in self._can_paths:
            said = yes_or_no(row, path)
            if said is not None:
                found[flag] = said
        return found

    def _modalities(self, row: Any, path: str, *, output: bool) -> tuple[str, ...] | None:
        for part in path.split("|") if path else ():
            found = modalities(get_path(row, part), last_name(part), output=output)
            if found:
                return found
        return None

    def _day_of(self, row: Any) -> str | None:
        for value in values(row, self._created):
            if self._no_dates and isinstance(value, int | float) and value in self._no_dates:
                continue
            found = day(value, self._shape.created_unit)
            if found is not None and not (isinstance(value, int | float) and self._is_of_request(found)):
                return found
        return None

    def _is_of_request(self, found: str) -> bool:
        """Many servers put the moment of the request into `created`, or that of their start."""
        if self._day is None:
            return False
        return abs((Date.fromisoformat(found) - Date.fromisoformat(self._day)).days) <= 1

    def _status(self, row: Any) -> str | None:
        return next((s for v in values(row, self._status_path) if (s := status(v, self._day))), None)


def _or(path: str | None, usual: str) -> str:
    return f"{path} | {usual}" if path else usual


def _repeated(rows: Sequence[tuple[str, Mapping[str, Any]]], path: str) -> frozenset[float]:
    """The number that stands for `created` in each of many rows."""
    if len(rows) < _SAME:
        return frozenset()
    found = {v if isinstance(v := get_path(row, path), int | float) else None for _, row in rows}
    return frozenset(v for v in found if v is not None) if len(found) == 1 else frozenset()


def _with_open_routes(row: dict[str, Any], path: str) -> dict[str, Any]:
    """The row with those upstreams only that can be asked, where they say so."""
    name = path.removesuffix("[]")
    routes = row.get(name)
    if not isinstance(routes, list):
        return row
    live = [r for r in routes if isinstance(r, dict) and r.get("status", "live") == "live"]
    return {**row, name: live or routes}


@functools.lru_cache(maxsize=1024)
def _sources(known: tuple[str, ...], day: str | None, from_id: bool) -> dict[str, str]:
    """One object for all models of which the same is known: thousands of them need no dictionary each."""
    source = f"listing {day}" if day else "listing"
    return {name: FROM_ID if name == "type" and from_id else source for name in known}
