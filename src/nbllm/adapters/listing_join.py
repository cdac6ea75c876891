"""A second listing that adds facts to the first, and who may have the key there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbllm.adapters.listing_fields import get_path
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import ProviderConfig
from nbllm.providers.urls import origin_of


def joined_rows(
    rows: Sequence[dict[str, Any]], others: Iterable[Mapping[str, Any]], join_on: str
) -> list[dict[str, Any]]:
    """`rows`, each with what the matching one of `others` adds. What a row says itself stays.

    Args:
        rows: Of the first listing.
        others: Of the second; of several with the same value the first counts.
        join_on: `ours = theirs`: the fields that must be equal.
    """
    ours, _, theirs = (part.strip() for part in join_on.partition("="))
    known: dict[str, Mapping[str, Any]] = {}
    for other in others:
        value = get_path(other, theirs or ours)
        if isinstance(value, str):
            known.setdefault(value, other)
    return [_joined(row, known, get_path(row, ours)) for row in rows]


def _joined(row: dict[str, Any], known: Mapping[str, Mapping[str, Any]], value: Any) -> dict[str, Any]:
    other = known.get(value) if isinstance(value, str) else None
    if other is None:
        return row
    return {**row, **{k: v for k, v in other.items() if row.get(k) is None}}


def second_row(provider: ProviderConfig) -> tuple[ProviderConfig, bool]:
    """The row as which the second listing is asked, and whether the key may go along.

    A key belongs to the origin of `base_url`. Beyond it the key goes to one place only: the address that the bundled
    row itself names with `join_auth`, as long as the user has not moved either address.
    """
    shape = provider.listing
    assert shape.join_url is not None
    auth = shape.join_auth or provider.auth
    if origin_of(shape.join_url) == origin_of(provider.base_url):
        return provider.model_copy(update={"auth": auth}), True
    away = {"base_url": origin_of(shape.join_url), "headers": {}, "confirmed_http": False}
    if _is_bundled(provider):
        return provider.model_copy(update={**away, "auth": auth}), True
    return provider.model_copy(update={**away, "auth": "none"}), False


def _is_bundled(provider: ProviderConfig) -> bool:
    row = bundled_rows().get(provider.id, {})
    shape = row.get("listing", {})
    return bool(
        shape.get("join_auth")
        and shape["join_auth"] == provider.listing.join_auth
        and shape.get("join_url") == provider.listing.join_url
        and origin_of(row["base_url"]) == origin_of(provider.base_url)
    )
