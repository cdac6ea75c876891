"""What is known of a model, from everybody who says something, in one order of trust.

1. The user's own numbers (`models` of the provider's row).
2. The provider's own listing.
3. models.dev, of the day of its copy.
4. genai-prices, in the version that is installed: prices only.

Each field is the first one's who says it, and `sources` names them. The four prices are taken as a set: what a less
trusted source adds to them counts only where it agrees on those that are known, since a price of reading from the
cache that belongs to another price of the prompt is worth nothing. `facts` shows everything that was said.

A server on this machine costs what the user declares; nobody else is asked about it.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbllm.catalog.knowledge import Book, Knowledge, Match, Refreshed
from nbllm.prices import PRICES, Prices, data_prices
from nbllm.providers.spec import ModelInfo, ModelRow, ProviderConfig
from nbllm.usage import is_unpriced

__all__ = ["Fact", "Knowledge", "Refreshed", "enriched", "facts", "offered", "prices"]

YOURS = "yours"
"""The source of what the user wrote."""
LISTING = "listing"
MODELS_DEV = "models.dev"

FIELDS = tuple(f.name for f in dataclasses.fields(ModelInfo) if f.name not in ("provider", "id", "sources"))
"""The fields of `ModelInfo` that somebody says something of."""
_KNOWN = frozenset(FIELDS)
_values = operator.attrgetter(*FIELDS)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_OWN = (YOURS, "added by hand")
_FILLED = (MODELS_DEV, "genai-prices")
_ALIKE = ("context", "max_input", "max_output", "input_modalities", "output_modalities", "tools", "reasoning",
          "structured_output")  # fmt: skip
"""What versions of a model that differ in their date have in common."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that one source says of a model."""

    field: str
    """As in `ModelInfo`."""
    value: Any
    source: str
    """`yours`, `listing`, `models.dev`, `genai-prices` and its version, or how else the listing's reader knows."""
    date: str | None
    """The day the source is of, YYYY-MM-DD; None where it has none."""
    chosen: bool
    """Whether this is the one that counts."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one source says of one model."""

    source: str
    said: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    """Where a field's source and day are told more closely."""

    def label(self, name: str) -> str:
        """As it stands in `ModelInfo.sources`."""
        return self.labels.get(name, self.source)

    def prices(self) -> Prices:
        known = {name: self.said.get(name) for name in (*PRICES, "reasoning_price")}
        source = next((self.label(name) for name in PRICES if name in self.said), self.source)
        return Prices(source, **known, holds_to=self.said.get("price_holds_to"))


# ---------------------------------------------------------------- asked from outside


def enriched(provider: ProviderConfig, models: Sequence[ModelInfo], knowledge: Knowledge) -> tuple[ModelInfo, ...]:
    """The models with what is known of them beside the listing; in the same order.

    Fields that the listing leaves out are filled, those that the user set are laid over.

    Args:
        provider: Their provider, as its row counts now.
        models: As the listing has them, with or without the user's own numbers laid over.
        knowledge: What models.dev says.
    """
    sources = _Sources(provider, knowledge)
    return tuple(sources.enriched(model) for model in models)


def facts(provider: ProviderConfig, model: ModelInfo, knowledge: Knowledge) -> list[Fact]:
    """Everything that is said of a model: by field, then by trust, most trusted first.

    Args:
        provider: Its provider, as the row counts now.
        model: As the listing has it; `ModelInfo(provider.id, id)` where no listing names it.
        knowledge: What models.dev says.
    """
    sources = _Sources(provider, knowledge)
    final, claims = sources.enriched(model), list(sources.claims(model))
    found = []
    for name in FIELDS:
        open_ = True
        for claim in claims:
            if (value := _value(claim, name)) is None:
                continue
            chosen = open_ and final.sources.get(name) == claim.label(name) and getattr(final, name) == value
            open_ = open_ and not chosen
            found.append(Fact(name, value, *_dated(claim.label(name)), chosen))
    return found


def offered(provider: ProviderConfig, knowledge: Knowledge) -> tuple[ModelInfo, ...]:
    """The models that a provider has as far as models.dev knows, for one whose listing was never fetched."""
    book = knowledge.book(provider)
    known = [] if book is None else [id for id, said in book.models.items() if "last_seen" not in said]
    return enriched(provider, [ModelInfo(provider.id, id) for id in known], knowledge)


