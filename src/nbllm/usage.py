"""What an answer cost, and how many tokens a text may have.

A price is known in four ways, each more trusted than the next: the user wrote one into the model's row; the
provider's own listing has one; models.dev has one; genai-prices has one for the address that was asked.
`nbllm.catalog.metadata` shows the same order to people, and gives `cost` the two in the middle.
In every other case the cost is None, which is not 0: a server on this machine and the demo provider have no price
unless the user sets one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from nbllm.messages import Usage
from nbllm.prices import Prices, data_cost, data_prices, price_version
from nbllm.providers.spec import ModelRow, ProviderConfig

OWN = "config.toml"
"""The source of prices that the user wrote."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer cost, and who says so."""

    usd: Decimal
    source: str
    """`config.toml`, `listing` or `models.dev` and their day, or the price data and its version."""


def cost_usd(provider: ProviderConfig, model: str, usage: Usage, *, known: Sequence[Prices] = ()) -> Decimal | None:
    """The cost in USD; None when a price or a count that it needs is unknown. See `cost`."""
    found = cost(provider, model, usage, known=known)
    return None if found is None else found.usd


def cost(provider: ProviderConfig, model: str, usage: Usage, *, known: Sequence[Prices] = ()) -> Cost | None:
    """The cost and where its price comes from; None when a price or a count that it needs is unknown.

    One source prices the whole of an answer, so that the cost can be checked: the first that has a price for
    everything that was used. A source that contradicts a more trusted one is passed over, also where that one does
    not say enough: then the cost is unknown. The price in the model's own row comes first; there, tokens read from
    or written to a cache cost as much as any other of the prompt, since the row has no price of their own for them.
    genai-prices is asked last, by the address and not by the provider's name: a row moved to a proxy has no
    known price. Counts that are an estimate make a cost that is one (`usage.source`).

    The first call that looks at genai-prices takes some 150 ms to import it: not to be made before the answer.

    Args:
        provider: The row as it was asked.
        model: The id.
        usage: What was used.
        known: What the user (outside the row), the provider's listing and models.dev say, most trusted first
            (`nbllm.catalog.metadata.prices`).
    """
    if usage.prompt_tokens is None or usage.output_tokens is None:
        return None
    above: list[Prices] = []
    for prices in (*own_prices(provider, model), *known):
        if not any(prices.contradicts(other) for other in above):
            if (usd := prices.total(usage)) is not None:
                return Cost(usd, prices.source)
            above.append(prices)
    return None if is_unpriced(provider) else _by_data(provider.base_url, model, usage, above)


def _by_data(base_url: str, model: str, usage: Usage, above: Sequence[Prices]) -> Cost | None:
    listed = data_prices(base_url, model)
    if listed is None or any(listed.contradicts(other) for other in above):
        return None
    usd = data_cost(base_url, model, usage)
    return None if usd is None else Cost(usd, price_version())


def is_unpriced(provider: ProviderConfig) -> bool:
    """Whether only the user can say what it costs: a server on this machine, a model file, the demo."""
    return provider.local or provider.gguf is not None or provider.kind == "demo"


def own_prices(provider: ProviderConfig, model: str) -> tuple[Prices, ...]:
    """The prices that the user wrote into the model's row, as far as there are any."""
    rows = (m for m in provider.models if m.id == model and _has_price(m))
    return tuple(Prices(OWN, m.input_price, m.output_price).with_plain_cache() for m in rows)


def _has_price(row: ModelRow) -> bool:
    return row.input_price is not None or row.output_price is not None


def estimate_tokens(text: str) -> int:
    """A rule of thumb for servers that do not count: four ASCII characters are a token, of others each one and a half.

    It is off by a third either way, more for code and digits, so a count made of it says `source="estimate"`.
    """
    ascii_chars = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_chars / 4 + (len(text) - ascii_chars) / 1.5)
