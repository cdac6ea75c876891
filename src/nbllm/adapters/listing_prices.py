"""Prices of a listing in USD per million tokens. Their unit is what the row's `listing` says, never a field's name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from nbllm.adapters.listing_fields import agreed, get_path, values
from nbllm.providers.spec import Listing

PRICES = ("input_price", "output_price", "cached_input_price", "cache_write_price")

_UNITS: Mapping[str, Decimal] = {
    "usd_per_token": Decimal(1_000_000),
    "usd_per_mtok": Decimal(1),
    "1e-4_usd_per_mtok": Decimal("0.0001"),
}
_WORDS: Mapping[str, Decimal] = {**_UNITS, "token": Decimal(1)}
"""Values of a field that says the unit. Friendli's TOKEN is per million tokens; by the second there is no price."""
# `float("")` raises, `Decimal("nan")` does not, and neither minds digits of other scripts.
_NUMBER = re.compile(r"\+?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)


def usd_per_mtok(value: Any, factor: Decimal) -> float | None:
    """A price as it stands in a listing, in USD per million tokens.

    Missing, empty, negative (a price that depends on the route) and unreadable is None. An explicit 0 is free.
    Behind a list of upstreams it is what all of them want, else None.
    """
    if isinstance(value, list):
        return agreed((usd_per_mtok(v, factor) for v in value[:1000]), all_say=True)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and value.bit_length() > 128:
        return None
    written = str(value).strip()
    if not _NUMBER.fullmatch(written):
        return None
    price = Decimal(written) * factor
    found = float(price)
    # A number that float cannot hold is no price, and must not become free by rounding.
    return found if math.isfinite(found) and (found > 0 or price == 0) else None


def price_reader(listing: Listing) -> Callable[[Any], dict[str, float]]:
    """A function from a row of the listing to the prices that are known of it, by field of `ModelInfo`."""
    named = {field: path for field in PRICES if (path := getattr(listing, field))}
    unit = listing.price_unit
    if not named or unit is None or unit == "unknown":
        return lambda row: {}
    constant = _UNITS.get(unit)
    other = listing.other_price

    def read(row: Any) -> dict[str, float]:
        factor = constant if constant is not None else _said(get_path(row, unit))
        if factor is None:
            return {}
        found: dict[str, float] = {}
        for field, path in named.items():
            price = usd_per_mtok(get_path(row, path), factor)
            if price is not None:
                found[field] = price
        if found and other is not None and 0 in found.values() and any(True for _ in values(row, other)):
            return {field: price for field, price in found.items() if price}
        return found

    return read


def _said(unit: Any) -> Decimal | None:
    return _WORDS.get(unit.strip().lower()) if isinstance(unit, str) else None
