"""What a million tokens cost: the prices of one source, and those of the data that comes with genai-prices.

That data is asked by the address, never by a provider's name. Importing it takes some 150 ms, so it happens when a
price is first looked for there.
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from nbllm.messages import Usage

PRICES = ("input_price", "output_price", "cached_input_price", "cache_write_price")
"""The fields of `ModelInfo` and `Prices` that are prices, in USD per million tokens."""

_PER_MTOK = Decimal(1_000_000)
_NEARLY = 1e-6
"""Two prices that differ by less, relatively, are one price that was rounded."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What one source asks for a million tokens, in USD. None: it does not say."""

    source: str
    """Who says so, and of which day or version."""
    input_price: float | None = None
    output_price: float | None = None
    cached_input_price: float | None = None
    cache_write_price: float | None = None
    reasoning_price: float | None = None
    """Where tokens of reasoning cost something else than the rest of the answer."""
    holds_to: int | None = None
    """Prompt tokens up to which these hold; for a larger prompt the source is not asked."""

    def contradicts(self, other: Prices) -> bool:
        """Whether one price is two different ones in the two."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in PRICES)
        return any(a is not None and b is not None and not math.isclose(a, b, rel_tol=_NEARLY) for a, b in pairs)

    def with_plain_cache(self) -> Prices:
        """With tokens of the cache priced as the rest of the prompt, for a source that has no word for them."""
        cached = self.input_price if self.cached_input_price is None else self.cached_input_price
        written = self.input_price if self.cache_write_price is None else self.cache_write_price
        return replace(self, cached_input_price=cached, cache_write_price=written)

    def total(self, usage: Usage) -> Decimal | None:
        """The cost in USD; None when a price that is needed, or the count of the prompt or answer, is unknown."""
        prompt, output, reasoning = usage.prompt_tokens, usage.output_tokens, usage.reasoning_tokens or 0
        if prompt is None or output is None or (self.holds_to is not None and prompt > self.holds_to):
            return None
        apart = reasoning if self.reasoning_price is not None else 0
        parts = (
            (self.input_price, usage.input_tokens or 0),
            (self.cached_input_price, usage.cached_input_tokens or 0),
            (self.cache_write_price, usage.cache_write_tokens or 0),
            (self.output_price, output - apart),
            (self.reasoning_price, apart),
        )
        if any(price is None and count for price, count in parts):
            return None
        # By way of `str`: 0.1 in a file is a tenth, not the nearest binary fraction.
        return sum((Decimal(str(price or 0)) * count / _PER_MTOK for price, count in parts), Decimal(0))


# ---------------------------------------------------------------- genai-prices

_DATA_NAMES = {
    "input_price": "input_mtok",
    "output_price": "output_mtok",
    "cached_input_price": "cache_read_mtok",
    "cache_write_price": "cache_write_mtok",
}
_COMPACT_DATE = re.compile(r"-\d{8}(?!\d)")


def data_cost(base_url: str, model: str, usage: Usage) -> Decimal | None:
    """What genai-prices makes of it, with the tiers and days that it knows of; None when a price is unknown."""
    import genai_prices  # noqa: PLC0415  (150 ms, only for providers that may have a price)

    counts = genai_prices.Usage(
        input_tokens=usage.prompt_tokens,  # there the cache's classes are a part of it
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        found = genai_prices.calc_price(counts, model, provider_api_url=base_url)
    except (LookupError, ValueError):  # no such provider or model; counts that contradict each other
        return None
    return found.total_price if _is_complete(found.model_price, usage) else None


def _is_complete(price: Any, usage: Usage) -> bool:
    """Whether there is a price for what was used; the library takes one that is missing for 0, or the prompt's."""
    needed = (
        (price.input_mtok, usage.prompt_tokens),
        (price.cache_read_mtok, usage.cached_input_tokens),
        (price.cache_write_mtok, usage.cache_write_tokens),
        (price.output_mtok, usage.output_tokens),
    )
    return not any(amount is None and count for amount, count in needed)


def data_prices(base_url: str, model: str) -> Prices | None:
    """What genai-prices says of a model at an address today; None when it knows no price.

    It decides itself which ids a price is for, so a dated id has one where it says so.
    """
    shelf = _shelf(base_url)
    found = None if shelf is None else shelf.find(model.lower())
    return None if found is None else _prices_of(found.get_prices(datetime.now(UTC)))


def _prices_of(price: Any) -> Prices | None:
    named = {ours: getattr(price, theirs) for ours, theirs in _DATA_NAMES.items()}
    amounts = {ours: _amount(value) for ours, value in named.items()}
    if all(amount is None for amount in amounts.values()):
        return None
    steps = [step for value in named.values() if (step := _first_step(value)) is not None]
    return Prices(price_version(), **amounts, holds_to=min(steps, default=None))


def _amount(price: Any) -> float | None:
    base = getattr(price, "base", price)  # a price with tiers counts with its first
    return None if base is None else float(base)


def _first_step(price: Any) -> int | None:
    return min((int(tier.start) for tier in getattr(price, "tiers", ())), default=None)


class _Shelf:
    """The models of one provider of genai-prices, found without trying the rule of each.

    Nearly all of its rules name ids, which a dict answers; only the others are tried one by one. What is found is
    what `Provider.find_model` would find.
    """

    def __init__(self, provider: Any, all_providers: list[Any]) -> None:
        self._provider = provider
        self._all = all_providers
        self._named: dict[str, tuple[int, Any]] = {}
        self._ruled: list[tuple[int, Any]] = []
        for place, model in enumerate(provider.models):
            names = _names(model.match)
            for name in names or ():
                self._named.setdefault(name, (place, model))
            if names is None:
                self._ruled.append((place, model))

    def find(self, ref: str) -> Any:
        if self._provider.fallback_model_providers or _COMPACT_DATE.search(ref):
            return self._provider.find_model(ref, all_providers=self._all)
        end, named = self._named.get(ref, (math.inf, None))
        return next((model for place, model in self._ruled if place < end and model.is_match(ref)), named)


def _names(rule: Any) -> list[str] | None:
    """The ids that a rule names, in small letters, which is how it compares; None when it does more than naming."""
    if hasattr(rule, "equals"):
        return [rule.equals.lower()]
    parts = [_names(part) for part in getattr(rule, "or_", ())]
    return [name for part in parts if part for name in part] if parts and None not in parts else None


@functools.lru_cache(maxsize=512)
def _shelf(base_url: str) -> _Shelf | None:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  (150 ms, see the module)

    snapshot = get_snapshot()
    try:
        return _Shelf(snapshot.find_provider(None, None, base_url), snapshot.providers)
    except LookupError:
        return None


@functools.cache
def price_version() -> str:
    """Name and version of the price data, for example `genai-prices 0.2.3`."""
    return f"genai-prices {importlib.metadata.version('genai-prices')}"