def prices(provider: ProviderConfig, model: ModelInfo, knowledge: Knowledge) -> tuple[Prices, ...]:
    """What the listing and models.dev ask for a model, most trusted first: what `nbllm.usage.cost` wants to know.

    Args:
        provider: Its provider, as it was asked.
        model: As the listing has it; `ModelInfo(provider.id, id)` where no listing names it.
        knowledge: What models.dev says.
    """
    sources = _Sources(provider, knowledge)
    own, listing = sources.given(model)
    found = [] if own is None else [own.prices().with_plain_cache()]
    if not is_unpriced(provider):
        found += [claim.prices() for claim in (listing, sources.models_dev(model.id)) if claim is not None]
    return tuple(p for p in found if p.input_price is not None or p.output_price is not None)


# ---------------------------------------------------------------- who says what


class _Sources:
    """Who can be asked about the models of one provider."""

    def __init__(self, provider: ProviderConfig, knowledge: Knowledge) -> None:
        self._provider = provider
        self._own: dict[str, ModelRow] = {m.id: m for m in provider.models}
        self._book: Book | None = knowledge.book(provider)
        self._unpriced = is_unpriced(provider)
        self._shared: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}

    def claims(self, model: ModelInfo) -> Iterator[_Claim]:
        """What each says, most trusted first."""
        own, listing = self.given(model)
        found = (own, listing, self.models_dev(model.id), self.data(model.id))
        return (claim for claim in found if claim is not None)

    def enriched(self, model: ModelInfo) -> ModelInfo:
        own, listing = self.given(model)
        more = self.models_dev(model.id)
        said: dict[str, Any] = {}
        sources = {"id": model.sources["id"]} if "id" in model.sources else {}
        for claim in (own, listing, more):
            if claim is not None:
                _add(claim, said, sources)
        if "input_price" not in said or "output_price" not in said:  # only then is it worth its import
            data = self.data(model.id)
            if data is not None:
                _add(data, said, sources)
        # Thousands of models of which the same is known by the same sources need no dictionary each.
        shared = self._shared.setdefault(tuple(sources.items()), sources)
        return ModelInfo(model.provider, model.id, **said, sources=shared)

    def given(self, model: ModelInfo) -> tuple[_Claim | None, _Claim | None]:
        """What the user says and what the listing says, without what others have filled in."""
        labels = model.sources
        said = {name: value for name, value in zip(FIELDS, _values(model), strict=True) if value is not None}
        row = self._own.get(model.id)
        if row is None and all(label.startswith(LISTING) for label in labels.values()):
            return None, _Claim(LISTING, said, labels) if said else None
        own = {name: value for name, value in said.items() if labels.get(name, "").startswith(_OWN)}
        not_listed = _OWN + _FILLED
        listed = {name: value for name, value in said.items() if not labels.get(name, "").startswith(not_listed)}
        if row is not None:
            written = {name: v for name, v in row.model_dump().items() if v is not None and name in _KNOWN}
            own |= written
            labels = {**labels, **dict.fromkeys(written, YOURS)}
        return _Claim(YOURS, own, labels) if own else None, _Claim(LISTING, listed, model.sources) if listed else None

    def models_dev(self, id: str) -> _Claim | None:
        match = None if self._book is None else self._book.find(id)
        return None if match is None else _Claim(f"{MODELS_DEV} {match.date}", _said(match))

    def data(self, id: str) -> _Claim | None:
        found = None if self._unpriced or not self._provider.base_url else data_prices(self._provider.base_url, id)
        if found is None:
            return None
        return _Claim(found.source, {name: getattr(found, name) for name in PRICES})


def _said(match: Match) -> Mapping[str, Any]:
    return match.facts if match.same else {k: v for k, v in match.facts.items() if k in _ALIKE}


def _value(claim: _Claim, name: str) -> Any:
    value = claim.said.get(name)
    return tuple(value) if isinstance(value, list) else value


def _add(claim: _Claim, said: dict[str, Any], sources: dict[str, str]) -> None:
    """Fill what nobody has said yet; prices only where they agree with those that are known."""
    known = {name: said[name] for name in PRICES if name in said}
    fits = not (known and claim.prices().contradicts(Prices("", **known)))
    labels, source = claim.labels, claim.source
    for name, value in claim.said.items():
        if name in _KNOWN and name not in said and (fits or name not in PRICES):
            said[name] = tuple(value) if isinstance(value, list) else value
            sources[name] = labels.get(name, source)


def _dated(label: str) -> tuple[str, str | None]:
    """`models.dev 2026-07-02` is a name and a day; a version stays with its name."""
    source, _, day = label.rpartition(" ")
    return (source, day) if source and _DAY.fullmatch(day) else (label, None)
