"""Each unit that prices are written in, by hand, and what is no price."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from nbllm.adapters.listing_prices import usd_per_mtok
from nbllm.adapters.listing_rows import read_listing
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import ModelInfo, ProviderConfig


def model(row: dict[str, Any], listing: dict[str, Any]) -> ModelInfo:
    """What is read of one row."""
    provider = ProviderConfig(id="there", base_url="https://models.example/v1", listing=listing)
    (found,) = read_listing({"data": [{"id": "m", **row}]}, provider)
    return found


def prices(found: ModelInfo) -> tuple[float | None, ...]:
    """Input, output, cache read, cache write."""
    return (found.input_price, found.output_price, found.cached_input_price, found.cache_write_price)


@dataclass(frozen=True)
class Unit:
    id: str
    """A provider whose bundled row says the unit, or a name."""
    row: dict[str, Any]
    input: float | None
    output: float | None
    cache_read: float | None = None
    cache_write: float | None = None
    listing: dict[str, Any] = field(default_factory=dict)


PLAIN = {"input_price": "pricing.prompt", "output_price": "pricing.completion"}
UNITS = [
    Unit("openrouter", {"pricing": {"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003",
                                    "input_cache_write": "0.00000375"}}, 3.0, 15.0, 0.3, 3.75),
    Unit("chutes", {"pricing": {"prompt": 0.10366159999999999, "completion": 0.41484799999999994}},
         0.10366159999999999, 0.41484799999999994),
    Unit("chutes", {"price": {"input": {"usd": 0.05, "tao": 9.0}, "output": {"usd": 0.2, "tao": 9.0}}}, 0.05, 0.2),
    Unit("atlascloud", {"pricing": {"prompt": "0.00000035", "completion": "0.0000012", "image": "0"}}, 0.35, 1.2),
    Unit("baseten", {"pricing": {"prompt": "", "completion": ""}}, None, None),
    Unit("sambanova", {"pricing": {"prompt": "0.00000500", "completion": "0.00000700"}}, 5.0, 7.0),
    Unit("sambanova", {"pricing": {"prompt": "0.0", "completion": "0.0", "duration_per_hour": "0.100"}}, None, None),
    Unit("targon", {"pricing": {"prompt": "0.00000012", "completion": "0.00000059", "input_cache_reads": "0",
                                "input_cache_writes": "0"}}, 0.12, 0.59, 0.0, 0.0),
    Unit("deepinfra", {"metadata": {"pricing": {"input_tokens": 0.2, "output_tokens": 0.6, "cache_read_tokens": 0.05}}},
         0.2, 0.6, 0.05),
    Unit("deepinfra", {"metadata": None}, None, None),
    Unit("togetherai", {"pricing": {"hourly": 0, "input": 1.2, "output": 7, "base": 0}}, 1.2, 7.0),
    Unit("togetherai", {"pricing": {"hourly": 0, "input": 0, "output": 0, "base": 0}}, None, None),
    Unit("togetherai", {"pricing": {"hourly": 2, "input": 65, "output": 0}}, 65.0, None),
    Unit("novita", {"input_token_price_per_m": 500, "output_token_price_per_m": 12345}, 0.05, 1.2345),
    Unit("xai", {"prompt_text_token_price": 30000, "completion_text_token_price": 150000,
                 "cached_prompt_text_token_price": 7500}, 3.0, 15.0, 0.75),
    Unit("friendli", {"pricing": {"input": 0.6, "output": 2.2, "unit_type": "TOKEN"}}, 0.6, 2.2),
    Unit("friendli", {"pricing": {"input": 0.002, "output": 0.002, "response_time": 0.004, "unit_type": "SECOND"}},
         None, None),
    Unit("friendli", {"pricing": {"input": 0.6, "output": 2.2}}, None, None),
    Unit("mancer", {"pricing": {"prompt": 0.5, "completion": 1.0}}, None, None),
    Unit("litellm", {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
                     "cache_read_input_token_cost": 1.25e-06}, 2.5, 10.0, 1.25),
    Unit("litellm", {"input_cost_per_token": 0, "output_cost_per_token": 0.0, "input_cost_per_query": 0.002},
         None, None),
    Unit("litellm", {"input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001}, None, None),
    Unit("nested in an object", {"model_spec": {"pricing": {"input": {"usd": 0.7, "diem": 7}}}}, 0.7, None, listing={
         "input_price": "model_spec.pricing.input.usd", "price_unit": "usd_per_mtok"}),
    Unit("strings per token under other names", {"pricing": {"input": "0.00000125", "output": "0.00001"}}, 1.25, 10.0,
         listing={"input_price": "pricing.input", "output_price": "pricing.output", "price_unit": "usd_per_token"}),
    Unit("no unit, no price", {"pricing": {"prompt": "0.000003", "completion": "1"}}, None, None, listing=PLAIN),
    Unit("a name says nothing of the unit", {"pricing": {"prompt": 3, "completion": 15}}, 3.0, 15.0,
         listing={**PLAIN, "price_unit": "usd_per_mtok"}),
    Unit("a price that depends on the route", {"pricing": {"prompt": "-1", "completion": "-1"}}, None, None,
         listing={**PLAIN, "price_unit": "usd_per_token"}),
    Unit("free", {"pricing": {"prompt": "0", "completion": 0}}, 0.0, 0.0,
         listing={**PLAIN, "price_unit": "usd_per_token"}),
    Unit("one of two", {"pricing": {"prompt": None, "completion": "0.000001"}}, None, 1.0,
         listing={**PLAIN, "price_unit": "usd_per_token"}),
]  # fmt: skip


@pytest.mark.parametrize("case", UNITS, ids=lambda c: c.id)
def test_prices_are_read_in_the_unit_of_the_row(case: Unit) -> None:
    listing = case.listing or {**bundled_rows()[case.id]["listing"], "path": "data[]"}

    assert prices(model(case.row, listing)) == (case.input, case.output, case.cache_read, case.cache_write)


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "-1", -0.5, "abc", "$0.50", "0,5", "nan", "inf", float("nan"), float("inf"), True, [], {}, "1e999",
     "1e-400", "9" * 100, "١٢", "1_000", "0x10", 10**400, "--1", "1.2.3", object()],
)  # fmt: skip
def test_what_is_no_price_is_unknown_and_not_free(value: Any) -> None:
    assert usd_per_mtok(value, Decimal(1_000_000)) is None


def test_nothing_that_costs_rounds_to_free() -> None:
    assert usd_per_mtok("1e-300", Decimal(1)) == 1e-300
    assert usd_per_mtok("0.000000000001", Decimal(1)) == 1e-12
    assert usd_per_mtok("0.0", Decimal(1)) == 0.0


HUGGINGFACE = bundled_rows()["huggingface"]["listing"]


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ([{"pricing": {"input": 1, "output": 3}}], (1.0, 3.0)),
        ([{"pricing": {"input": 1, "output": 3}}, {"pricing": {"input": 1.0, "output": 3.0}}], (1.0, 3.0)),
        ([{"pricing": {"input": 1, "output": 3}}, {"pricing": {"input": 2, "output": 3}}], (None, 3.0)),
        ([{"pricing": {"input": 1, "output": 3}}, {"provider": "does not say"}], (None, None)),
        ([{"pricing": {"input": 1, "output": 3}}, {"pricing": {"input": 9}, "status": "staging"}], (1.0, 3.0)),
        ([], (None, None)),
        (None, (None, None)),
    ],
)
def test_where_upstreams_differ_the_price_is_unknown_until_one_is_chosen(routes: Any, expected: Any) -> None:
    found = model({"providers": routes}, HUGGINGFACE)

    assert (found.input_price, found.output_price) == expected


def test_a_price_survives_json_as_it_is() -> None:
    found = model({"pricing": {"prompt": "0.000000015", "completion": "0.0000007"}},
                  {**PLAIN, "price_unit": "usd_per_token"})  # fmt: skip

    assert json.dumps([found.input_price, found.output_price]) == "[0.015, 0.7]"
