"""What an answer cost, and how many tokens a text may have.

A price is known in two ways: the user wrote one into the model's row, or the data that comes with genai-prices has
one for the model at the address that was asked. In every other case the cost is None, which is not 0: a server on
this machine and the demo provider have no price unless the user sets one.
"""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from nbllm.messages import Usage
from nbllm.providers.spec import ModelRow, ProviderConfig

_PER_MTOK = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer cost, and who says so."""

    usd: Decimal
    source: str
    """`config.toml`, or the price data and its version."""


def cost_usd(provider: ProviderConfig, model: str, usage: Usage) -> Decimal | None:
    """The cost in USD; None when a price or a count that it needs is unknown. See `cost`."""
    found = cost(provider, model, usage)
    return None if found is None else found.usd


def cost(provider: ProviderConfig, model: str, usage: Usage) -> Cost | None:
    """The cost and where its price comes from; None when a price or a count that it needs is unknown.

    The price in the model's own row comes first; there, tokens read from or written to a cache cost as much as any
    other of the prompt, since the row has no price of their own for them. Else genai-prices, by the address that is
    asked and not by the provider's name: a row moved to a proxy has no known price. Counts that are an estimate
    make a cost that is one (`usage.source`).

    The first call that looks at genai-prices takes some 150 ms to import it: not to be made before the answer.
    """
    if usage.prompt_tokens is None or usage.output_tokens is None:
        return None
    row = next((m for m in provider.models if m.id == model and _has_price(m)), None)
    if row is not None:
        usd = _by_row(row, usage)
        return None if usd is None else Cost(usd, "config.toml")
    if provider.local or provider.gguf or provider.kind == "demo":
        return None
    usd = _by_data(provider.base_url, model, usage)
    return None if usd is None else Cost(usd, price_version())


def _has_price(row: ModelRow) -> bool:
    return row.input_price is not None or row.output_price is not None


def _by_row(row: ModelRow, usage: Usage) -> Decimal | None:
    """One price missing where there are tokens to pay makes the whole unknown."""
    parts = ((row.input_price, usage.prompt_tokens or 0), (row.output_price, usage.output_tokens or 0))
    if any(price is None and count for price, count in parts):
        return None
    # By way of `str`: 0.1 in the file is a tenth, not the nearest binary fraction.
    return sum((Decimal(str(price or 0)) * count / _PER_MTOK for price, count in parts), Decimal(0))


def _by_data(base_url: str, model: str, usage: Usage) -> Decimal | None:
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
    """Whether there is a price for what was used; the library takes one that is missing for 0."""
    return not (price.input_mtok is None and usage.prompt_tokens) and not (
        price.output_mtok is None and usage.output_tokens
    )


def price_version() -> str:
    """Name and version of the price data, for example `genai-prices 0.2.3`."""
    return f"genai-prices {importlib.metadata.version('genai-prices')}"


def estimate_tokens(text: str) -> int:
    """A rule of thumb for servers that do not count: four ASCII characters are a token, of others each one and a half.

    It is off by a third either way, more for code and digits, so a count made of it says `source="estimate"`.
    """
    ascii_chars = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_chars / 4 + (len(text) - ascii_chars) / 1.5)
